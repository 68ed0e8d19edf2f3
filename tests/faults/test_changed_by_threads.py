"""Arrays that another thread or process changes while a call reads them: some result or a proper error, and no crash.

How often the two meet is a matter of luck; what a meeting may end in is not.
"""

import sys

import pytest
from faults.forked import run_forked
from faults.lengths import LONG, length

COMMON = """
import os, random, signal, sys, threading, time
import numpy as np
from faults.calls import CALLS
from faults.forked import survey
import crossent as xe

SECONDS, EVERY = eval(sys.argv[1]), eval(sys.argv[2])
random.seed(0)
sys.setswitchinterval(1e-6)

def for_a_while(function):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        function()

def some(jobs, count=10):
    # All in the long form, else a choice that is the same in every run.
    names = list(jobs) if EVERY else random.sample(list(jobs), count)
    return {name: jobs[name] for name in names}
"""

# ---- Shapes ----------------------------------------------------------------------------------------------------------

SHAPES = COMMON + """
def shapes(x):
    # Of the size of x; some that the call takes, some that it refuses.
    n = x.size
    return [x.shape, x.shape[::-1], (n,), (1, n), (n, 1), (2, n // 2), (2, 2, n // 4)]

def outcome(call, arguments):
    try:
        return [r.tobytes() for r in map(np.asarray, call.results(arguments))]
    except (TypeError, ValueError, IndexError, RuntimeError) as error:  # an AxisError is a ValueError
        return type(error)

def job(call, name, shape):
    def run():
        arguments = call.draw(shape)
        if call.out:
            arguments[call.out] = call.new_out(arguments)
        x, possible = arguments[name], []
        for as_shape in shapes(x):
            x.shape = as_shape
            possible.append(outcome(call, arguments))

        def change():
            for as_shape in shapes(x) * 20:
                x.shape = as_shape
        def keep_changing():
            while True:
                change()
        threading.Thread(target=keep_changing, daemon=True).start()

        def compare():
            got = outcome(call, arguments)
            assert isinstance(got, type) or got in possible, "neither the result for one of the shapes nor an error"
        for_a_while(compare)
    return run

jobs = {}
for call_name, call in CALLS.items():
    for name in (*call.arrays, *([call.out] if call.out else [])):
        for shape in ((8, 12), (80, 1000)):
            jobs[f"{call_name}: {name} of {shape}"] = job(call, name, shape)
survey(some(jobs), seconds=60)
"""


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(),
                    reason="without the GIL nothing keeps an array from having another shape while NumPy or we read it")
def test_shapes_changed_by_another_thread():
    """The result for one of the shapes, or an error."""
    run_forked(SHAPES, length(0.5, 1), LONG, timeout=1800)


# ---- Memory ----------------------------------------------------------------------------------------------------------

RESIZED = COMMON + """
def run():
    arguments = CALLS["information.js_divergence"].draw((64, 1 << 16))
    wanted, refused = xe.information.js_divergence(**arguments), 0
    for _ in range(20):
        held, begun, errors = [arguments["p"].copy()], threading.Event(), []

        def resize():
            begun.wait()
            time.sleep(0.002)
            try:
                held[0].resize(1)
            except ValueError as error:
                errors.append(error)

        thread = threading.Thread(target=resize)
        thread.start()
        with xe.num_threads(1):
            begun.set()
            loss = xe.information.js_divergence(held[0], arguments["q"])
        thread.join()
        if errors:  # else it came when the call had ended
            assert (loss == wanted).all()
            refused += 1
        if refused == 3:  # enough, where calls are slow
            break
    assert refused

survey({"resize": run})
"""


def test_an_array_in_a_call_cannot_be_resized():
    """A call has a reference to what it reads, which is what NumPy asks."""
    run_forked(RESIZED, 0, True)


# ---- Values ----------------------------------------------------------------------------------------------------------

VALUES = COMMON + """
import ctypes, mmap

def shared(array):
    # A copy in memory that a child process shares, up to the last byte before a page that nobody may read.
    size = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    mapping = mmap.mmap(-1, size + mmap.PAGESIZE)
    everything = np.frombuffer(mapping, np.uint8)
    protected = ctypes.CDLL(None).mprotect(ctypes.c_void_p(everything.ctypes.data + size), mmap.PAGESIZE, 0)
    assert protected == 0
    copy = everything[size - array.nbytes:size].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy

# The values out of range, by the name of the argument.
BAD = {"target": 2.0, "probs": 2.0, "p": -1.0, "q": -1.0, "weight": np.nan, "sample_weight": np.nan, "pos_weight": -1.0}
BAD_CLASS = 1 << 40
FAR = 0.3  # of the way through the array

def job(call, name, shape, dtype):
    def run():
        arguments = call.draw(shape, dtype)
        x = arguments[name] = shared(arguments[name])
        flat = x.reshape(-1)
        bad = BAD_CLASS if x.dtype.kind == "i" else BAD[name]
        places = [0, int(FAR * flat.size), flat.size - 1]
        parent, child = os.getpid(), os.fork()
        if not child:
            good = flat[places]
            while os.getppid() == parent:
                for _ in range(1000):
                    for place, value in zip(places, good):
                        flat[place] = bad
                        flat[place] = value
            os._exit(0)
        try:
            refused = 0
            def check():
                nonlocal refused
                try:
                    call.results(arguments)
                except (ValueError, IndexError) as error:
                    kind, words = (IndexError, ", outside [0, ") if x.dtype.kind == "i" else \\
                                  (ValueError, "expected a finite number in [")
                    assert type(error) is kind and str(error).startswith(name) and words in str(error), repr(error)
                    refused += 1
            for_a_while(check)
            while not refused:  # until a call has seen a bad value
                check()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return run

jobs = {}
for call_name, call in CALLS.items():
    for name in call.arrays:
        if name in BAD and "softmax" not in call_name and call.options.get("log_target") is None:
            for shape, dtype in (((64, 16), np.float32), ((3, 4096), np.float64)):
                jobs[f"{call_name}: {name} of {shape}"] = job(call, name, shape, dtype)
survey(some(jobs, 16), seconds=60)
"""


def test_values_changed_by_another_process():
    """A result, or the error for the argument with the bad value; nothing is read beyond an array."""
    run_forked(VALUES, length(0.5, 1), LONG, timeout=1800)
