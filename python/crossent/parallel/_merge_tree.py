"""The binary tree over blocks of 1,024 classes, or rows, along which one process adds what they come to.

A range of n blocks is split at the largest power of two below n, and both parts likewise. So the blocks from a multiple
of 2^k on, 2^k of them, are always merged by themselves first, and whoever has them may do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Node = TypeVar("Node")

BLOCK = 1024


def subtrees(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The largest parts of these blocks that are merged by themselves, whatever blocks there are before and after."""
    while begin < end:
        size = 1 << (end - begin).bit_length() - 1
        if begin:
            size = min(size, begin & -begin)
        yield begin, begin + size
        begin += size


def merge_siblings(
    nodes: Iterable[tuple[int, int, Node]], merge: Callable[[Node, Node], Node]
) -> list[tuple[int, int, Node]]:
    """What subtrees that follow each other, of blocks begin .. end - 1, come to as far as it is known."""
    merged: list[tuple[int, int, Node]] = []
    for node in nodes:
        merged.append(node)
        while len(merged) > 1 and _are_siblings(*merged[-2][:2], *merged[-1][:2]):
            (begin, _, left), (_, end, right) = merged[-2:]
            merged[-2:] = [(begin, end, merge(left, right))]
    return merged


def _are_siblings(begin: int, middle: int, _: int, end: int) -> bool:
    size = middle - begin
    return size == end - middle and begin % (2 * size) == 0


def merge_all(nodes: list[Node], merge: Callable[[Node, Node], Node]) -> Node:
    """The root, from the subtrees of all blocks that have no sibling: what comes after one is merged before it."""
    root = nodes[-1]
    for node in nodes[-2::-1]:
        root = merge(node, root)
    return root
