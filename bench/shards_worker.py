"""Several processes beside one: shards.py starts it by `mpiexec -n 2 python bench/shards_worker.py OPTIONS FILE`.

The options are JSON. Rank 0 writes the results into the file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import machine
from mpi4py import MPI

if __name__ == "__main__":  # before anything is imported that starts threads
    machine.pin(MPI.COMM_WORLD.Get_size())

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from records import dumps
from shards_local import Whole

import crossent as xe
from crossent import parallel

PAUSE = 1e-3  # seconds between two looks of a process that has nothing to do: MPI would keep a processor busy


class Watched(MPI.Intracomm):
    """A communicator that measures its collectives. A barrier before each tells waiting from sending."""

    def __new__(cls, comm: MPI.Intracomm) -> Watched:
        watched: Watched = super().__new__(cls, comm)
        return watched

    def __init__(self, _: MPI.Intracomm) -> None:
        self.waiting = self.sending = 0.0
        self.bytes = self.collectives = 0

    def allgather(self, message: bytes) -> Any:
        start = time.perf_counter()
        self.Barrier()
        together = time.perf_counter()
        result = super().allgather(message)
        self.waiting += together - start
        self.sending += time.perf_counter() - together
        self.bytes += len(message)
        self.collectives += 1
        return result


@contextmanager
def on_one_processor(rank: int) -> Iterator[None]:
    """This thread on one of its own, as `mpiexec --bind-to core` has it: else two processes may stay on the same."""
    all_processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(all_processors)[rank]})
    yield
    os.sched_setaffinity(0, all_processors)


class Steps:
    """Loss and gradient of the same rows: by rank 0 alone, on one or more threads, and by all ranks, on one each."""

    def __init__(self, comm: MPI.Intracomm, rows: int, classes: int) -> None:
        self.comm = comm
        self.whole = Whole.of(rows, classes)
        self.own = self.whole.own(comm.Get_rank(), comm.Get_size())

    def alone(self, threads: int) -> Any:
        with xe.num_threads(threads):
            return xe.cross_entropy(
                self.whole.logits, self.whole.target, return_grad=True, grad_out=self.whole.output)  # fmt: skip

    def together(self, comm: MPI.Intracomm) -> Any:
        with xe.num_threads(1):
            return parallel.cross_entropy(
                self.own.logits, self.whole.target, comm, start=self.own.start, n_classes=self.whole.classes,
                return_grad=True, grad_out=self.own.output)  # fmt: skip

    def time_alone(self, threads: int) -> dict[str, float]:
        """The other ranks sleep."""
        self.comm.Barrier()
        elapsed = 0.0
        if self.comm.Get_rank() == 0:
            start = time.perf_counter()
            self.alone(threads)
            elapsed = time.perf_counter() - start
        request = self.comm.Ibarrier()
        while not request.Test():
            time.sleep(PAUSE)
        return {"seconds": float(self.comm.allreduce(elapsed, MPI.MAX))}

    def time_together(self) -> dict[str, float]:
        """Until the last rank is ready; the mean over the ranks of what they spend in collectives."""
        watched = Watched(self.comm)
        with on_one_processor(self.comm.Get_rank()):
            self.comm.Barrier()
            start = time.perf_counter()
            self.together(watched)
            elapsed = time.perf_counter() - start
        numbers = {
            "waiting": watched.waiting, "sending": watched.sending, "collectives": float(watched.collectives),
            "bytes": float(watched.bytes),
        }  # fmt: skip
        means = {name: self.comm.allreduce(x, MPI.SUM) / self.comm.Get_size() for name, x in numbers.items()}
        return means | {"seconds": self.comm.allreduce(elapsed, MPI.MAX)}

    def check_bits(self) -> None:
        loss, gradient = self.together(self.comm)
        gradient = gradient.copy()  # both write into the same memory
        wanted, everywhere = self.alone(1)
        there = slice(self.own.start, self.own.start + gradient.shape[1])
        if loss != wanted or not np.array_equal(gradient, everywhere[:, there]):
            raise AssertionError("the processes do not have the bits of one")


def measure(comm: MPI.Intracomm, rows: int, classes: int, rounds: int) -> dict[str, Any]:
    """The tasks take turns, in another order in each round, the same on all ranks."""
    steps, size = Steps(comm, rows, classes), comm.Get_size()
    steps.check_bits()
    tasks = {
        "one process, 1 thread": partial(steps.time_alone, 1),
        f"one process, {size} threads": partial(steps.time_alone, size),
        f"{size} processes": partial(steps.time_together),
    }
    results: dict[str, list[dict[str, float]]] = {name: [] for name in tasks}
    order = list(tasks)
    for number in range(rounds + 1):  # the first is not counted
        random.Random(number).shuffle(order)
        for name in order:
            results[name].append(tasks[name]())
    columns = {name: {key: [one[key] for one in taken[1:]] for key in taken[0]} for name, taken in results.items()}
    return {"rows": rows, "classes": classes, "processes": size, "tasks": columns}


def main() -> None:
    options, comm = json.loads(sys.argv[1]), MPI.COMM_WORLD
    if xe.get_num_threads() < comm.Get_size():
        raise SystemExit(f"{comm.Get_size()} processes on {xe.get_num_threads()} processors: expected one for each")
    results = [measure(comm, rows, classes, options["rounds"]) for rows, classes in options["shapes"]]
    if comm.Get_rank() == 0:
        Path(sys.argv[2]).write_text(dumps({"mpi": MPI.Get_library_version().splitlines()[0], "shapes": results}))


if __name__ == "__main__":
    main()
