"""Nothing hangs: fork after use, fork with busy threads, many Python threads, nesting, Ctrl-C.

Whatever may hang or fork runs as a script in a process of its own, and the time limits only guard against hangs. The
arrays are large enough to use the threads there are.
"""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from support import assert_same_bits, run_python

import crossent as xe

# What every script starts with: a batch, its loss, and a check that a call still gives it.
COMMON = """
import numpy as np, crossent as xe
x = np.random.default_rng(0).normal(0, 3, (2000, 1000)).astype(np.float32)
target = np.arange(2000) % 1000
def evaluate():
    return xe.cross_entropy(x, target, return_grad=True)
def check(wanted):
    loss, grad = evaluate()
    assert loss == wanted[0] and (grad == wanted[1]).all()
"""


def run(script, **options):
    return run_python(COMMON + script, timeout=120, **options)


# ---- fork ------------------------------------------------------------------------------------------------------------


def test_fork_after_use():
    """Children of a process that has used its threads, and their children."""
    run("""
import os
wanted = evaluate()
for k in range(20):
    child = os.fork()
    if not child:
        check(wanted)
        grandchild = os.fork()
        if not grandchild:
            check(wanted)
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    assert os.waitpid(child, 0)[1] == 0
    check(wanted)
""")


def test_multiprocessing_fork_after_use():
    run("""
import multiprocessing
wanted = evaluate()
def job(k):
    check(wanted)
    return k
context = multiprocessing.get_context("fork")
for k in range(3):
    with context.Pool(3) as pool:
        assert pool.map(job, range(9)) == list(range(9))
    check(wanted)
""")


def test_fork_with_busy_threads():
    """The child of a process whose other threads are in the middle of a call."""
    run("""
import os, threading
wanted = evaluate()
stop = threading.Event()
def busy():
    while not stop.is_set():
        check(wanted)
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads:
    thread.start()
for k in range(20):
    child = os.fork()
    if not child:
        check(wanted)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
""")


def test_fork_from_another_thread():
    run("""
import os, threading
wanted = evaluate()
statuses = []
def forking():
    check(wanted)
    child = os.fork()
    if not child:
        check(wanted)
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])
for k in range(5):
    thread = threading.Thread(target=forking)
    thread.start()
    check(wanted)
    thread.join()
assert statuses == [0] * 5
""")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_start_methods(method, tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(COMMON + f"""
import multiprocessing
def job(k):
    return evaluate()[0]
if __name__ == "__main__":
    wanted = evaluate()[0]
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        assert pool.map(job, range(4)) == [wanted] * 4
""")
    subprocess.run([sys.executable, script], check=True, timeout=120)


# ---- Python threads --------------------------------------------------------------------------------------------------


def test_many_python_threads(rng):
    """More callers than cores, each with its own data and its own limit."""
    batches = [(rng.normal(0, 3, (400, 300)).astype(np.float32), rng.integers(0, 300, 400)) for _ in range(12)]
    wanted = [xe.cross_entropy(x, target, reduction="none", return_grad=True) for x, target in batches]
    failures = []

    def job(k):
        try:
            with xe.num_threads(1 + k % 4):
                for _ in range(10):
                    results = xe.cross_entropy(*batches[k], reduction="none", return_grad=True)
                    for got, one in zip(results, wanted[k], strict=True):
                        assert_same_bits(got, one)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=job, args=(k,), daemon=True) for k in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []


def test_errors_in_one_thread_leave_the_others_alone(rng):
    x, target = rng.normal(0, 1, (3000, 50)), rng.integers(0, 50, 3000)
    bad = target.copy()
    bad[2999] = 50
    wanted, seen = xe.cross_entropy(x, target), []

    def job(k):
        for _ in range(20):
            try:
                seen.append(xe.cross_entropy(x, bad if k % 2 else target) == wanted)
            except IndexError:
                seen.append(k % 2 == 1)

    threads = [threading.Thread(target=job, args=(k,), daemon=True) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert seen == [True] * 120


def test_the_gil_is_released():
    """Another thread goes on while a call runs: it never stands still for half of the call."""
    x = np.broadcast_to(np.zeros(32768, np.float32), (60_000, 32768))
    target, times, stamps = np.zeros(60_000, np.int8), [], []

    def call():
        times.append(time.perf_counter())
        xe.cross_entropy(x, target, reduction="sum")
        times.append(time.perf_counter())

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    while thread.is_alive():
        stamps.append(time.perf_counter())
        time.sleep(0.001)
    begin, end = times
    assert np.diff([begin, *(t for t in stamps if begin < t < end), end]).max() < (end - begin) / 2


# ---- Thread counts ---------------------------------------------------------------------------------------------------


def test_num_threads_is_a_limit_for_the_block():
    before = xe.get_num_threads()
    with xe.num_threads(1):
        assert xe.get_num_threads() == 1
        with xe.num_threads(10_000):
            assert xe.get_num_threads() == before
        assert xe.get_num_threads() == 1 == xe.config()["threads"]
    assert xe.get_num_threads() == before


def test_num_threads_ends_with_an_exception():
    before = xe.get_num_threads()
    with pytest.raises(KeyError), xe.num_threads(1):
        raise KeyError
    assert xe.get_num_threads() == before


def test_num_threads_is_for_this_thread_only():
    before, seen = xe.get_num_threads(), []
    with xe.num_threads(1):
        thread = threading.Thread(target=lambda: seen.append(xe.get_num_threads()))
        thread.start()
        thread.join(60)
    assert seen == [before]


def test_num_threads_may_be_entered_again():
    limit, before = xe.num_threads(1), xe.get_num_threads()
    with limit, limit:
        assert xe.get_num_threads() == 1
    assert xe.get_num_threads() == before
    with limit:
        assert xe.get_num_threads() == 1


def test_set_num_threads_is_for_the_process():
    before, seen = xe.get_num_threads(), []
    try:
        xe.set_num_threads(1)
        thread = threading.Thread(target=lambda: seen.append(xe.get_num_threads()))
        thread.start()
        thread.join(60)
        assert xe.get_num_threads() == 1
        assert seen == [1]
        xe.set_num_threads(10_000)  # the least of all limits counts
        assert xe.get_num_threads() == before
        xe.set_num_threads(np.int64(1))
        assert xe.get_num_threads() == 1
    finally:
        xe.set_num_threads(before)


def test_omp_num_threads_is_respected():
    script = "import crossent as xe; print(xe.get_num_threads())"
    assert run_python(script, env={"OMP_NUM_THREADS": "1"}).stdout == "1\n"
    unlimited = int(run_python(script, env={"OMP_NUM_THREADS": "10000"}).stdout)
    assert int(run_python(script, env={"OMP_NUM_THREADS": "2"}).stdout) == min(2, unlimited)
    if xe.config()["openmp"] == "none":  # where there is OpenMP, its library says what becomes of 2^32 + 1
        assert int(run_python(script, env={"OMP_NUM_THREADS": str(2**32 + 1)}).stdout) == unlimited


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------

LONG_CALLS = {
    "loss": "xe.cross_entropy(x, target, reduction='sum')",
    "logsumexp": "xe.logsumexp(x)",
    "nested": "[xe.logsumexp(x) for _ in range(9)]",
}


@pytest.mark.parametrize("name", LONG_CALLS)
def test_ctrl_c_ends_a_long_call(name):
    """1e12 logits through strides of 0 take minutes; SIGINT ends them, and the library goes on working."""
    script = f"""
import signal, numpy as np, crossent as xe
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background of a shell
x = np.broadcast_to(np.linspace(-4, 4, 1 << 20, dtype=np.float32), (1 << 20, 1 << 20))
target = np.broadcast_to(np.int8(3), 1 << 20)
wanted = xe.logsumexp(x[:1])
print("ready", flush=True)
try:
    {LONG_CALLS[name]}
except KeyboardInterrupt:
    assert xe.logsumexp(x[:1]) == wanted
    print("interrupted", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            threading.Event().wait(0.5)  # into the call
            os.kill(child.pid, signal.SIGINT)
            out, _ = child.communicate(timeout=20)
        finally:
            child.kill()
    assert out == "interrupted\n"
    assert child.returncode == 0


def test_a_signal_handler_that_raises_nothing_lets_the_call_finish():
    run_python("""
import os, signal, threading, numpy as np, crossent as xe
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(xe.logsumexp([0.0, 0.0])))
x = np.broadcast_to(np.zeros(32768, np.float32), (100_000, 32768))
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
losses = xe.logsumexp(x)
threading.Event().wait(0.5)
assert len(seen) == 1 and (losses == losses[0]).all()
""", timeout=120)
