"""Whether a fast result of tests/fast is the exact one, to 2^-9 of a unit: errors are then right to 0.002 ULP."""

import numpy as np
from fast.double_double import DD, SCALE, high
from fast.errors import DOUBT
from mpmath import mp, mpf

import oracle

ALLOWED = mpf(DOUBT)


def number(x):
    """The object array of mpmath numbers that x holds."""
    return oracle.exact(x.hi) + oracle.exact(x.lo) if isinstance(x, DD) else oracle.exact(x)


def assert_agrees(fast, exact, scale, dtype):
    """Two arrays, in ULP of the dtype at the exact scale; infinities and NaN are the same."""
    exact, scale = np.asarray(exact, dtype=object), np.asarray(scale, dtype=object)
    assert high(fast).shape == exact.shape == scale.shape
    for k, (f, e, s) in enumerate(zip(number(fast).ravel(), exact.ravel(), scale.ravel(), strict=True)):
        if mp.isfinite(e):
            unit = oracle.ulp(s if mp.isfinite(s) else e, dtype)
            assert abs(f / SCALE - e) <= ALLOWED * unit, np.unravel_index(k, exact.shape)
        else:
            assert f == e or (mp.isnan(f) and mp.isnan(e)), np.unravel_index(k, exact.shape)
