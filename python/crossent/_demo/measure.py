"""Timing against the memory ceilings of the machine, interleaved round by round; bench/bench.py uses it too."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import crossent as xe

from .. import _ceilings


@dataclass(frozen=True)
class Buffers:
    """One set of arrays a cell works on; `output` has the shape and dtype of `logits` and is scratch."""

    logits: np.ndarray
    target: np.ndarray
    output: np.ndarray


@dataclass(frozen=True)
class Task:
    """Something to time: `run` returns its seconds, `bytes` is what it has to move."""

    name: str
    bytes: int
    run: Callable[[Buffers], float]


def seconds(function: Callable[..., Any], *args: Any, **kwargs: Any) -> float:
    start = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - start


def forward(b: Buffers) -> float:
    return seconds(xe.cross_entropy, b.logits, b.target)


def gradient(b: Buffers) -> float:
    return seconds(xe.cross_entropy, b.logits, b.target, return_grad=True, grad_out=b.output)


def in_place(b: Buffers) -> float:
    np.copyto(b.output, b.logits)  # not timed: a gradient of a gradient would have other values
    return seconds(xe.cross_entropy, b.output, b.target, return_grad=True, grad_out=b.output)


def ceiling_tasks(kind: str, logits: np.ndarray, threads: int) -> list[Task]:
    """The candidates for the ceiling `kind`: "read", "copy" (logits to output) or "update" (of the output)."""

    def one_pass(kernel: str) -> Callable[[Buffers], float]:
        if kind == "copy":
            return lambda b: _ceilings.copy(b.logits, b.output, threads, kernel)
        if kind == "update":
            return lambda b: _ceilings.update(b.output, threads, kernel)
        return lambda b: _ceilings.read(b.logits, threads, kernel)

    moved = logits.nbytes if kind == "read" else 2 * logits.nbytes
    tasks = [Task(f"{kind}/{kernel}", moved, one_pass(kernel)) for kernel in _ceilings.kernels[kind]]
    if kind == "read":
        tasks.append(Task("read/numpy", moved, lambda b: seconds(np.add.reduce, b.logits, axis=None)))
    if kind == "copy":
        tasks.append(Task("copy/numpy", moved, lambda b: seconds(np.copyto, b.output, b.logits)))
    return tasks


def interleave(
    tasks: Sequence[Task], sets: Sequence[Buffers], rounds: int, advance: Callable[[], object] = lambda: None
) -> dict[str, np.ndarray]:
    """Run every task once per round, each time on the next set of buffers; return the bytes/s of each round.

    One more round goes first and is not counted: it starts the threads and touches the pages.
    """
    turn = itertools.cycle(sets)
    rates: dict[str, list[float]] = {task.name: [] for task in tasks}
    for _ in range(rounds + 1):
        for task in tasks:
            rates[task.name].append(task.bytes / task.run(next(turn)))
            advance()
    return {name: np.array(values[1:]) for name, values in rates.items()}


def ceiling(rates: dict[str, np.ndarray], kind: str) -> str:
    """The name of the fastest candidate for the ceiling `kind`: the one with the highest median."""
    return max((name for name in rates if name.startswith(kind + "/")), key=lambda name: float(np.median(rates[name])))


def random_logits(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """N(0, 3) from a fixed seed."""
    logits = np.random.default_rng(0).standard_normal(shape, dtype=np.dtype(dtype).type)
    logits *= 3
    return logits


def free_memory() -> int:
    """Bytes that can be used without swapping; 1 GiB where the system does not say."""
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 1 << 30


def last_level_cache() -> int:
    """Bytes of the largest cache, or 32 MiB where the system does not say."""
    sizes = [path.read_text() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((int(size.strip().removesuffix("K")) * 1024 for size in sizes), default=32 << 20)
