"""Tasks that take turns round by round: only times of the same round are compared."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from arrays import Buffers

LEAST = 3  # rounds that every task takes part in, however slow it is


@dataclass(frozen=True)
class Task:
    """Something to time: `run` returns its seconds, `bytes` is what it has to move."""

    name: str
    bytes: int
    run: Callable[[Buffers], float]


def seconds(function: Callable[..., Any], *args: Any, **kwargs: Any) -> float:
    start = time.perf_counter()
    result = function(*args, **kwargs)
    elapsed = time.perf_counter() - start
    del result  # here: to free a large array takes time of its own
    return elapsed


def interleave(
    groups: Sequence[Sequence[Task]],
    sets: Sequence[Buffers],
    rounds: int,
    *,
    at_once: int = 1,
    pause: float = 0.0,
    budget: float = float("inf"),
) -> dict[str, np.ndarray]:
    """Run every task once per round, on the next `at_once` sets of buffers; return the bytes/s of each round.

    The tasks of a group run one after another, whatever the machine does meanwhile: these are compared most closely.
    The order of the groups, and of the tasks in each, changes from round to round. One more round goes first and is not
    counted: it starts the threads and touches the pages. A task that has taken more than its `budget` of seconds sits
    out from then on, so its array is shorter; in the first rounds, `LEAST` of them, all take part.

    With a `pause`, in seconds, one goes before each group: the idle threads of another library spin for a while. Short
    tasks are then run for about as long without being counted: threads that were asleep start late.
    """
    order = [list(group) for group in groups]
    shuffle = random.Random(0).shuffle
    turn = itertools.cycle(sets)
    rates: dict[str, list[float]] = {task.name: [] for group in groups for task in group}
    spent = dict.fromkeys(rates, 0.0)
    last = dict.fromkeys(rates, float("inf"))

    def timed(task: Task) -> float:
        return sum(task.run(next(turn)) for _ in range(at_once))

    def sits_out(task: Task, number: int) -> bool:
        return number > LEAST and spent[task.name] > budget

    for number in range(rounds + 1):
        for group in order:
            playing = [task for task in group if not sits_out(task, number)]
            if playing:
                time.sleep(pause)
            for task in playing:
                warm = time.perf_counter() + pause
                while last[task.name] < 5 * pause and time.perf_counter() < warm:
                    timed(task)
                last[task.name] = elapsed = timed(task)
                spent[task.name] += elapsed
                rates[task.name].append(task.bytes * at_once / elapsed)
            shuffle(group)
        shuffle(order)
    return {name: np.array(values[1:]) for name, values in rates.items()}


def ratios(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, round by round, as far as both go."""
    both = min(len(a), len(b))
    ratio: np.ndarray = a[:both] / b[:both]
    return ratio
