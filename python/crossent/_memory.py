"""Which memory arrays share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._types import Array


def overlaps_itself(x: Array) -> bool:
    """Whether positions share bytes; exact for the results of slicing, transposing and np.diagonal."""
    if x.flags.c_contiguous or x.size == 0:
        return False
    reach = x.itemsize
    for stride, n in sorted((abs(s), n) for s, n in zip(x.strides, x.shape, strict=True) if n > 1):
        if stride < reach:
            return True
        reach += stride * (n - 1)
    return False


def clashes(out: Array, x: Array) -> bool:
    """Whether `out` shares a byte with `x` without being the same array."""
    return _layout(out) != _layout(x) and shares_memory(out, x)


def shares_memory(out: Array, x: Array) -> bool:
    """Whether `out` shares a byte with `x`."""
    if not np.may_share_memory(out, x):
        return False
    try:
        return bool(np.shares_memory(out, x, max_work=_EFFORT))
    except np.exceptions.TooHardError:
        return True


# np.shares_memory is exact, which takes exponential time in the worst case: a question this hard is answered with yes.
_EFFORT: Any = 1_000_000


def _layout(x: Array) -> tuple[Any, ...]:
    # The stride of an axis of length 1 is never used, and NumPy sets it as it likes.
    strides = [s for s, n in zip(x.strides, x.shape, strict=True) if n > 1]
    return x.__array_interface__["data"][0], x.dtype, x.shape, strides
