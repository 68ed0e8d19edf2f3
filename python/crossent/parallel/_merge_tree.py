"""The merge tree over blocks of 1,024 classes or rows, and sums along it, put together from parts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from .. import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from .._types import Array
    from ._messages import Received


BLOCK = _core.block_size

T = TypeVar("T")


class Range(Protocol):
    """A part of the classes or of the rows."""

    @property
    def start(self) -> int: ...

    @property
    def stop(self) -> int: ...


R = TypeVar("R", bound=Range)


class Node(NamedTuple, Generic[T]):
    """A subtree: the blocks from `begin` to `end` and what they come to."""

    begin: int
    end: int
    value: T


def in_order(parts: Iterable[R], kind: str, part: str) -> list[R]:
    """Those that are not empty, where each begins at the end of the one before it; or one, where all are empty."""
    given = list(parts)
    ordered = sorted((p for p in given if p.stop > p.start), key=lambda p: p.start) or given[:1]
    for before, after in pairwise(ordered):
        if before.stop < after.start:
            raise ValueError(f"the {kind} from {before.stop} to {after.start} are in no {part}")
        if before.stop > after.start:
            last = min(before.stop, after.stop)
            raise ValueError(f"the {kind} from {after.start} to {last} are in two {part}s")
    return ordered


def subtrees(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The largest parts of these blocks that are merged by themselves, whatever blocks there are before and after."""
    while begin < end:
        size = 1 << (end - begin).bit_length() - 1
        if begin:
            size = min(size, begin & -begin)
        yield begin, begin + size
        begin += size


def merge_siblings(nodes: Iterable[Node[T]], merge: Callable[[T, T], T]) -> list[Node[T]]:
    """What subtrees that follow each other come to, as far as that is known without those before and after."""
    merged: list[Node[T]] = []
    for node in nodes:
        merged.append(node)
        while len(merged) > 1 and _are_siblings(*merged[-2:]):
            left, right = merged[-2:]
            merged[-2:] = [Node(left.begin, right.end, merge(left.value, right.value))]
    return merged


def _are_siblings(left: Node[T], right: Node[T]) -> bool:
    size = left.end - left.begin
    return size == right.end - right.begin and left.begin % (2 * size) == 0


def root(nodes: list[Node[T]], merge: Callable[[T, T], T]) -> T:
    """What all blocks come to, from the subtrees without a sibling: what comes after one is merged before it."""
    value = nodes[-1].value
    for node in nodes[-2::-1]:
        value = merge(node.value, value)
    return value


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
        parts = [(begin - first, end - first) for begin, end in subtrees(first, stop // BLOCK)]
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
        ordered = in_order(given, "rows", "part")
        merged = merge_siblings((node for part in ordered for node in part._ranges()), _add_two)
        nodes = np.stack([node.value for node in merged]) if merged else ordered[0].nodes
        exact = all(part.exact for part in ordered)
        return cls(ordered[0].start, ordered[-1].stop, exact, tuple(node.end for node in merged), nodes)

    @property
    def facts(self) -> dict[str, Any]:
        """What a message holds beside the nodes."""
        return {"start": self.start, "stop": self.stop, "exact": self.exact, "ends": self.ends}

    @classmethod
    def received(cls, facts: dict[str, Any], arrays: Received, columns: int) -> Self:
        start, stop, ends = facts["start"], facts["stop"], tuple(facts["ends"])
        if (start, *ends)[-1] != stop:
            raise ValueError
        return cls(start, stop, facts["exact"], ends, arrays.array(len(ends), columns, 2))

    def total(self) -> Array:
        """The sum of each column: (columns, 2)."""
        if self.start and self.stop > self.start:
            raise ValueError(f"the rows before {self.start} are in no part")
        return root(list(self._ranges()), _add_two) if len(self.nodes) else np.zeros(self.nodes.shape[1:])

    def _ranges(self) -> Iterator[Node[Array]]:
        return map(Node, (self.start, *self.ends), self.ends, self.nodes)


class Summed:
    """A value that has sums over some classes."""

    sums: OrderedSums

    @property
    def start(self) -> int:
        return self.sums.start

    @property
    def stop(self) -> int:
        return self.sums.stop

    @property
    def exact(self) -> bool:
        return self.sums.exact


def _added(sums: Array) -> Array:
    """The sums of adjacent nodes, (nodes, columns, 2)."""
    return _core.merge_sums(np.require(sums, requirements=["C", "A"]))  # those of a message may lie at any address


def _add_two(left: Array, right: Array) -> Array:
    return _added(np.stack((left, right)))
