"""Arrays of the floating dtypes that the core has."""

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
