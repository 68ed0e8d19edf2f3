"""Communicators of mpi4py, torch.distributed or NumPy arrays behind one interface, and the collectives on them.

Neither mpi4py nor PyTorch is imported here: whoever passes one of their communicators has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from traceback import TracebackException
from typing import Any, Protocol

import numpy as np

from .. import _numbers
from ._state import S, merge, pack, unpack

_EXPECTED = "an mpi4py communicator, a torch.distributed process group, or an object with allgather(array)"


class Communicator(Protocol):
    """What the collective functions use."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def allgather(self, message: bytes) -> list[bytes]:
        """The messages of all ranks, in the order of the ranks; their lengths may differ."""


def communicator(comm: Any) -> Communicator:
    """`comm` as a `Communicator`.

    An object of neither library has `allgather(array)`, which returns a sequence of the uint8 arrays of all ranks, of
    different lengths, in the order of the ranks; and integers `rank` and `size`.
    """
    mpi, distributed = sys.modules.get("mpi4py.MPI"), sys.modules.get("torch.distributed")
    if mpi is not None and isinstance(comm, mpi.Comm):
        return _MPI(comm, mpi)
    if distributed is not None and distributed.is_available() and isinstance(comm, distributed.ProcessGroup):
        return _Torch(comm, distributed)
    if callable(getattr(comm, "allgather", None)):
        return _Arrays(comm)
    raise TypeError(f"comm is {comm!r}: expected {_EXPECTED}")


class _MPI:
    """A communicator of mpi4py."""

    def __init__(self, comm: Any, mpi: Any) -> None:
        if not comm:
            raise ValueError("comm is MPI.COMM_NULL: expected a communicator that this process belongs to")
        if comm.Is_inter():
            raise ValueError("comm is an intercommunicator: expected an intracommunicator")
        self.rank: int = comm.Get_rank()
        self.size: int = comm.Get_size()
        self._comm, self._mpi = comm, mpi

    def allgather(self, message: bytes) -> list[bytes]:
        gathered: list[bytes] = self._comm.allgather(message)
        return gathered


class _Torch:
    """A process group of torch.distributed whose backend takes tensors in main memory, as gloo does."""

    def __init__(self, group: Any, distributed: Any) -> None:
        self.rank: int = group.rank()
        self.size: int = group.size()
        self._group, self._distributed = group, distributed

    def allgather(self, message: bytes) -> list[bytes]:
        gathered = [b""] * self.size
        self._distributed.all_gather_object(gathered, message, group=self._group)
        return gathered


class _Arrays:
    """An object of the caller's, which takes and returns NumPy arrays."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm

    @property
    def rank(self) -> int:
        return self._integer("rank")

    @property
    def size(self) -> int:
        return self._integer("size")

    def _integer(self, name: str) -> int:
        if not hasattr(self._comm, name):
            raise TypeError(f"comm has no attribute {name}: expected an integer")
        return _numbers.whole_number(f"comm.{name}", getattr(self._comm, name))

    def allgather(self, message: bytes) -> list[bytes]:
        gathered = [np.asarray(part) for part in self._comm.allgather(np.frombuffer(message, np.uint8))]
        for rank, part in enumerate(gathered):
            if part.dtype != np.uint8:
                raise TypeError(f"comm.allgather returned dtype {part.dtype} for rank {rank}: expected uint8")
        return [part.tobytes() for part in gathered]


# ---- Errors ----------------------------------------------------------------------------------------------------------

_RESULT, _ERROR = b"+", b"-"

# What one rank raises, the others raise, if it can be made of a text alone. A subclass becomes what it is a kind of.
_ERRORS = {
    error.__name__: error
    for error in (
        np.exceptions.AxisError,
        IndexError,
        MemoryError,
        NotImplementedError,
        OSError,
        OverflowError,
        TypeError,
        ValueError,
    )
}


def exchange(comm: Communicator, make: Callable[[], bytes]) -> list[memoryview]:
    """What `make` returns on each rank, in the order of the ranks, by one all-gather; or an error on all of them.

    A rank on which `make` raises raises that; all others raise an error of the same class, or RuntimeError if the class
    is not a usual one, with the text of the lowest of the ranks that failed: "rank 3: target has shape ...".

    Ctrl-C and `sys.exit` in `make` are no exception: that rank takes part in the all-gather before it ends, as the
    others would otherwise wait for it there, or take its next collective for this one. An interrupt outside of `make`
    is not told to the others.
    """
    try:
        message = _RESULT + make()
    except BaseException as error:
        comm.allgather(_ERROR + _described(error))
        raise
    messages = comm.allgather(message)
    for rank, message in enumerate(messages):
        if message.startswith(_ERROR):
            name, _, text = message.removeprefix(_ERROR).decode().partition("\n")
            raise _ERRORS.get(name, RuntimeError)(f"rank {rank}: {text}")
    return [memoryview(message)[len(_RESULT) :] for message in messages]


def _described(error: BaseException) -> bytes:
    """The name of a class of errors and, on the lines after it, a text."""
    kind = type(error)
    text = str(TracebackException.from_exception(error, limit=0))  # for any error: its own str may raise
    known = next((base.__name__ for base in kind.__mro__ if base in _ERRORS.values()), "")
    if not known or not text:
        text = f"{kind.__name__}: {text}" if text else kind.__name__
    return f"{known}\n{text}".encode(errors="backslashreplace")


# ---- What is gathered ------------------------------------------------------------------------------------------------


def gather_places(
    comm: Communicator, count: Callable[[], int], start: int | None, n_classes: int | None
) -> tuple[int, int]:
    """The first class of this rank, and the number of all classes; found by an all-gather unless both are given.

    `count`: returns the number of classes of this rank.
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


def gather_states(comm: Communicator, kind: type[S], make: Callable[[], tuple[Any, Sequence[S]]]) -> list[S]:
    """The states of this kind that `make` returns, merged over all ranks.

    `make` also returns, for JSON, what must be the same on all ranks.
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
        gathered.append([kind.from_bytes(data[begin:end]) for begin, end in pairwise(ends)])
    return [merge(*states) for states in zip(*gathered, strict=True)]


def gather_state(comm: Communicator, kind: type[S], make: Callable[[], S]) -> S:
    """The state that `make` returns, merged over all ranks."""
    messages = _gathered(comm, "sums", lambda: (None, make().to_bytes()))
    return merge(*(kind.from_bytes(data) for _, data in messages))


def _gathered(comm: Communicator, step: str, make: Callable[[], tuple[Any, bytes]]) -> list[tuple[Any, memoryview]]:
    """What `make` returns on all ranks. All of them see when one is in another step, so that none waits for it."""

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
