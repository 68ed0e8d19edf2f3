"""Arrays that hypothesis draws, and bounds of two results of one exact value, in ULP."""

import numpy as np
import operations
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support import DTYPES

LIMIT = 4
HALVES = operations.FLOATS[:2]
rows_and_classes = st.tuples(st.integers(1, 6), st.sampled_from((1, 2, 3, 5, 8, 16, 17, 40)))


def floats(dtype, low, high):
    """Of a dtype NumPy has, evenly from simple to odd ones."""
    return st.floats(low, high, width=8 * np.dtype(dtype).itemsize, allow_subnormal=True)


def classes(n, c):
    return arrays.arrays(np.int64, n, elements=st.integers(0, c - 1))


def logits(dtype, shape, size=60):
    return arrays.arrays(dtype, shape, elements=floats(dtype, -size, size))


@st.composite
def batches(draw, size=60, dtypes=DTYPES):
    """(logits, classes)."""
    dtype, shape = draw(st.sampled_from(dtypes)), draw(rows_and_classes)
    return draw(logits(dtype, shape, size)), draw(classes(*shape))


def ulp(z):
    """Spacing at |z|, an array of the dtype it is for."""
    return np.spacing(np.abs(z)).astype(np.float64)


def assert_near(a, b, ulps):
    """Within `ulps` of the larger number."""
    unit = np.maximum(ulp(a), ulp(b))
    with np.errstate(invalid="ignore"):
        far = np.abs(a.astype(np.float64) - b.astype(np.float64)) > ulps * unit
    assert not far.any(), (a[far][0], b[far][0])


def assert_sums_to_0(gradient, sizes, limit):
    """Entry c is within `limit` ULP at its term of size s_c; an ULP is at most eps s_c, or the least subnormal. The
    exact sum is 0, so that of a row is at most limit (eps sum s_c + C least); float64 sums have errors of their own."""
    info = np.finfo(gradient.dtype)
    total = gradient.astype(np.float64).sum(axis=1)
    allowed = limit * (float(info.eps) * sizes + gradient.shape[1] * float(info.smallest_subnormal))
    if gradient.dtype == np.float64:
        allowed = allowed + gradient.shape[1] * float(info.eps) * sizes
    assert (np.abs(total) <= allowed).all(), (total, allowed)
