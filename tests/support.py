"""What several test files share: comparison of bits, memory layouts, examples, scripts in a process of their own."""

import doctest
import os
import signal
import subprocess
import sys

import numpy as np

DTYPES = (np.float32, np.float64)
# Whole products of options, dtypes and kinds of rows (`nox -s 'long(products)'`); else a part in which each value meets
# others.
ALL = os.environ.get("CROSSENT_PRODUCTS") == "all"


def bits(array):
    """The bytes of an array in C order, every NaN alike (their sign and payload are not promised)."""
    array = np.array(array, order="C", copy=True)
    if array.dtype.kind not in "iu":
        array[np.isnan(array)] = np.nan
    return array.tobytes()


def assert_same_bits(actual, wanted):
    actual, wanted = np.asarray(actual), np.asarray(wanted)
    assert actual.dtype == wanted.dtype
    assert actual.shape == wanted.shape
    if bits(actual) != bits(wanted):
        pairs = zip(actual.ravel(), wanted.ravel(), strict=True)
        different = np.flatnonzero([a.tobytes() != w.tobytes() and not (a != a and w != w) for a, w in pairs])
        first = np.unravel_index(different[0], actual.shape)
        raise AssertionError(
            f"{different.size} of {actual.size} differ, the first at {first}: {actual[first]!r}, {wanted[first]!r}")


def assert_examples_run(function, name):
    """A docstring has examples, and they print what it says."""
    [examples] = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert examples.examples
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples).failed == 0


def at_offset(array, offset):
    """A C-contiguous copy of `array` whose data starts `offset` bytes behind a 64-byte boundary."""
    store = np.empty(array.nbytes + 64 + offset, dtype=np.uint8)
    start = -store.ctypes.data % 64 + offset
    copy = store[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def run_python(code, *args, timeout=60, env=None, check=True):
    """Run `code` in a fresh interpreter at this process's ISA level and return the finished process.

    The script finds the helpers of this folder. `timeout` only guards against hangs.
    """
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, **(env or {})}
    # A session of its own, so that what a hanging script has forked ends with it.
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, args)], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check and done.returncode:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done
