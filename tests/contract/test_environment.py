"""The caller's floating-point environment: a library beside this one may flush subnormals or round otherwise.

Results are those of the default environment, and the caller's rounding and flushing are as they were afterwards.
"""

import ctypes
import platform

import numpy as np
import operations
import pytest
from support import assert_same_bits

from crossent import information

LIBM = ctypes.CDLL(None)
X86 = platform.machine() in ("x86_64", "AMD64")
DOWNWARD, UPWARD, TOWARDS_0 = (0x400, 0x800, 0xC00) if X86 else (0x800000, 0x400000, 0xC00000)
# Where fenv_t keeps the control word of vector arithmetic, and its bits that flush subnormals.
WORD, FLUSH = (7, 0x8040) if X86 else (0, 1 << 24)
EXCEPTIONS = 0x3F if X86 else 0  # what NumPy and python have met on the way


class Environment(ctypes.Structure):
    _fields_ = [("words", ctypes.c_uint32 * 16)]  # 32 bytes on x86-64, 8 on arm64


def environment():
    now = Environment()
    assert LIBM.fegetenv(ctypes.byref(now)) == 0
    return now


class Changed:
    """Another rounding direction, or subnormals flushed, for the block; checks that the block left it so."""

    def __init__(self, rounding=0, flush=False):
        self.rounding, self.flush = rounding, flush

    def __enter__(self):
        self.before = environment()
        LIBM.fesetround(self.rounding)
        self.set = environment()
        if self.flush:
            self.set.words[WORD] |= FLUSH
            assert LIBM.fesetenv(ctypes.byref(self.set)) == 0

    def __exit__(self, *error):
        after = environment()
        assert LIBM.fesetenv(ctypes.byref(self.before)) == 0
        if error[0] is None:
            assert (after.words[WORD] ^ self.set.words[WORD]) & ~EXCEPTIONS == 0


ENVIRONMENTS = {"down": (DOWNWARD,), "up": (UPWARD,), "towards 0": (TOWARDS_0,), "flush": (0, True)}


def test_the_environment_is_changed():
    """Of this process, as NumPy sees it."""
    tiny = np.full(64, 1e-310)
    with Changed(0, True):
        flushed = tiny * 0.5
    assert not flushed.any() and (tiny * 0.5).all()
    third = np.full(64, 1.0) / 3
    with Changed(UPWARD):
        up = np.full(64, 1.0) / 3
    assert (up > third).all()


@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize("form", operations.FORMS, ids=repr)
def test_losses(form, dtype, rng):
    """Small gradients, subnormal in every dtype, on one thread and on several."""
    for rows in (1, 400):
        arrays, options = form.arguments(rng, (dtype, dtype), "plain")
        arrays = [np.concatenate([a] * rows) for a in arrays]
        function, backward = form.function, form.backward
        least = 2.0 ** {2: -20, 4: -140, 8: -1065}[dtype.itemsize] if dtype != operations.FLOATS[1] else 2.0**-130
        wanted = function(*arrays, reduction="none", return_grad=True, **options)
        total = function(*arrays, reduction="sum", **options)
        tiny = backward(least, *arrays, reduction="sum", **options)
        assert tiny.any()
        for change in ENVIRONMENTS.values():
            with Changed(*change):
                got = function(*arrays, reduction="none", return_grad=True, **options)
                got_total = function(*arrays, reduction="sum", **options)
                got_tiny = backward(least, *arrays, reduction="sum", **options)
            for a, b in ((got[0], wanted[0]), (got[1], wanted[1]), (got_total, total), (got_tiny, tiny)):
                assert_same_bits(a, b)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_information(environment, dtype, rng):
    p, q = operations.draws.some_probabilities(rng, dtype), operations.draws.some_probabilities(rng, dtype)
    calls = [lambda: information.entropy(p), lambda: information.kl_divergence(p, q, base=2),
             lambda: information.js_divergence(p, q), lambda: information.entropy_with_logits(q),
             lambda: information.perplexity(q, [0] * len(q))]
    wanted = [call() for call in calls]
    with Changed(*ENVIRONMENTS[environment]):
        got = [call() for call in calls]
    for a, b in zip(got, wanted):
        assert_same_bits(a, b)
