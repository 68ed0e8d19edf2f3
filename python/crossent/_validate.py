"""Checks of arguments, shared by every function: what passes here is a precondition of the core.

Messages say which argument it is, what it was and what was expected. Arrays of the core's own dtypes pass without a
copy, whatever their strides; the first line of each check is the path of ordinary calls.
"""

from __future__ import annotations

import math
import operator
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
REDUCTIONS = ("none", "mean", "sum")


def as_array(name: str, x: object) -> Array:
    """`x` as a plain ndarray of whatever dtype, sharing its memory where it has any."""
    ma = sys.modules.get("numpy.ma")  # a MaskedArray cannot exist before somebody has imported it
    if ma is not None and isinstance(x, ma.MaskedArray):
        raise TypeError(f"{name} is a MaskedArray, whose mask would be ignored: expected an array without a mask")
    return np.asarray(x)


def floating(name: str, x: object) -> Array:
    """`x` as a native float32 or float64 array; integers, bool and lists become float64."""
    if type(x) is np.ndarray and (x.dtype is FLOAT32 or x.dtype is FLOAT64):
        return x
    array = as_array(name, x)
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    native = array.dtype.newbyteorder("=")
    if native in (FLOAT32, FLOAT64):
        return array.astype(native, copy=False)
    later = ", which is not yet supported" if native.name in ("float16", "bfloat16") else ""
    raise TypeError(f"{name} has dtype {array.dtype}{later}: expected float32 or float64")


def converted(name: str, x: object, dtype: np.dtype[Any]) -> Array:
    """`x` as an array of the dtype that the call computes in."""
    if type(x) is np.ndarray and x.dtype is dtype:
        return x
    array = floating(name, x)
    with np.errstate(all="ignore"):  # a value beyond float32 becomes inf, which is what it is there
        return array.astype(dtype, copy=False)


def class_axis(name: str, x: Array, axis: Any) -> int:
    """`axis` counted from 0; the class axis may be empty only where there are no rows."""
    ndim = x.ndim
    try:
        index = operator.index(axis)
    except TypeError:
        raise TypeError(f"axis is {axis!r}: expected one int") from None
    if not -ndim <= index < ndim:
        if ndim == 0:
            raise np.exceptions.AxisError(f"{name} has no axes: expected at least one, the class axis")
        raise np.exceptions.AxisError(index, ndim)
    if index < 0:
        index += ndim
    shape = x.shape
    if shape[index] == 0 and 0 not in rows_of(shape, index):
        raise ValueError(f"{name} has shape {shape}: expected at least one class along axis {index}")
    return index


def rows_of(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The rows' shape: `shape` without the class axis."""
    return shape[:axis] + shape[axis + 1 :]


def same_shape(name: str, x: Array, shape: tuple[int, ...]) -> None:
    if x.shape != shape:
        raise ValueError(f"{name} has shape {x.shape}: expected {shape}")


def class_indices(target: object, rows: tuple[int, ...], hint: str) -> Array:
    """`target` as a native integer array of the rows' shape; their range is the core's to check."""
    array = target if type(target) is np.ndarray else as_array("target", target)
    dtype = array.dtype
    if dtype.kind not in "iu":
        hint = hint if dtype.kind == "f" else ""
        raise TypeError(f"target has dtype {dtype}: expected class indices, of an integer dtype{hint}")
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    if array.shape != rows:
        if rows or array.shape != (1,):
            expected = f"{rows}, one class index per row" if rows else "() or (1,), as the logits are one row"
            raise ValueError(f"target has shape {array.shape}: expected {expected}")
        array = array.reshape(())
    return array


def weights(name: str, x: object, dtype: np.dtype[Any]) -> Array:
    """`x` as an array of finite weights >= 0."""
    array = converted(name, x, dtype)
    if array.size:
        least, most = array.min(), array.max()
        if not (least >= 0 and most < math.inf):
            raise ValueError(f"{name} has values from {least} to {most}: expected finite weights >= 0, in {dtype}")
    return array


def row_weights(x: object, rows: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """`sample_weight` in the rows' shape, or 0-d where one weight is for every row."""
    array = weights("sample_weight", x, dtype)
    if array.shape == rows or array.ndim == 0:
        return array
    try:
        return np.broadcast_to(array, rows)
    except ValueError:
        raise ValueError(f"sample_weight has shape {array.shape}: expected {rows} or what broadcasts to it") from None


def ignored_class(ignore_index: Any) -> int | None:
    if ignore_index is None:
        return None
    try:
        if isinstance(ignore_index, (bool, np.bool_)):
            raise TypeError
        value = operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index is {ignore_index!r}: expected an int or None") from None
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"ignore_index is {value}: expected a 64-bit signed integer")
    return value


def number(name: str, value: object) -> float:
    """A real number, python's or NumPy's."""
    if type(value) is float:
        return value
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iuf":
        raise TypeError(f"{name} is {value!r}: expected a number")
    return float(array)


def positive(name: str, value: object) -> float:
    result = number(name, value)
    if not 0 < result < math.inf:
        raise ValueError(f"{name} is {result}: expected a finite number > 0")
    return result


def fraction(name: str, value: object) -> float:
    result = number(name, value)
    if not 0 <= result <= 1:
        raise ValueError(f"{name} is {result}: expected a number in [0, 1]")
    return result


def reduction_name(reduction: object) -> str:
    if type(reduction) is not str or reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}: expected one of {', '.join(map(repr, REDUCTIONS))}")
    return reduction


def output(name: str, out: object, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: dict[str, Any]) -> Array:
    """`out` as a plain ndarray that can be written while the `inputs` are read."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} is of type {type(out).__name__}: expected an ndarray")
    plain = out if type(out) is np.ndarray else as_array(name, out)
    if plain.dtype is not dtype and plain.dtype != dtype:
        raise TypeError(f"{name} has dtype {plain.dtype}: expected {dtype}, in native byte order")
    same_shape(name, plain, shape)
    if not plain.flags.writeable:
        raise ValueError(f"{name} is read-only: expected a writeable array")
    if _overlaps_itself(plain):
        raise ValueError(f"{name} has several positions in the same memory: expected an array without overlap")
    for other, x in inputs.items():
        if x is not None and x is not out and _clashes(plain, np.asarray(x)):
            raise ValueError(
                f"{name} shares memory with {other}: expected exactly the same array, to work in place, or one apart"
            )
    return plain


def _overlaps_itself(x: Array) -> bool:
    """Whether positions share bytes; never wrongly so for what slicing, transposing or a diagonal gives."""
    if x.flags.c_contiguous or x.size == 0:
        return False
    reach = x.itemsize
    for stride, n in sorted((abs(s), n) for s, n in zip(x.strides, x.shape, strict=True) if n > 1):
        if stride < reach:
            return True
        reach += stride * (n - 1)
    return False


def _clashes(out: Array, x: Array) -> bool:
    """Whether `out` shares a byte with `x` without being the same array."""
    if not np.may_share_memory(out, x) or _layout(out) == _layout(x):
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
