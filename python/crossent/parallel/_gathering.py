"""The collectives by which the states of all shards become known to all ranks."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ._communicator import exchange
from ._merge_tree import Node, root
from ._messages import pack, unpack
from ._row_states import RowStates, count_of_numbers, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._types import Array
    from ._communicator import Communicator


def gather_places(
    comm: Communicator, count: Callable[[], int], start: int | None, n_classes: int | None
) -> tuple[int, int]:
    """The first class of this rank and the number of all, where both are not given: those of the ranks follow.

    `count`: of the classes of this rank.
    """
    if start is not None and n_classes is not None:
        return start, n_classes
    messages = _gathered(comm, "the numbers of classes", lambda: ([start, count()], b""))
    counts = [classes for (_, classes), _ in messages]
    starts = [first for (first, _), _ in messages]
    if any(first is None for first in starts):
        if any(first is not None for first in starts):
            raise ValueError(f"start is {starts} on the ranks: expected it on all of them or on none")
        starts = [sum(counts[:rank]) for rank in range(len(counts))]
    total = max(first + classes for first, classes in zip(starts, counts, strict=True))
    return starts[comm.rank] if start is None else start, total if n_classes is None else n_classes


def gather_states(
    comm: Communicator, make: Callable[[], tuple[Any, Sequence[RowStates]]], exact: bool
) -> list[RowStates]:
    """The states of all classes: of one all-gather, or of one of a few bytes and two all-reduces.

    `make`: what must be the same on all ranks, as JSON has it, and the states of the shard of this one.
    """
    own: Sequence[RowStates]

    def message() -> tuple[Any, bytes]:
        nonlocal own
        options, own = make()
        sent = own if exact else [s.without_numbers() for s in own]
        parts = [s.to_bytes() for s in sent]
        return [options, exact, [len(part) for part in parts]], b"".join(parts)

    gathered, expected = [], None
    for rank, ((*found, lengths), data) in enumerate(_gathered(comm, "the states of the shards", message)):
        expected = expected or found
        if found != expected:
            raise ValueError(f"rank {rank} has the options {found[0]}: expected {expected[0]}, as rank 0")
        ends = list(accumulate(lengths, initial=0))
        gathered.append([RowStates.from_bytes(data[begin:end]) for begin, end in pairwise(ends)])
    merged = [merge(*states) for states in zip(*gathered, strict=True)]
    for states in merged:
        states.refuse_missing()
    return merged if exact else _all_reduced(comm, own)


def gather_sums(comm: Communicator, make: Callable[[], bytes]) -> list[memoryview]:
    return [data for _, data in _gathered(comm, "sums", lambda: (None, make()))]


def _gathered(comm: Communicator, step: str, make: Callable[[], tuple[Any, bytes]]) -> list[tuple[Any, memoryview]]:
    """What `make` returns on all ranks. That they are in the same step is seen by all of them, so that none waits."""

    def message() -> bytes:
        about, data = make()
        return pack([step, about], data)

    received = []
    for rank, whole in enumerate(exchange(comm, message)):
        (other, about), data = unpack(whole)
        if other != step:
            raise ValueError(f"rank {rank} gathers {other} where this one gathers {step}: expected the same arguments "
                             "(start, n_classes) on all ranks or on none")
        received.append((about, data))
    return received


def _all_reduced(comm: Communicator, own: Sequence[RowStates]) -> list[RowStates]:
    """The maximum of all classes first. Counted from that, the numbers of the shards can be added."""
    shards = [_Reduction(states) for states in own]
    largest = comm.allreduce(np.concatenate([s.max for s in shards]), "max")
    numbers = [s.counted_from(m) for s, m in zip(shards, np.split(largest, len(shards)), strict=True)]
    sums = comm.allreduce(np.concatenate(numbers), "sum")
    ends = np.cumsum([len(x) for x in numbers])[:-1]
    return [s.reduced(x) for s, x in zip(shards, np.split(sums, ends), strict=True)]


class _Reduction:
    def __init__(self, states: RowStates) -> None:
        self.states = states
        extended, smoothed, probabilities = states.rows.format
        self.at_argmax = (6 if extended else 4) if smoothed or probabilities else None
        self.shape = count_of_numbers(states.rows.format), states.rows.count
        nodes = list(states.nodes)
        self.numbers = root(nodes, states.merge_two) if nodes else self._of_no_class(-np.inf)
        self.max = self.numbers[0]

    def _of_no_class(self, largest: Array | float) -> Array:
        numbers = np.zeros(self.shape)
        numbers[0] = largest
        return numbers

    def counted_from(self, largest: Array) -> Array:
        """All that is added, in one array."""
        self.max = largest
        moved = self.states.merge_two(self.numbers, self._of_no_class(largest))
        has_max = (moved[1] > 0).astype(np.float64)  # the number of classes that have it, here
        if self.at_argmax is not None:
            moved[self.at_argmax] *= has_max
        target_logits = self.states.target_logits
        if target_logits is None:
            target_logits = np.zeros(self.shape[1])
        return np.concatenate((*moved[1:], has_max, target_logits))

    def reduced(self, sums: Array) -> RowStates:
        rows = self.states.rows
        added = sums.reshape(-1, self.shape[1])
        numbers = np.concatenate((self.max[None], added[: self.shape[0] - 1]))
        if self.at_argmax is not None:
            # Where two shards have the maximum, its class has at most half of the probability and is as any other.
            numbers[self.at_argmax][added[-2] != 1] = -1
        target_logits = None if self.states.target_logits is None else added[-1]
        return RowStates(rows, 0, rows.n_classes, False, (Node(0, 1, numbers),), target_logits)
