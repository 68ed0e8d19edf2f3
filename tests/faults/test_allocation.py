"""Memory that runs out gives MemoryError, whichever allocation of whichever thread fails; sizes beyond 64 bits, too."""

import os
import subprocess
from pathlib import Path

import pytest
from faults.forked import run_forked
from faults.lengths import LONG

# ---- Single allocations ----------------------------------------------------------------------------------------------

FAILING = """
import ctypes, sys
import numpy as np
from faults.calls import CALLS
from faults.forked import survey
from support import assert_same_bits

library = ctypes.CDLL(sys.argv[1])
library.disarm.restype = ctypes.c_bool
EVERY, MOST = eval(sys.argv[2]), 40
# Enough for two threads: many short rows, rows of several blocks, few long rows; classes side by side and apart.
SHAPES = [((12_000, 5), np.asfortranarray), ((40, 1030), np.asarray), ((3, 200_000), np.asarray)]
if EVERY:
    SHAPES += [((12_000, 5), np.asarray), ((500, 90), np.asfortranarray), ((40, 1030), np.asfortranarray),
               ((3, 200_000), np.asfortranarray), ((40_000, 1), np.asarray), ((1, 40_000), np.asarray)]

def job(call, shape, layout):
    def run():
        arguments = call.draw(shape, np.float32, layout)
        wanted, failures, n = call.results(arguments), 0, 1
        while True:
            library.arm(n)
            try:
                call.results(arguments)
                raised = False
            except MemoryError:
                raised = True
            if not library.disarm():
                assert not raised
                break
            failures += raised
            if n < 4 or EVERY:
                for got, one in zip(call.results(arguments), wanted, strict=True):
                    assert_same_bits(got, one)
            n += 1 if EVERY or n < MOST else n // 8  # of very many, the later ones are alike
        for got, one in zip(call.results(arguments), wanted, strict=True):
            assert_same_bits(got, one)
        assert failures or n == 1, "allocations failed, and no call did"
        print(f"{n - 1} allocations, {failures} MemoryErrors")
    return run

survey({f"{name} of {shape}, {layout.__name__}": job(call, shape, layout)
        for name, call in CALLS.items() for shape, layout in SHAPES})
"""


@pytest.fixture(scope="module")
def failing_new(tmp_path_factory):
    library = tmp_path_factory.mktemp("failing_new") / "failing_new.so"
    source = Path(__file__).with_name("failing_new.cpp")
    compiler = os.environ.get("CXX", "g++").split()
    subprocess.run([*compiler, "-std=c++17", "-O1", "-shared", "-fPIC", source, "-o", library], check=True)
    return library


def test_every_allocation_may_fail(failing_new):
    """The call raises MemoryError, and the next one gives what it always gives."""
    run_forked(FAILING, failing_new, LONG, timeout=1800, env={"LD_PRELOAD": str(failing_new), "OMP_NUM_THREADS": "2"})


# ---- Sizes -----------------------------------------------------------------------------------------------------------

HUGE = """
import signal, sys
import numpy as np
from faults.calls import CALLS
from faults.forked import survey

# Strides of 0 make arrays of any size. The bytes of each of these fit in 63 bits, those of several inputs, and of a
# double for each row, do not.
SHAPES = [(1 << 61, 1), (1, 1 << 61)]
if eval(sys.argv[1]):
    SHAPES += [(1 << 31, 1 << 30), (4, 1 << 59), (1 << 60, 2), (1 << 58, 7)]

def huge(call, shape):
    # Without weights, which have a dtype that is too wide.
    rows, classes = shape
    arguments = dict(call.options)
    for name, kind in call.arrays.items():
        if "weight" not in name:
            is_index = kind in ("class indices", "listed classes")
            value = np.int8(0) if is_index else np.float16(-0.5 if "log" in kind else 0.5)
            arguments[name] = np.broadcast_to(value, (rows,) if kind in ("class indices", "per row") else shape)
    return arguments

def job(call, shape, options):
    def run():
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        arguments = {**huge(call, shape), **options}
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            call.results(arguments)
        except MemoryError:
            return
        except ValueError as error:
            assert "too big" in str(error) or "maximum" in str(error), error  # NumPy's words
            return
        except KeyboardInterrupt:
            return  # it has the memory that it needs, and takes years
        # Of one row, nll_loss reads one class.
        assert call.function == "nll_loss" and shape[0] < 5, "a call of 2^61 elements has ended"
    return run

jobs = {}
for name, call in CALLS.items():
    for shape in SHAPES:
        reduced = "reduction" in call.options and "_backward" not in call.function
        for options in ({}, {"reduction": "mean"}) if reduced else ({},):
            jobs[f"{name} of {shape}, {options}"] = job(call, shape, options)
survey(jobs, seconds=20)
"""


def test_sizes_beyond_64_bits():
    """An error, or a call that goes on until it is interrupted; never a size that has wrapped around."""
    run_forked(HUGE, LONG, timeout=600)
