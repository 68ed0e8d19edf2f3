"""Communicators of NumPy arrays, what is no communicator, and errors that are told to every rank."""

import numpy as np
import pytest
from parallel.collectives import CHECKS
from parallel.threads import LeftAloneError, on_threads, outcomes
from support import run_python

from crossent.parallel._communicator import communicator


@pytest.mark.parametrize("size", (1, 2, 3, 5))
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_threads(check, size):
    on_threads(size, check)


@pytest.mark.parametrize("comm", (None, 3, "world", [0, 1], object(), np.add))
def test_no_communicator(comm):
    with pytest.raises(TypeError, match=r"^comm is .*: expected an mpi4py communicator, a torch.distributed process"):
        communicator(comm)


def test_no_library_is_imported():
    run_python("""
import sys
from crossent.parallel._communicator import communicator
try:
    communicator(object())
except TypeError:
    pass
assert not {"mpi4py", "torch"} & sys.modules.keys()
""")


class Alone:
    """One rank, which returns what it is told to."""

    def __init__(self, gathered=None, **attributes):
        self.gathered = gathered
        vars(self).update(attributes)

    def allgather(self, array):
        return [array] if self.gathered is None else self.gathered


@pytest.mark.parametrize("name", ("rank", "size"))
def test_rank_and_size_are_asked_for_where_they_are_used(name):
    comm = communicator(Alone())
    assert comm.allgather(b"message") == [b"message"]
    with pytest.raises(TypeError, match=f"^comm has no attribute {name}: expected an integer$"):
        getattr(comm, name)
    with pytest.raises(TypeError, match=rf"^comm.{name} is 0.5: expected an integer$"):
        getattr(communicator(Alone(**{name: 0.5})), name)
    number = getattr(communicator(Alone(**{name: np.int64(7)})), name)
    assert type(number) is int
    assert number == 7


@pytest.mark.parametrize("gathered, dtype", (([np.zeros(3)], "float64"), ([b"message"], r"\|S7"), ([None], "object")))
def test_allgather_of_another_dtype(gathered, dtype):
    with pytest.raises(TypeError, match=rf"^comm.allgather returned dtype {dtype} for rank 0: expected uint8$"):
        communicator(Alone(gathered)).allgather(b"message")


def test_threads_that_would_hang():
    def end(comm):
        return comm.rank and comm.allgather(np.zeros(1))

    first, second = outcomes(2, end)
    assert first == 0
    assert isinstance(second, LeftAloneError)
    assert str(second) == "rank 1 is in allgather, rank 0 has ended"


def test_threads_count_what_they_send():
    def work(comm):
        communicator(comm).allgather(b"x" * comm.rank)
        return comm.sent

    assert on_threads(3, work) == [[("allgather", rank)] for rank in range(3)]
