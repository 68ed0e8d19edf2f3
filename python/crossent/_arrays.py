"""Arrays: as the dtypes that the core has; the rows and elements in them; the memory that they share."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _hints

if TYPE_CHECKING:
    from ._types import Array

FLOAT16 = np.dtype(np.float16)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
LARGEST32 = float(np.finfo(np.float32).max)
LARGEST64 = float(np.finfo(np.float64).max)


def as_array(name: str, x: object) -> Array:
    """`x` as a plain ndarray of whatever dtype, sharing its memory where it has any."""
    ma = sys.modules.get("numpy.ma")  # no MaskedArray exists before that is imported
    if ma is not None and isinstance(x, ma.MaskedArray):
        raise TypeError(f"{name} is a MaskedArray, whose mask would be ignored: expected an array without a mask")
    return np.asarray(x)


def like(x: Any) -> Array:
    """An array of the shape and dtype of `x` in the memory of one element."""
    return np.broadcast_to(np.zeros((), x.dtype), x.shape)


def floating_dtype(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The dtype of the core, in native byte order, that `dtype` is; None if there is none."""
    if dtype.kind == "f":
        native = dtype.newbyteorder("=")
        return next((known for known in (FLOAT16, FLOAT32, FLOAT64) if native == known), None)
    # NumPy has no bfloat16: it is the type of ml_dtypes and nothing else, and exists only if somebody imported that.
    scalar = getattr(sys.modules.get("ml_dtypes"), "bfloat16", None)
    return np.dtype(scalar) if scalar is not None and dtype.type is scalar else None


def floating(name: str, x: object, integers: np.dtype[Any] = FLOAT64) -> Array:
    """`x` as a native array of a floating dtype; integers and bool, python's too, become `integers`."""
    array = as_array(name, x)
    if array.dtype.kind in "biu":
        return array.astype(integers)
    dtype = floating_dtype(array.dtype)
    if dtype is None:
        expected = "float16, bfloat16 of ml_dtypes, float32 or float64" + _hints.of_dtype(name, array.dtype)
        raise TypeError(f"{name} has dtype {array.dtype}: expected {expected}")
    return array.astype(dtype, copy=False)


def converted(x: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(all="ignore"):  # beyond the range of `dtype` a number becomes inf or 0
        return x.astype(dtype, copy=False)


def arithmetic(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which a call on `dtype` computes, which is that of its losses."""
    return FLOAT64 if dtype == FLOAT64 else FLOAT32


def largest(dtype: np.dtype[Any]) -> float:
    """The largest finite number of the arithmetic on `dtype`."""
    return LARGEST64 if arithmetic(dtype) is FLOAT64 else LARGEST32


def least_positive(dtype: np.dtype[Any]) -> float:
    """The least positive number of the arithmetic on `dtype`."""
    return 5e-324 if arithmetic(dtype) is FLOAT64 else 2.0**-149


# ---- Rows and elements ----------------------------------------------------------------------------------------------


def position(name: str, shape: tuple[int, ...], at: int) -> str:
    """The name of the element `at`, counted in C order: "target[3, 5]", or "target" for a 0-d array."""
    place = np.unravel_index(at, shape)
    return f"{name}[{', '.join(map(str, place))}]" if place else name


def rows_of(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The rows' shape: `shape` without the class axis."""
    return shape[:axis] + shape[axis + 1 :]


# ---- Memory ---------------------------------------------------------------------------------------------------------


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
