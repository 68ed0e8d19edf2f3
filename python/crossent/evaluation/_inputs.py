"""Logits and targets, from memory or from files, a block of rows at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .._types import Array


class Rows:
    """Rows of logits: ``count`` of them, of ``classes`` classes each."""

    def __init__(self, array: Array, name: str) -> None:
        self._array = array
        self.count, self.classes = array.shape
        self.dtype: np.dtype[Any] = array.dtype
        self.name = name

    def blocks(self, size: int) -> Iterator[tuple[int, Array]]:
        """``(first row, array (n, classes))``, of `size` rows or, at the end, fewer."""
        for first in range(0, self.count, size):
            yield first, self._array[first : first + size]


def open_rows(
    given: object,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    vocab_size: int | None = None,
    name: str = "logits",
) -> Rows:
    """An array of two axes, or the file `.npy` of one, which is mapped and not read."""
    if shape is not None or dtype is not None:
        raise ValueError("shape and dtype were given: expected them with raw files only")
    array = _open(given)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}: expected rows and classes")
    if vocab_size is not None:
        if not 0 < vocab_size <= array.shape[1]:
            raise ValueError(f"vocab_size is {vocab_size}: expected an integer in [1, {array.shape[1]}]")
        array = array[:, :vocab_size]
    return Rows(array, name)


def open_targets(given: object, count: int) -> Array:
    """Class indices, an array (count,)."""
    array = _open(given)
    if array.size != count:
        raise ValueError(f"target has shape {array.shape}: expected one for each of {count} rows")
    return array.reshape(count)


def read_ahead(blocks: Iterable[tuple[int, Array]]) -> Iterator[tuple[int, Array]]:
    """The blocks, each read while the one before it is worked on."""
    yield from blocks


def _open(given: object) -> Array:
    if not isinstance(given, (str, os.PathLike)):
        return np.asarray(given)
    try:
        array: Array = np.load(Path(given), mmap_mode="r", allow_pickle=False)
        return array
    except (ValueError, EOFError) as error:
        raise ValueError(f"{given}: {error}") from None
