"""Arrays that a call writes to: one given by the caller must be writable while the inputs are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._validate import as_array, same_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def result_array(x: Array, out: Array | None, inputs: dict[str, Any]) -> tuple[Array, Array]:
    """The array to return, in the likeness of `x` unless it was given, and the same as a plain ndarray."""
    if out is None:
        new = np.empty_like(x)
        return new, new
    return out, output("out", out, x.shape, x.dtype, inputs)


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
