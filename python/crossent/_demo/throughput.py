"""The loss at the vocabulary of a language model, beside the same formula in NumPy and a plain pass over the memory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

import crossent as xe

VOCABULARY = 128_256
ROWS, QUICK_ROWS = 512, 128
ROUNDS = 5

Call = Callable[[], object]


@dataclass(frozen=True)
class Measurement:
    """Seconds of the fastest round; NumPy has one thread, crossent and the plain pass `threads`."""

    operation: str
    threads: int
    bytes: int  # read and written: logits, targets, gradient
    seconds: float
    numpy_seconds: float
    pass_seconds: float

    @property
    def speedup(self) -> float:
        return self.numpy_seconds / self.seconds

    def rate(self, seconds: float) -> float:
        """GB/s."""
        return self.bytes / seconds / 1e9


@dataclass(frozen=True)
class Result:
    rows: int
    measurements: list[Measurement]


def numpy_loss(logits: np.ndarray, target: np.ndarray, scratch: np.ndarray) -> float:
    """What one would write by hand: mean of log(sum(exp(x - max))) + max - x[target]. exp(x - max) is in `scratch`."""
    largest = logits.max(axis=1, keepdims=True)
    np.subtract(logits, largest, out=scratch)
    np.exp(scratch, out=scratch)
    chosen = np.take_along_axis(logits, target[:, None], axis=1)
    return float((np.log(scratch.sum(axis=1, keepdims=True)) + largest - chosen).mean())


def numpy_gradient(logits: np.ndarray, target: np.ndarray, gradient: np.ndarray) -> float:
    """The loss; its gradient, (softmax - one-hot) / rows, in `gradient`."""
    loss = numpy_loss(logits, target, gradient)
    rows = len(logits)
    gradient *= 1 / (rows * gradient.sum(axis=1, keepdims=True))
    gradient[np.arange(rows), target] -= np.float32(1 / rows)
    return loss


@contextmanager
def plain_passes(logits: np.ndarray, gradient: np.ndarray, threads: int) -> Iterator[tuple[Call, Call]]:
    """Two functions: NumPy reads the logits, and copies them to the gradient, a share of the rows in each thread.

    The maximum is what NumPy reads an array fastest for: a sum is half as fast.
    """
    shares = list(zip(np.array_split(logits, threads), np.array_split(gradient, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        yield (
            lambda: list(pool.map(lambda share: share[0].max(), shares)),
            lambda: list(pool.map(lambda share: np.copyto(share[1], share[0]), shares)),
        )


def shortest(calls: list[Call], advance: Callable[[], object]) -> list[float]:
    """Seconds of each call. They take turns, in another order each round; a first round is not counted."""
    times: list[list[float]] = [[] for _ in calls]
    order = list(range(len(calls)))
    for _ in range(ROUNDS + 1):
        for which in order:
            start = time.perf_counter()
            calls[which]()
            times[which].append(time.perf_counter() - start)
            advance()
        random.shuffle(order)
    return [min(own[1:]) for own in times]


def measure(
    logits: np.ndarray, target: np.ndarray, gradient: np.ndarray, threads: int, advance: Callable[[], object]
) -> list[Measurement]:
    read = logits.nbytes + target.nbytes
    with xe.num_threads(threads), plain_passes(logits, gradient, threads) as (read_pass, copy_pass):
        seconds = shortest(
            [
                lambda: xe.cross_entropy(logits, target),
                lambda: numpy_loss(logits, target, gradient),
                read_pass,
                lambda: xe.cross_entropy(logits, target, return_grad=True, grad_out=gradient),
                lambda: numpy_gradient(logits, target, gradient),
                copy_pass,
            ],
            advance,
        )
    return [
        Measurement("loss", threads, read, *seconds[:3]),
        Measurement("loss and gradient", threads, read + gradient.nbytes, *seconds[3:]),
    ]


def run(set_total: Callable[[int], object], advance: Callable[[], object], quick: bool) -> Result:
    rows = QUICK_ROWS if quick else ROWS
    generator = np.random.default_rng(0)
    logits = 3 * generator.standard_normal((rows, VOCABULARY), dtype=np.float32)
    target = generator.integers(VOCABULARY, size=rows)
    gradient = np.zeros_like(logits)  # written once: the first touch of fresh memory is not what is measured
    counts = sorted({1, xe.get_num_threads()})
    set_total(6 * (ROUNDS + 1) * len(counts))
    return Result(rows, [m for threads in counts for m in measure(logits, target, gradient, threads, advance)])
