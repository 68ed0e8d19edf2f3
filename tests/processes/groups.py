"""What only processes do: groups of some of them, and ends that are not orderly."""

import os
import signal
import sys
import time

import pytest
from parallel.collectives import CHECKS

from crossent.parallel._communicator import communicator


def checks(comm):
    """This rank and its process."""
    for check in CHECKS:
        print(check.__name__)
        check(comm)
    return communicator(comm).rank, os.getpid()


def some_ranks(comm):
    """The collectives among ranks 1 and 2 of three."""
    rank = communicator(comm).rank
    some, none, refused = _split_mpi(comm) if "mpi4py.MPI" in sys.modules else _split_torch(comm)
    if rank:
        assert communicator(some).rank == rank - 1
        assert communicator(some).size == 2
        checks(some)
    else:
        with pytest.raises(refused):
            communicator(none)


def _split_mpi(comm):
    from mpi4py import MPI

    group = comm.Split(0 if comm.Get_rank() else MPI.UNDEFINED)
    return group, group, ValueError


def _split_torch(comm):
    from torch import distributed

    group = distributed.new_group([1, 2])
    return group, group, TypeError


def two_sides(comm):
    """An intercommunicator, which has no ranks in common order."""
    rank = comm.Get_rank()
    between = comm.Split(rank % 2).Create_intercomm(0, comm, 1 - rank % 2)
    with pytest.raises(ValueError, match=r"^comm is an intercommunicator: expected an intracommunicator$"):
        communicator(between)


def one_does_not_come(comm, file):
    if communicator(comm).rank == 1:
        file.write_text(f"{os.getpid()}")
        print("sleeping")
        time.sleep(600)
    communicator(comm).allgather(b"")


def one_fails_outside(comm):
    if communicator(comm).rank == 1:
        raise ValueError("told to nobody")
    communicator(comm).allgather(b"")


def one_is_killed(comm):
    if communicator(comm).rank == 1:
        print("about to be killed")
        os.kill(os.getpid(), signal.SIGKILL)
    communicator(comm).allgather(b"")
