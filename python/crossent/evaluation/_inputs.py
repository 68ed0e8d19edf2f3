"""What `evaluate` is given: arrays, and files of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._rows import Rows

if TYPE_CHECKING:
    from .._types import Array


def open_rows(
    given: object,
    *,
    shape: Sequence[int] | None = None,
    dtype: Any = None,
    vocab_size: int | None = None,
    name: str = "logits",
) -> Rows:
    """The rows of an array of two axes, or of the file `.npy` of one, which is mapped and not read."""
    if shape is not None or dtype is not None:
        raise ValueError("shape and dtype were given: expected them with raw files only")
    array = _open(given, name)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}: expected rows and classes")
    if array.dtype.kind in "cOSU":
        raise TypeError(f"{name} has dtype {array.dtype}: expected a floating dtype")
    if vocab_size is not None:
        if not 1 <= vocab_size <= array.shape[1]:
            raise ValueError(f"vocab_size is {vocab_size}: expected an integer in [1, {array.shape[1]}]")
        array = array[:, :vocab_size]
    return Rows(str(given) if isinstance(given, (str, os.PathLike)) else name, array)


def open_targets(given: object, count: int, *, name: str = "target") -> Array:
    """Class indices, an array (count,)."""
    array = _open(given, name)
    if array.size != count:
        raise ValueError(f"{name} has shape {array.shape}: expected one for each of {count} rows")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}: expected integers")
    return array.reshape(count)


def _open(given: object, name: str) -> Array:
    if isinstance(given, (str, os.PathLike)):
        try:
            array: Array = np.load(given, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{given}: {error}") from None
        return array
    if isinstance(given, np.ndarray):
        return given
    raise TypeError(f"{name} is a {type(given).__name__}: expected an ndarray or a path")
