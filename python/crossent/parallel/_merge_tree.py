"""The binary tree over blocks of 1,024 classes, or rows, along which one process adds what they come to.

A range of n blocks is split at the largest power of two below n, and both parts likewise. So the blocks from a multiple
of 2^k on, 2^k of them, are always merged by themselves first, and whoever has them may do it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BLOCK = 1024

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
