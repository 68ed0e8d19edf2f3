"""The cost per element of the cross-entropy as shape, layout and number of threads change. See README.md.

Within a group all have about the same number of elements (not in `rows`), so that flat means: the same time each.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import numpy as np
from arrays import aligned_empty, random_logits
from records import dumps

import crossent as xe

RESULT = Path(__file__).resolve().parent.parent / "build" / "scaling.json"
FLAT = 0.10  # how far from the median of its group a cost may be
AT_LEAST = 0.005  # seconds that are timed together; shorter calls are repeated
CLASSES = (8, 15, 16, 17, 31, 33, 63, 65, 127, 129, 255, 1000, 1023, 1024, 1025, 4096, 32_000, 128_256)
OPERATIONS = ("value", "gradient")


@dataclass(frozen=True)
class Point:
    label: str
    logits: np.ndarray
    target: np.ndarray
    output: np.ndarray
    threads: int

    def call(self, operation: str) -> None:
        if operation == "value":
            xe.cross_entropy(self.logits, self.target)
        else:
            xe.cross_entropy(self.logits, self.target, return_grad=True, grad_out=self.output)


class Memory:
    """Two long arrays, which the points of all groups are views of: nothing is allocated while something is timed."""

    def __init__(self, size: int) -> None:
        self.logits = random_logits((size,))
        self.output = aligned_empty((size,), np.float32)
        self.output.fill(0)

    def point(self, label: str, shape: tuple[int, ...], threads: int, dtype: Any = "float32", skip: int = 0) -> Point:
        """`skip`: how many bytes after the start of a cache line the arrays begin."""
        size = math.prod(shape) * np.dtype(dtype).itemsize

        def view(array: np.ndarray) -> np.ndarray:
            return array.view(np.uint8)[skip : skip + size].view(dtype).reshape(shape)

        logits = view(self.logits)
        if skip or dtype != "float32":  # other views overlap it: these numbers are in memory of their own
            own = Memory.__new__(Memory)
            own.logits, own.output = aligned_empty((size // 4 + 16,), np.float32), self.output
            logits = view(own.logits)
            logits[...] = random_logits(shape, dtype)
        target = np.random.default_rng(1).integers(shape[1], size=shape[:1] + shape[2:])
        return Point(label, logits, target, view(self.output), threads)


def rows(memory: Memory, total: int, threads: int) -> list[Point]:
    """(N, 10), from what fits the caches to what does not."""
    sizes = [n for n in (1_000, 10_000, 100_000, 1_000_000, 10_000_000) if 10 * n <= memory.logits.size]
    return [memory.point(f"{n:.0e}", (n, 10), threads) for n in sizes]


def classes(memory: Memory, total: int, threads: int) -> list[Point]:
    return [memory.point(str(c), (max(1, total // c), c), threads) for c in CLASSES]


def inner(memory: Memory, total: int, threads: int) -> list[Point]:
    """(N, 21, inner): positions that are contiguous, and few."""
    sizes = (*range(1, 18), 20, 24, 28, 31, 32, 33)
    return [memory.point(str(n), (total // (21 * n), 21, n), threads) for n in sizes]


def starts(memory: Memory, total: int, threads: int) -> list[Point]:
    shape = (total // 2 // 1000, 1000)
    return [memory.point(f"{dtype} +{skip}", shape, threads, dtype, skip)
            for dtype, skips in (("float32", (0, 4)), ("float64", (0, 4, 8)), ("float16", (0, 2, 4)))
            for skip in skips]  # fmt: skip


def strides(memory: Memory, total: int, threads: int) -> list[Point]:
    """(N, 64, inner) with classes a power of two apart, where the cache sets may run out, and nearly that."""
    near = [n + d for n in (256, 512, 1024, 2048, 4096) for d in (0, 16)]
    return [memory.point(str(n), (total // (64 * n), 64, n), threads) for n in near]


def thread_counts() -> list[int]:
    most = xe.get_num_threads()
    return sorted({most, *(2**k for k in range(most.bit_length()) if 2**k <= most)})


def few(memory: Memory, total: int, threads: int) -> list[Point]:
    """Fewer rows than threads, all of which have to find work."""
    most = max(thread_counts())
    return [memory.point(str(n), (n, 1_000_000), most) for n in (1, 2, 3, 8)]


def threads(memory: Memory, total: int, threads: int) -> list[Point]:
    return [memory.point(str(n), (total // 1000, 1000), n) for n in thread_counts()]


Group = Callable[[Memory, int, int], list[Point]]
GROUPS: dict[str, Group] = {f.__name__: f for f in (rows, classes, inner, starts, strides, few, threads)}


def seconds(point: Point, operation: str) -> float:
    """Of one call, the mean over as many as fill AT_LEAST seconds."""
    with xe.num_threads(point.threads):
        calls, elapsed = 0, 0.0
        start = time.perf_counter()
        while elapsed < AT_LEAST:
            point.call(operation)
            calls += 1
            elapsed = time.perf_counter() - start
    return elapsed / calls


def measure(name: str, points: list[Point], rounds: int) -> list[dict[str, Any]]:
    """Nanoseconds of a processor per element, and how much that is of the median of the group."""
    others = machine.Others()
    times: dict[tuple[str, str], list[float]] = {(p.label, o): [] for p in points for o in OPERATIONS}
    for _ in range(rounds + 1):
        for p in points:
            for operation in OPERATIONS:
                cost = 1e9 * seconds(p, operation) / p.logits.size
                times[p.label, operation].append(cost * (p.threads if name == "threads" else 1))
    disturbed = others.processors()
    results = []
    for operation in OPERATIONS:
        medians = {p.label: float(np.median(times[p.label, operation][1:])) for p in points}
        for p in points:
            results.append({
                "group": name, "operation": operation, "label": p.label, "shape": p.logits.shape, "threads": p.threads,
                "ns_per_element": medians[p.label], "relative": medians[p.label] / baseline(name, p, medians),
                "rounds_ns": times[p.label, operation][1:], "others": disturbed,
            })  # fmt: skip
    return results


def baseline(name: str, point: Point, medians: dict[str, float]) -> float:
    """Of the group; with different dtypes, of those of the same; with different threads, of one thread."""
    if name == "threads":
        return next(iter(medians.values()))
    dtype = point.label.split(" ")[0] if name == "starts" else ""
    return float(np.median([value for label, value in medians.items() if label.startswith(dtype)]))


def mark(result: dict[str, Any]) -> str:
    if abs(result["relative"] - 1) <= FLAT:
        return ""
    return "slower" if result["relative"] > 1 else "faster"


def draw(results: list[dict[str, Any]], path: Path) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(r["group"] for r in results))
    figure = Figure(figsize=(10, 2.3 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), 1, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=True):
        axes.axhspan(1 - FLAT, 1 + FLAT, color="#e8e8e8")
        for operation, colour in zip(OPERATIONS, ("#1f5fa8", "#c0392b"), strict=True):
            own = [r for r in results if (r["group"], r["operation"]) == (name, operation)]
            axes.plot([r["label"] for r in own], [r["relative"] for r in own], "o-", color=colour, label=operation)
        axes.set_ylim(bottom=0)
        axes.set_title(f"{name}: {TITLES[name]}", fontsize=9, loc="left")
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0, 0].legend(fontsize=8, frameon=False)
    figure.suptitle(f"Time per element, relative to the median; grey: within {FLAT:.0%}", fontsize=10)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "crossent"}):  # same figures, same file
        figure.savefig(path, metadata={"Date": None})


TITLES = {
    "rows": "number of rows of 10 classes",
    "classes": "number of classes",
    "inner": "contiguous positions of (N, 21, inner)",
    "starts": "bytes after the start of a cache line",
    "strides": "distance of the 64 classes, in elements",
    "few": "rows of a million classes, all threads",
    "threads": "threads; time of all of them together, relative to one",
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", help="comma-separated; default: " + ",".join(GROUPS))
    parser.add_argument("--threads", type=int, default=1, help="for the groups that do not vary them; default: 1")
    parser.add_argument("--rounds", type=int, help="default: 7, with --quick 3")
    parser.add_argument("--quick", action="store_true", help="less data: 1e6 rows at most")
    parser.add_argument(
        "--json", type=Path, default=RESULT, help="where to write all that was measured; default: build"
    )
    parser.add_argument("--picture", type=Path, help="also draw it into this SVG file; needs matplotlib")
    options = parser.parse_args()
    options.groups = options.groups.split(",") if options.groups else list(GROUPS)
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"unknown groups: {', '.join(sorted(unknown))}")
    if options.rounds is None:
        options.rounds = 3 if options.quick else 7
    return options


def main() -> None:
    options = parse()
    cache = machine.last_level_cache()
    total = max(1 << 22, cache // 4) if options.quick else max(1 << 24, cache // 2)
    config = xe.config()
    print(f"crossent {config['version']}, {config['isa']}, {config['compiler']}; {machine.processor()}; "
          f"medians of {options.rounds} rounds")  # fmt: skip
    memory = Memory(max(total, 10_000_000 if options.quick else 100_000_000))
    results = []
    for name in options.groups:
        measured = measure(name, GROUPS[name](memory, total, options.threads), options.rounds)
        print(f"\n{name}: {TITLES[name]}{'':4}(other programs: {measured[0]['others']} processors)")
        print(f"{'':<14}" + "".join(f"{operation + ' ns':>14}{'relative':>10}{'':>8}" for operation in OPERATIONS))
        half = len(measured) // 2
        for pair in zip(measured[:half], measured[half:], strict=True):
            costs = (f"{r['ns_per_element']:>14.4f}{r['relative']:>10.2f}{mark(r):>8}" for r in pair)
            print(f"{pair[0]['label']:<14}" + "".join(costs), flush=True)
        results += measured
    options.json.parent.mkdir(parents=True, exist_ok=True)
    whole = {"processor": machine.processor(), "crossent": config, "rounds": options.rounds, "points": results}
    options.json.write_text(dumps(whole))
    if options.picture:
        draw(results, options.picture)


if __name__ == "__main__":
    main()
