"""The loss at the vocabulary of a language model, against what the memory of the machine allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import crossent as xe

from .measure import (
    Buffers,
    Task,
    ceiling,
    ceiling_tasks,
    forward,
    free_memory,
    gradient,
    in_place,
    interleave,
    random_logits,
)

VOCABULARY = 128_256
ROUNDS = 5
CEILINGS = {"loss": "read", "loss and gradient": "copy", "gradient in place": "update"}


@dataclass(frozen=True)
class Measurement:
    operation: str
    threads: int
    rate: float  # bytes/s, median of the rounds
    ceiling_rate: float
    share: float  # median of the ratios of the rounds


@dataclass(frozen=True)
class Result:
    rows: int
    measurements: list[Measurement]


def thread_counts() -> list[int]:
    return sorted({1, xe.get_num_threads()})


def rows() -> int:
    """1024 rows (two buffers of 525 MB) where there are 4 GB to spare, else a quarter of them."""
    return 1024 if free_memory() >= 4e9 else 256


def tasks(logits: np.ndarray, target: np.ndarray, threads: int) -> list[Task]:
    """Everything that is timed together: the three operations and the candidates for their ceilings."""
    read = logits.nbytes + target.nbytes
    return [
        Task("loss", read, forward),
        Task("loss and gradient", read + logits.nbytes, gradient),
        Task("gradient in place", read + logits.nbytes, in_place),
        *(task for kind in CEILINGS.values() for task in ceiling_tasks(kind, logits, threads)),
    ]


def summarise(rates: dict[str, np.ndarray], threads: int) -> list[Measurement]:
    measurements = []
    for operation, kind in CEILINGS.items():
        best = ceiling(rates, kind)
        share = float(np.median(rates[operation] / rates[best]))
        medians = float(np.median(rates[operation])), float(np.median(rates[best]))
        measurements.append(Measurement(operation, threads, *medians, share))
    return measurements


def run(set_total: Callable[[int], object], advance: Callable[[], object]) -> Result:
    n = rows()
    logits = random_logits((n, VOCABULARY))
    target = np.random.default_rng(1).integers(VOCABULARY, size=n)
    buffers = Buffers(logits, target, np.empty_like(logits))
    plan = {threads: tasks(logits, target, threads) for threads in thread_counts()}
    set_total(sum(map(len, plan.values())) * (ROUNDS + 1))
    measurements = []
    for threads, timed in plan.items():
        with xe.num_threads(threads):
            measurements += summarise(interleave(timed, [buffers], ROUNDS, advance), threads)
    return Result(n, measurements)
