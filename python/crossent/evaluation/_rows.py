"""Rows of logits that are read in order, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from .._types import Array


class Rows:
    """`count` rows of `classes` numbers of the dtype `dtype`; `name` says in messages where they are from."""

    def __init__(self, name: str, array: Array) -> None:
        self._array = array
        self.count, self.classes = array.shape
        self.dtype: np.dtype[Any] = array.dtype
        self.name = name

    def blocks(self, size: int) -> Iterator[tuple[int, Array]]:
        """Yield ``(first_row, rows)`` in order: `size` rows each, and what is left in the last."""
        for first in range(0, self.count, size):
            yield first, self._array[first : first + size]
