"""Timing against the memory ceilings of the machine, interleaved round by round; bench/ uses it too."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import crossent as xe

from .._core import ceilings

LEAST = 3  # rounds that every task takes part in, however slow it is


@dataclass(frozen=True)
class Buffers:
    """One set of arrays to work on. `target`: class indices, or a second input of the shape and dtype of `logits`.

    `output` has the shape and dtype of `logits` and is scratch.
    """

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
    result = function(*args, **kwargs)
    elapsed = time.perf_counter() - start
    del result  # here: to free a large array takes time of its own
    return elapsed


def forward(b: Buffers) -> float:
    return seconds(xe.cross_entropy, b.logits, b.target)


def gradient(b: Buffers) -> float:
    return seconds(xe.cross_entropy, b.logits, b.target, return_grad=True, grad_out=b.output)


def in_place(b: Buffers) -> float:
    np.copyto(b.output, b.logits)  # not timed: a gradient of a gradient would have other values
    return seconds(xe.cross_entropy, b.output, b.target, return_grad=True, grad_out=b.output)


def raw(array: np.ndarray) -> np.ndarray:
    """The bytes of a contiguous array: the buffer protocol has no bfloat16, and NumPy adds up no half type quickly."""
    return array.reshape(-1).view(np.uint8)


def numbers(array: np.ndarray) -> np.ndarray:
    """The same memory as float32 or float64, whatever it holds."""
    return array if array.dtype.itemsize >= 4 else array.reshape(-1).view(np.float32)


# For each kind of ceiling: what one pass of a kernel over the memory takes, the kernels, NumPy's pass, and how many
# arrays of the size of the logits are read or written.
Pass = Callable[[Buffers, int, str], float]
Ceiling = tuple[Pass, tuple[str, ...], Callable[[Buffers], float] | None, int]


def _read(array: np.ndarray, threads: int, kernel: str) -> float:
    return ceilings.read(raw(array), threads, kernel)


def _numpy_read(array: np.ndarray) -> float:
    return seconds(np.add.reduce, numbers(array), axis=None)


CEILINGS: dict[str, Ceiling] = {
    "read": (
        lambda b, threads, kernel: _read(b.logits, threads, kernel),
        ceilings.kernels["read"],
        lambda b: _numpy_read(b.logits),
        1,
    ),
    "copy": (
        lambda b, threads, kernel: ceilings.copy(raw(b.logits), raw(b.output), threads, kernel),
        ceilings.kernels["copy"],
        lambda b: seconds(np.copyto, b.output, b.logits),
        2,
    ),
    "update": (
        lambda b, threads, kernel: ceilings.update(raw(b.output), threads, kernel),
        ceilings.kernels["update"],
        None,
        2,
    ),
    "2 reads": (
        lambda b, threads, kernel: _read(b.logits, threads, kernel) + _read(b.target, threads, kernel),
        ceilings.kernels["read"],
        lambda b: _numpy_read(b.logits) + _numpy_read(b.target),
        2,
    ),
    "2 reads + 1 write": (
        lambda b, threads, kernel: ceilings.combine(raw(b.logits), raw(b.target), raw(b.output), threads, kernel),
        ceilings.kernels["combine"],
        lambda b: seconds(np.copyto, b.output, b.logits) + _numpy_read(b.target),
        3,
    ),
}


def ceiling_tasks(kind: str, logits: np.ndarray, threads: int) -> list[Task]:
    """The candidates for the ceiling `kind`, one of `CEILINGS`."""
    one_pass, kernels, numpy_pass, arrays = CEILINGS[kind]

    def with_kernel(kernel: str) -> Callable[[Buffers], float]:
        return lambda b: one_pass(b, threads, kernel)

    moved = arrays * logits.nbytes
    tasks = [Task(f"{kind}/{kernel}", moved, with_kernel(kernel)) for kernel in kernels]
    if numpy_pass is not None:
        tasks.append(Task(f"{kind}/numpy", moved, numpy_pass))
    return tasks


def interleave(
    tasks: Sequence[Task],
    sets: Sequence[Buffers],
    rounds: int,
    advance: Callable[[], object] = lambda: None,
    *,
    at_once: int = 1,
    pause: float = 0.0,
    budget: float = float("inf"),
) -> dict[str, np.ndarray]:
    """Run every task once per round, on the next `at_once` sets of buffers; return the bytes/s of each round.

    The order changes from round to round. One more round goes first and is not counted: it starts the threads and
    touches the pages. A task that has taken more than its `budget` of seconds sits out from then on, so its array is
    shorter; in the first rounds, `LEAST` of them, all take part.

    With a `pause`, in seconds, one goes before each task: the idle threads of another library spin for a while. Short
    tasks are then run for about as long without being counted: threads that were asleep start late.
    """
    order = list(tasks)
    shuffle = random.Random(0).shuffle
    turn = itertools.cycle(sets)
    rates: dict[str, list[float]] = {task.name: [] for task in tasks}
    spent = dict.fromkeys(rates, 0.0)
    last = dict.fromkeys(rates, float("inf"))

    def timed(task: Task) -> float:
        return sum(task.run(next(turn)) for _ in range(at_once))

    for number in range(rounds + 1):
        for task in order:
            if number > LEAST and spent[task.name] > budget:
                continue
            time.sleep(pause)
            warm = time.perf_counter() + pause
            while last[task.name] < 5 * pause and time.perf_counter() < warm:
                timed(task)
            last[task.name] = elapsed = timed(task)
            spent[task.name] += elapsed
            rates[task.name].append(task.bytes * at_once / elapsed)
            advance()
        shuffle(order)
    return {name: np.array(values[1:]) for name, values in rates.items()}


def ratios(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, round by round, as far as both go."""
    both = min(len(a), len(b))
    ratio: np.ndarray = a[:both] / b[:both]
    return ratio


def ceiling(rates: dict[str, np.ndarray], kind: str) -> str:
    """The name of the fastest candidate for the ceiling `kind`: the one with the highest median."""
    return max((name for name in rates if name.startswith(kind + "/")), key=lambda name: float(np.median(rates[name])))


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """At the start of a cache line: some libraries copy what is not."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    array: np.ndarray = memory[start : start + size].view(kind).reshape(shape)
    return array


def random_logits(shape: tuple[int, ...], dtype: Any = "float32", seed: int = 0) -> np.ndarray:
    """N(0, 3) from a fixed seed."""
    logits = aligned_empty(shape, dtype)
    generator = np.random.default_rng(seed)
    if logits.dtype.itemsize >= 4:
        generator.standard_normal(dtype=logits.dtype.type, out=logits)
        logits *= logits.dtype.type(3)
    else:
        flat = logits.reshape(-1)
        for at in range(0, flat.size, 1 << 20):
            part = flat[at : at + (1 << 20)]
            part[...] = 3 * generator.standard_normal(part.size, dtype="float32")
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
