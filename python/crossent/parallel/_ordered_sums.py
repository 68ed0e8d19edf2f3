"""Sums of numbers of rows, put together from parts of the rows in the order in which one process adds them.

One process adds the numbers of 1,024 rows, and these sums along a binary tree over the blocks of rows. So the blocks
from a multiple of 2^k on, 2^k of them, are always added by themselves first, and whoever has them may do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .. import _core

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from .._types import Array

BLOCK = 1024


@dataclass(frozen=True, eq=False)
class OrderedSums:
    """The sums of some columns of numbers over the rows from `start` to `stop`."""

    start: int
    stop: int
    exact: bool
    """Whether sums of all rows will have the bits of one process: no part of the rows began within a block."""
    ends: tuple[int, ...]
    """Where the rows of each node end: the first begins at `start`, every other one where the one before it ends."""
    nodes: Array
    """Of each node and column a sum and its rounding error: (nodes, columns, 2)."""

    @classmethod
    def of_blocks(cls, start: int, rows: int, blocks: Array) -> Self:
        """`blocks`: the sums of each column over 1,024 rows, counted from `start` on: (columns, blocks, 2)."""
        by_block, stop = blocks.transpose(1, 0, 2), start + rows
        exact = rows == 0 or start % BLOCK == 0
        if not exact:
            return cls(start, stop, exact, (stop,), _added(by_block)[None])
        first = start // BLOCK
        parts = [(begin - first, end - first) for begin, end in _subtrees(first, stop // BLOCK)]
        if rows % BLOCK:
            parts.append((rows // BLOCK, rows // BLOCK + 1))
        nodes = np.empty((len(parts), *by_block.shape[1:]))
        for node, (begin, end) in zip(nodes, parts, strict=True):
            node[...] = _added(by_block[begin:end])
        return cls(start, stop, exact, tuple(min(start + BLOCK * end, stop) for _, end in parts), nodes)

    @classmethod
    def merge(cls, parts: Iterable[OrderedSums]) -> Self:
        """The sums over the rows of all `parts`, in any order."""
        given = list(parts)
        if not given:
            raise ValueError("no sums were given: expected those of at least one part of the rows")
        ordered = sorted((part for part in given if part.stop > part.start), key=lambda part: part.start) or given[:1]
        for before, after in pairwise(ordered):
            if before.stop < after.start:
                raise ValueError(f"the rows from {before.stop} to {after.start} are in no part")
            if before.stop > after.start:
                last = min(before.stop, after.stop)
                raise ValueError(f"the rows from {after.start} to {last} are in two parts")
        merged: list[tuple[int, int, Array]] = []
        for part in ordered:
            for node in part._ranges():
                merged.append(node)
                while len(merged) > 1 and _are_siblings(merged[-2], merged[-1]):
                    (begin, _, left), (_, end, right) = merged[-2:]
                    merged[-2:] = [(begin, end, _added(np.stack((left, right))))]
        nodes = np.stack([node for *_, node in merged]) if merged else ordered[0].nodes
        exact = all(part.exact for part in ordered)
        return cls(ordered[0].start, ordered[-1].stop, exact, tuple(end for _, end, _ in merged), nodes)

    def total(self) -> Array:
        """The sum of each column: (columns, 2)."""
        if self.start and self.stop > self.start:
            raise ValueError(f"the rows before {self.start} are in no part")
        if not len(self.nodes):
            return np.zeros(self.nodes.shape[1:])
        total: Array = self.nodes[-1]
        for node in self.nodes[-2::-1]:  # as the subtrees after one are added before it is
            total = _added(np.stack((node, total)))
        return total

    def _ranges(self) -> Iterator[tuple[int, int, Array]]:
        return zip((self.start, *self.ends), self.ends, self.nodes, strict=False)


def _added(sums: Array) -> Array:
    """The sums of some nodes, (nodes, columns, 2), of which none is missing."""
    return _core.merge_sums(np.ascontiguousarray(sums))


def _subtrees(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The largest parts of these blocks that are added by themselves, whatever blocks there are before and after."""
    while begin < end:
        size = 1 << (end - begin).bit_length() - 1
        if begin:
            size = min(size, begin & -begin)
        yield begin, begin + size
        begin += size


def _are_siblings(left: tuple[int, int, Array], right: tuple[int, int, Array]) -> bool:
    """Whether these neighbours are the two halves of a subtree."""
    size = left[1] - left[0]
    return size == right[1] - right[0] and left[0] % (2 * size) == 0
