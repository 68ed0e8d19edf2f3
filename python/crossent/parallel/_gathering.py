"""The collectives by which the states of all shards become known to all ranks."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from ._communicator import exchange
from ._messages import pack, unpack
from ._row_states import RowStates, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def gather_states(comm: Communicator, make: Callable[[], tuple[Any, Sequence[RowStates]]]) -> list[RowStates]:
    """The states of all classes.

    `make`: what must be the same on all ranks, as JSON has it, and the states of the shard of this one.
    """

    def message() -> tuple[Any, bytes]:
        options, own = make()
        parts = [s.to_bytes() for s in own]
        return [options, [len(part) for part in parts]], b"".join(parts)

    messages = _gathered(comm, "the states of the shards", message)
    gathered, expected = [], messages[0][0][0]
    for rank, ((options, lengths), data) in enumerate(messages):
        if options != expected:
            raise ValueError(f"rank {rank} has the options {options}: expected {expected}, as rank 0")
        ends = list(accumulate(lengths, initial=0))
        gathered.append([RowStates.from_bytes(data[begin:end]) for begin, end in pairwise(ends)])
    merged = [merge(*states) for states in zip(*gathered, strict=True)]
    for states in merged:
        states.refuse_missing()
    return merged


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
