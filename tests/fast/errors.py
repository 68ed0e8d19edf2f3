"""Errors of results in ULP of their dtype, measured at fast exact values."""

import numpy as np
from oracle import format_of

from .double_double import DD, SCALE, high
from .parts import gradient, value

EXPONENT = np.int64(0x7FF0000000000000)
# What a fast value may be off by, in ULP: oracle/test_fast.py and accuracy/test_reference.py compare them with mpmath.
DOUBT = 2.0**-9


def ulp(z, dtype):
    """SCALE times the spacing of `dtype` at the exact z / SCALE, never below its least subnormal; z >= 0.

    A power of two may stand for what is a little less, and gets the spacing below it: errors are never flattered.
    """
    info = format_of(dtype)
    bits = np.maximum(high(z).view(np.int64) - (z.lo <= 0 if isinstance(z, DD) else 1), 0)
    power = (bits & EXPONENT).view(np.float64)
    return np.maximum(power * 2.0 ** -int(info.nmant), SCALE * 2.0 ** (int(info.minexp) - int(info.nmant)))


class Exact:
    """SCALE times an exact value, and what its error is measured in: ULP of `scale`, by default of the value itself."""

    def __init__(self, value, scale=None):
        self.value, self.scale = value, scale

    def unit(self, dtype):
        return ulp(abs(self.value if self.scale is None else self.scale), dtype)

    def errors(self, actual, unit):
        """|actual - exact| / unit; infinite for a NaN, or an infinity that the exact value does not round to."""
        wide = actual.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            if isinstance(self.value, DD):
                e = np.abs((wide * SCALE - self.value.hi) - self.value.lo) / unit
            else:
                e = np.abs(wide * SCALE - self.value) / unit
            bad = ~(e < np.inf)
        if bad.any():
            exact = high(self.value)[bad] / SCALE
            info = format_of(actual.dtype)
            overflows = np.abs(exact) >= float(info.max) * (1 + float(info.eps) / 4)
            e[bad] = np.where(overflows & (wide[bad] == np.copysign(np.inf, exact)), 0, np.inf)
        return e


class Sum(Exact):
    """A sum of two parts of which one is large: 4 units are 1 ULP of the sum and 4 ULP of the small part."""

    def __init__(self, value, part):
        self.value, self.part = value, part

    def unit(self, dtype):
        return ulp(abs(self.value), dtype) / 4 + ulp(abs(self.part), dtype)


def assert_within(limit, actual, value, scale=None):
    """Every entry is within `limit` ULP of the fast value, beyond the doubt about that, measured at the scale."""
    if not np.ndim(actual):
        actual, value, scale = np.ravel(actual), value.ravel(), None if scale is None else scale.ravel()
    exact, wanted = Exact(value, scale), high(value)
    assert actual.shape == np.shape(wanted)
    # Of an infinite unit nothing would be an error.
    assert scale is None or np.isfinite(high(scale)[np.isfinite(wanted)]).all(), "infinite scale of a finite value"
    with np.errstate(over="ignore"):
        errors = exact.errors(actual, exact.unit(actual.dtype))
    if not (errors <= limit - DOUBT).all():
        worst = np.unravel_index(errors.argmax(), errors.shape)
        raise AssertionError(f"{errors[worst]:.4g} ulp, more than {limit}, at {worst}: "
                             f"{actual[worst]!r} instead of {float(wanted[worst] / SCALE)!r}")


def assert_exact(loss, grad, parts, limit=4, gradient_limit=4):
    """The loss of each row or element and its gradient are those of the parts."""
    assert_within(limit, loss, *value(parts))
    assert_within(gradient_limit, grad, *gradient(parts))
