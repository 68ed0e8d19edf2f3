"""What every kind of communicator does: functions that each rank runs, with a communicator of its own."""

import numpy as np
import pytest

from crossent.parallel._communicator import communicator, exchange


class Recorded:
    """Any communicator as one of arrays; `sent` is the name and the number of bytes of each collective."""

    def __init__(self, comm):
        self._comm = communicator(comm)
        self.rank, self.size, self.sent = self._comm.rank, self._comm.size, []

    def allgather(self, array):
        self.sent.append(("allgather", array.nbytes))
        return [np.frombuffer(message, np.uint8) for message in self._comm.allgather(array.tobytes())]


def messages_of_any_length(comm):
    comm = communicator(comm)
    for message in (
        lambda rank: bytes(range(256)) * rank,  # rank 0 has none
        lambda rank: b"",
        lambda rank: b"",
        lambda rank: bytes([rank]) * (1 << 20) if rank == comm.size - 1 else b"",
    ):
        assert comm.allgather(message(comm.rank)) == [message(rank) for rank in range(comm.size)]


# ---- exchange --------------------------------------------------------------------------------------------------------


class RefusedError(ValueError):
    pass


class UnknownError(Exception):
    pass


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def errors():
    """What one rank raises, and the class and the text of what the others raise."""
    return (
        (ValueError("target has shape (3,): expected (4,)"), ValueError, "target has shape (3,): expected (4,)"),
        (TypeError("two\nlines"), TypeError, "two\nlines"),
        (IndexError(""), IndexError, "IndexError"),
        (OverflowError("Grüße"), OverflowError, "Grüße"),
        (MemoryError(), MemoryError, "MemoryError"),
        (np.exceptions.AxisError(2, 1), np.exceptions.AxisError, "axis 2 is out of bounds for array of dimension 1"),
        (FileNotFoundError(2, "No such file", "logits.npy"), OSError, "[Errno 2] No such file: 'logits.npy'"),
        (RefusedError("sample_weight is nan"), ValueError, "sample_weight is nan"),
        (UnknownError("what"), RuntimeError, "UnknownError: what"),
        (UnknownError("\udcff"), RuntimeError, "UnknownError: \\udcff"),
        (UnprintableError(), RuntimeError, "UnprintableError: <exception str() failed>"),
        (KeyboardInterrupt(), RuntimeError, "KeyboardInterrupt"),
        (SystemExit(3), RuntimeError, "SystemExit: 3"),
    )


def results_of_all_ranks(comm):
    comm = Recorded(comm)
    for make in (lambda rank: b"-+" * rank, lambda rank: b"-", lambda rank: b""):
        results = exchange(communicator(comm), lambda make=make: make(comm.rank))
        assert results == [make(rank) for rank in range(comm.size)]
    assert [name for name, _ in comm.sent] == ["allgather"] * 3
    assert sum(size for _, size in comm.sent) == 2 * comm.rank + 4


def _exchange_error(comm, failing, error, kind, text):
    """`error` on the ranks that are `failing`."""

    def make():
        if comm.rank in failing:
            raise error
        return b"fine"

    wanted = type(error) if comm.rank in failing else kind
    with pytest.raises(wanted) as raised:
        exchange(communicator(comm), make)
    if comm.rank in failing:
        assert raised.value is error
    else:
        assert raised.type is kind
        assert str(raised.value) == f"rank {min(failing)}: {text}"


def errors_of_every_class(comm):
    for error in errors():
        recorded = Recorded(comm)
        _exchange_error(recorded, {recorded.size - 1}, *error)
        assert [name for name, _ in recorded.sent] == ["allgather"]
    results_of_all_ranks(comm)


def errors_on_any_ranks(comm):
    recorded = Recorded(comm)
    rank, ranks = recorded.rank, range(recorded.size)
    for failing in ({0}, {ranks[-1]}, {0, ranks[-1]}, {len(ranks) // 2}, {*ranks}, {*ranks[1:]} or {0}):
        # Each rank that fails has an error of its own; the others raise that of the lowest.
        text = f"weight is nan on rank {rank if rank in failing else min(failing)}"
        _exchange_error(recorded, failing, ValueError(text), ValueError, text)
        results_of_all_ranks(comm)  # all are in step
    assert [name for name, _ in recorded.sent] == ["allgather"] * 6


def a_result_of_another_type(comm):
    with pytest.raises(TypeError, match=r"bytes"):
        exchange(communicator(comm), lambda: None)


CHECKS = (
    messages_of_any_length,
    results_of_all_ranks,
    errors_of_every_class,
    errors_on_any_ranks,
    a_result_of_another_type,
)
