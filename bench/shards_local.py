"""What one rank of several does by itself, on one thread: its shard, and the messages of all others.

The other ranks are rehearsed: each makes its call before anything is timed, and their messages are kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from arrays import aligned_empty, random_logits
from rounds import seconds

from crossent import cross_entropy, parallel

RANKS = (1, 2, 4, 8, 16, 32, 64, 128)
CALL = "whole call"


class UnansweredError(Exception):
    """A rank is at a collective whose other messages are not known."""


@dataclass
class Rehearsed:
    """The communicator of a rank, with the answers of its first collectives. At the next one it stops."""

    rank: int
    size: int
    answers: list[Any]
    done: int = 0

    def allgather(self, message: np.ndarray) -> Any:
        if self.done == len(self.answers):
            raise UnansweredError(message)
        self.done += 1
        return self.answers[self.done - 1]


def next_message(call: Callable[[Any], Any], comm: Rehearsed) -> np.ndarray | None:
    """What the rank sends at the collective at which it stops; None if it is through."""
    try:
        call(comm)
    except UnansweredError as stop:
        message: np.ndarray = stop.args[0]
        return message
    return None


def rehearse(call: Callable[[Any], Any], size: int) -> tuple[list[Any], int]:
    """The answers to all collectives of `call(comm)` on `size` ranks, and the bytes that all ranks send in them."""
    answers: list[Any] = []
    sent = 0
    while (first := next_message(call, Rehearsed(0, size, answers))) is not None:
        others = (next_message(call, Rehearsed(rank, size, answers)) for rank in range(1, size))
        messages = [first, *(other for other in others if other is not None)]
        sent += sum(message.nbytes for message in messages)
        answers.append(messages)
    return answers, sent


class Own(NamedTuple):
    logits: np.ndarray
    output: np.ndarray  # for the gradient
    start: int


@dataclass(frozen=True)
class Whole:
    """The rows with all classes."""

    logits: np.ndarray
    target: np.ndarray
    output: np.ndarray

    @classmethod
    def of(cls, rows: int, classes: int) -> Whole:
        output = aligned_empty((rows, classes), np.float32)
        output.fill(0)
        target = np.random.default_rng(1).integers(classes, size=rows)
        return cls(random_logits((rows, classes)), target, output)

    @property
    def classes(self) -> int:
        return int(self.logits.shape[1])

    def shard(self, rank: int, size: int) -> tuple[np.ndarray, int]:
        """A view of the logits of a rank, and the first of its classes."""
        start, stop = parallel.shard_range(self.classes, rank, size)
        return self.logits[:, start:stop], start

    def own(self, rank: int, size: int) -> Own:
        """The shard of a rank in arrays as a process would have: both begin at a cache line."""
        view, start = self.shard(rank, size)
        logits = view
        if not view.flags.c_contiguous:
            logits = aligned_empty(view.shape, view.dtype)
            logits[...] = view
        return Own(logits, self.output.reshape(-1)[: view.size].reshape(view.shape), start)


Step = Callable[[], Any]


def steps(whole: Whole, own: Own, size: int) -> dict[str, Step]:
    """What rank 0 of `size` does without a communicator."""
    (x, out, start), y = own, whole.target

    def state(rank: int) -> parallel.ShardState:
        part, first = whole.shard(rank, size)
        return parallel.ShardState.of_shard(part, y, first, n_classes=whole.classes)

    states = [state(rank) for rank in range(size)]
    messages = [s.to_bytes() for s in states]
    merged = parallel.merge(*states)
    return {
        "state": partial(parallel.ShardState.of_shard, x, y, start, n_classes=whole.classes),
        "to bytes": states[0].to_bytes,
        "from bytes": lambda: [parallel.ShardState.from_bytes(message) for message in messages],
        "merge": partial(parallel.merge, *states),
        "loss": partial(merged.loss, y),
        "gradient": partial(merged.gradient, x, y, start, out=out),
    }


def collective_call(whole: Whole, own: Own, size: int) -> tuple[Step, int]:
    """The call of rank 0, loss and gradient, and the bytes that all ranks send."""
    x, out, start = own
    n_classes = whole.classes

    def loss(comm: Rehearsed) -> Any:
        part, first = whole.shard(comm.rank, size)
        return parallel.cross_entropy(part, whole.target, comm, start=first, n_classes=n_classes)

    answers, sent = rehearse(loss, size)

    def step() -> Any:
        comm = Rehearsed(0, size, answers)
        return parallel.cross_entropy(
            x, whole.target, comm, start=start, n_classes=n_classes, return_grad=True, grad_out=out)  # fmt: skip

    return step, sent


def measure(rows: int, classes: int, sizes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Seconds of each step for each number of ranks. All take turns, in another order in each round."""
    whole = Whole.of(rows, classes)
    one = partial(cross_entropy, whole.logits, whole.target, return_grad=True, grad_out=whole.output)
    loss, wanted = cross_entropy(whole.logits, whole.target, return_grad=True)
    tasks: dict[tuple[int, str], Step] = {(1, "one process"): one}
    sent: dict[tuple[int, str], int] = {}
    for size in sizes:
        own = whole.own(0, size)
        tasks |= {(size, name): step for name, step in steps(whole, own, size).items()}
        tasks[size, CALL], sent[size, CALL] = collective_call(whole, own, size)
        value, gradient = tasks[size, CALL]()
        if value != loss or not np.array_equal(gradient, wanted[:, : gradient.shape[1]]):
            raise AssertionError(f"{size} ranks do not have the bits of one process")
    del wanted
    times: dict[tuple[int, str], list[float]] = {key: [] for key in tasks}
    order = list(tasks)
    for _ in range(rounds + 1):  # the first is not counted
        random.Random(len(times[order[0]])).shuffle(order)
        for key in order:
            times[key].append(seconds(tasks[key]))
    return [
        {"rows": rows, "classes": classes, "ranks": size, "step": name, "bytes": sent.get((size, name)),
         "seconds": float(np.median(taken[1:])), "rounds": taken[1:]}
        for (size, name), taken in times.items()
    ]  # fmt: skip
