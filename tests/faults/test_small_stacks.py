"""Calls on threads whose stack is small: the buffers of a call must not lie on it.

Threads of 128 kB are what servers with many threads use, and musl's default.
"""

from faults.forked import run_forked
from faults.lengths import length

# (rows, classes): few and many classes, whole and partial tiles and blocks, few long rows. LARGE is for two threads.
SMALL = [(5, 1), (70, 2), (33, 7), (9, 31), (20, 100), (3, 1030)]
LARGE = [(11_000, 3), (1000, 33), (33, 1025), (3, 11_000)]
MORE = [(64, 1), (1, 64), (65, 16), (17, 17), (200, 48), (130, 64), (4, 2048), (1, 5000),
        (70_000, 1), (20_000, 8), (9000, 16), (2000, 64), (600, 400), (70, 1024), (1, 400_000), (2, 100_000)]

SCRIPT = """
import ctypes, sys, threading
import ml_dtypes, numpy as np
from faults.calls import CALLS
from faults.forked import survey
from support import assert_same_bits
import crossent as xe

SMALL, LARGE, ALL_DTYPES = map(eval, sys.argv[1:])

libc = ctypes.CDLL(None)
if hasattr(libc, "pthread_setattr_default_np"):  # of glibc: for the threads that help a call
    attributes = ctypes.create_string_buffer(256)
    libc.pthread_attr_init(attributes)
    libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(128 * 1024))
    assert libc.pthread_setattr_default_np(attributes) == 0

def apart(a):  # no axis is contiguous
    wide = np.zeros(tuple(3 * n for n in a.shape), a.dtype)
    wide[tuple(slice(0, 3 * n, 3) for n in a.shape)] = a
    return wide[tuple(slice(0, 3 * n, 3) for n in a.shape)]

LAYOUTS = {"C": np.ascontiguousarray, "Fortran": np.asfortranarray, "apart": apart}
DTYPES = (np.float16, np.float32, np.float64) + ((ml_dtypes.bfloat16,) if ALL_DTYPES else ())

def calls(call):
    for shape in SMALL + LARGE:
        for layout in LAYOUTS.values():
            for dtype in DTYPES if ALL_DTYPES or shape in SMALL else (np.float32,):
                yield call.draw(shape, dtype, layout)
        # Arrays of other dtypes and layouts than the first one.
        mixed = call.draw(shape, np.float32)
        for name, value in mixed.items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and name not in (call.first, "weight"):
                mixed[name] = np.asfortranarray(value).astype(np.float16)
        yield mixed

def on_small_stack(function):
    outcome = []
    threading.stack_size(128 * 1024)
    thread = threading.Thread(target=lambda: outcome.append(function()))
    thread.start()
    thread.join()
    assert outcome, "the thread has raised"
    return outcome[0]

def job(call):
    def run():
        for arguments in calls(call):
            with xe.num_threads(1):
                wanted = call.results(arguments)
            for threads in (1, 2):
                def limited():
                    with xe.num_threads(threads):
                        return call.results(arguments)
                for got, one in zip(on_small_stack(limited), wanted, strict=True):
                    assert_same_bits(got, one)
    return run

survey({name: job(call) for name, call in CALLS.items()}, seconds=300)
"""


def test_every_function_on_a_small_stack():
    """The same bits as on a stack of the ordinary size, from this thread alone and with a helper."""
    shapes = SMALL, LARGE + length([], MORE), length(False, True)
    run_forked(SCRIPT, *shapes, env={"OMP_NUM_THREADS": "2"}, timeout=900)
