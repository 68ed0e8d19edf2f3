"""Threads that are in a call when the interpreter ends: the process ends as it does with NumPy in the call's place.

Before Python 3.14 a thread that wants the GIL back once the interpreter is ending is ended by pthread_exit, which
unwinds its stack through this library.
"""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from faults.lengths import length

REPEATS = length(2, 20)

COMMON = """
import os, signal, sys, threading, time
import numpy as np, crossent as xe

class Wrapped:  # asked for an array in the middle of a call, by Python code
    def __init__(self, array, seconds=0):
        self.array, self.seconds = np.asarray(array), seconds
    def __array__(self, dtype=None, copy=None):
        time.sleep(self.seconds)
        return self.array
    def __index__(self):
        time.sleep(self.seconds)
        return int(self.array)

class Lingering:  # keeps the interpreter busy while it ends, so that the other thread goes on for a while
    def __del__(self, sleep=time.sleep):
        sleep(0.2)

lingering = Lingering()
x = np.random.default_rng(0).normal(0, 3, (8, 10)).astype(np.float32)
out = np.empty_like(x)
target = np.arange(8)
weight = np.ones(10)  # of another dtype than x: Python converts it
begun = threading.Event()

def work():
    while True:
        begun.set()
        job()
"""
LARGE = """
x = np.random.default_rng(0).normal(0, 3, (2000, 5000)).astype(np.float32)
out = np.empty_like(x)
target = np.arange(2000)
"""
ENDLESS = """
x = np.broadcast_to(np.zeros(1 << 20, np.float32), (1 << 20, 1 << 20))
target = np.broadcast_to(np.int8(3), 1 << 20)
"""

# What the thread does again and again.
VALUES = {
    "a call without end": (ENDLESS, "xe.cross_entropy(x, target, reduction='sum')"),
    "large calls": (LARGE, "xe.cross_entropy(x, target)"),
    "small calls": ("", "xe.cross_entropy(x, target)"),
    "lists": ("x, target = x.tolist(), target.tolist()", "xe.cross_entropy(x, target)"),
    "objects": ("x, target = Wrapped(x), Wrapped(target)", "xe.cross_entropy(x, target)"),
    "another dtype": ("", "xe.cross_entropy(x, target, weight=weight)"),
    "an array that sleeps": ("target = Wrapped(target, 0.01)", "xe.cross_entropy(x, target)"),
    "an axis that sleeps": ("axis = Wrapped(1, 0.01)", "xe.softmax(x, axis)"),
    "a measure": ("p = xe.softmax(x)", "xe.information.js_divergence(p, p.tolist())"),
}
GRADIENTS = {
    "large calls": (LARGE, "xe.softmax(x, out=out)"),
    "large calls, new arrays": (LARGE, "xe.cross_entropy(x, target, return_grad=True)"),
    "small calls": ("", "xe.cross_entropy(x, target, return_grad=True, grad_out=out)"),
    "lists": ("x, target = x.tolist(), target.tolist()", "xe.cross_entropy_backward([1.0] * 8, x, target, "
                                                         "reduction='none')"),
    "objects": ("x, target = Wrapped(x), Wrapped(target)", "xe.cross_entropy(x, target, return_grad=True)"),
    "another dtype": ("", "xe.distillation_loss(x, x, target, weight=weight, return_grad=True)"),
    "an array that sleeps": ("teacher = Wrapped(x, 0.01)", "xe.kl_div_with_logits(x, teacher, return_grad=True)"),
    "an output beside an input":
        ("both = np.zeros((9, 10), np.float32)", "xe.softmax(both[1:][::2], out=both[::2][:4])"),
}
JOBS = {**{f"value: {name}": job for name, job in VALUES.items()},
        **{f"gradient: {name}": job for name, job in GRADIENTS.items()}}
NUMPY = "", "np.add(x, x, out=out)"

BAD = ("terminate called", "Fatal Python error", "Exception in thread")

# Where the main thread is when it ends.
DAEMON = """
threading.Thread(target=work, daemon=True).start()
begun.wait()
time.sleep(0.05)
"""
INTERRUPTED = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background of a shell
thread = threading.Thread(target=work)
thread.start()
begun.wait()
print("ready", flush=True)
thread.join()
"""


def script(job, ending):
    set_up, call = job
    return f"{COMMON}{set_up}\ndef job():\n    {call}\n{ending}"


def run(code, ending):
    """(exit status, stderr) of the script; one that waits for its thread is interrupted until it ends."""
    with subprocess.Popen([sys.executable, "-c", code], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, "PYTHONWARNINGS": "ignore"}) as child:
        try:
            if ending is INTERRUPTED:
                assert child.stdout.readline() == "ready\n"
                time.sleep(0.05)
                child.send_signal(signal.SIGINT)  # ends the join; the interpreter then waits for the thread by itself
            for _ in range(60):
                try:
                    _, err = child.communicate(timeout=0.5)
                    return child.returncode, err
                except subprocess.TimeoutExpired:
                    if ending is INTERRUPTED:
                        child.send_signal(signal.SIGINT)  # ends that wait
            raise AssertionError("the process does not end")
        finally:
            child.kill()


@cache
def status_with_numpy(ending):
    status, err = run(script(NUMPY, ending), ending)
    assert "Fatal" not in err
    return status


def repeat(job, ending):
    code, wanted = script(job, ending), status_with_numpy(ending)
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda _: run(code, ending), range(REPEATS)))
    bad = [(status, err) for status, err in ended if status != wanted or any(words in err for words in BAD)]
    assert not bad, f"{len(bad)} of {REPEATS} ended badly, wanted status {wanted}: {bad}"


@pytest.mark.parametrize("name", JOBS)
def test_a_daemon_thread_in_a_call_when_the_interpreter_ends(name):
    repeat(JOBS[name], DAEMON)


@pytest.mark.parametrize("name", JOBS)
def test_ctrl_c_while_the_main_thread_waits_for_a_thread_in_a_call(name):
    repeat(JOBS[name], INTERRUPTED)
