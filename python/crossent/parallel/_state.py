"""Partial results of some classes or rows: values that are merged along a fixed tree, and sent as bytes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from .. import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Self

    from .._types import Array


# ---- The merge tree over blocks of 1,024 classes or rows -------------------------------------------------------------

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


# ---- Sums along the tree ---------------------------------------------------------------------------------------------


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
        """The part of a message that is not `nodes`."""
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


def _added(sums: Array) -> Array:
    """The sums of adjacent nodes, (nodes, columns, 2)."""
    return _core.merge_sums(np.require(sums, requirements=["C", "A"]))  # those of a message may lie at any address


def _add_two(left: Array, right: Array) -> Array:
    return _added(np.stack((left, right)))


# ---- Messages --------------------------------------------------------------------------------------------------------

_LENGTH = 4  # bytes that hold how long the facts are
# Errors of a damaged message, whose facts are missing, of another type, too large or nested too deeply.
_DAMAGED = (ValueError, TypeError, KeyError, OverflowError, RecursionError)


def pack(about: Any, *parts: bytes | Array) -> bytes:
    """`parts`: arrays are sent as they are, in C order; their dtype is for the receiver to know."""
    facts = json.dumps(about).encode()
    sent = (part if isinstance(part, bytes) else part.tobytes() for part in parts)
    return b"".join((len(facts).to_bytes(_LENGTH, "little"), facts, *sent))


def unpack(data: bytes | memoryview) -> tuple[Any, memoryview]:
    """The facts, and the rest without a copy; one of `_DAMAGED` if there are no facts."""
    view = memoryview(data)
    begin = _LENGTH + int.from_bytes(view[:_LENGTH], "little")
    return json.loads(bytes(view[_LENGTH:begin])), view[begin:]


class Received:
    """The arrays of a message, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self._rest = data

    def array(self, *shape: int, kind: str = "f8") -> Array:
        size = 8 * math.prod(shape)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return np.frombuffer(taken, f"<{kind}").astype(kind).reshape(shape)

    def finish(self) -> None:
        if self._rest:
            raise ValueError


class State:
    """A partial result of the classes or rows from `start` to `stop`. It can be pickled."""

    if TYPE_CHECKING:

        @property
        def start(self) -> int: ...
        @property
        def stop(self) -> int: ...
        @property
        def exact(self) -> bool: ...

    def __repr__(self) -> str:
        return f"{type(self).__name__}(start={self.start}, stop={self.stop}, exact={self.exact})"

    @property
    def nbytes(self) -> int:
        """The number of bytes of the arrays, which are float64 and int64."""
        return sum(x.nbytes for x in self._parts()[1])

    def to_bytes(self) -> bytes:
        """For another process, of any version of Python and NumPy."""
        facts, arrays = self._parts()
        return pack(facts, *(x.astype(x.dtype.newbyteorder("<"), copy=False) for x in arrays))

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Self:
        """From the result of `to_bytes`; ValueError if it is not one."""
        try:
            facts, rest = unpack(data)
            arrays = Received(rest)
            value = cls._of_parts(facts, arrays)
            arrays.finish()
        except _DAMAGED:
            raise ValueError(f"data is not a result of {cls.__name__}.to_bytes: expected all of its bytes") from None
        return value

    @classmethod
    def _merged(cls, states: Sequence[Self]) -> Self:
        raise NotImplementedError

    def _parts(self) -> tuple[dict[str, Any], Sequence[Array]]:
        """The facts and the arrays of a message."""
        raise NotImplementedError

    @classmethod
    def _of_parts(cls, facts: Any, arrays: Received) -> Self:
        """One of `_DAMAGED` where they do not belong together."""
        raise NotImplementedError


class StateOfSums(State):
    """A state that is made of sums."""

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


S = TypeVar("S", bound=State)


def merge(*states: S) -> S:
    """The state of all classes or rows that `states` have, which are given in any order.

    Parameters
    ----------
    *states : ShardState, DivergenceState, StatisticsState or RowSums
        All of one type, of classes or rows that follow each other.

    Returns
    -------
    ShardState, DivergenceState, StatisticsState or RowSums
        From the first of the classes or rows to the last.

    Raises
    ------
    TypeError
        If `states` are something else, or of two types.
    ValueError
        If classes or rows between the first and the last are missing or in two of the states, or if the states are of
        other rows, targets, class weights, losses or options.

    References
    ----------
    docs/explanation/design/row.md, "Merging blocks".

    Examples
    --------
    >>> from crossent import parallel
    >>> shards = [parallel.ShardState.of_shard([[0.0] * 1024], None, i, n_classes=3072) for i in (0, 1024, 2048)]
    >>> parallel.merge(shards[2], shards[1])
    ShardState(start=1024, stop=3072, exact=True)
    """
    if not states:
        raise ValueError("no states were given: expected at least one")
    kind = type(states[0])
    for state in states:
        if not isinstance(state, State) or type(state) is not kind:
            raise TypeError(f"merge was given {kind.__name__} and {type(state).__name__}: expected states of one type")
    return kind._merged(states)
