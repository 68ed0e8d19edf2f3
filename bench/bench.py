"""What crossent makes of the machine: each cell against the memory ceiling of the same run. See README.md."""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import crossent as xe
from crossent._demo.measure import (
    Buffers,
    Task,
    ceiling,
    ceiling_tasks,
    forward,
    free_memory,
    gradient,
    in_place,
    interleave,
    last_level_cache,
    random_logits,
    seconds,
)

# The arithmetic cap, in GB/s per thread: where the memory is faster, the exponentials are the limit.
CAPS = {("float32", "read"): 20.0, ("float32", "copy"): 26.0, ("float32", "update"): 26.0}


@dataclass(frozen=True)
class Cell:
    name: str
    what: str  # one of OPERATIONS
    shape: tuple[int, ...]
    ceiling: str  # "read", "copy" or "update"
    bar: float  # the share of the (capped) ceiling to reach
    dtype: str = "float32"


LM, MID, TINY, SEG = (1024, 128_256), (65_536, 1000), (1_000_000, 10), (8, 21, 512, 512)

CELLS = [
    Cell("fwd-lm", "forward", LM, "read", 0.85),
    Cell("fwd-mid", "forward", MID, "read", 0.80),
    Cell("fwd-tiny", "forward", TINY, "read", 0.60),
    Cell("fwd-seg", "forward", SEG, "read", 0.75),
    Cell("grad-lm", "gradient", LM, "copy", 0.75),
    Cell("grad-mid", "gradient", MID, "copy", 0.70),
    Cell("grad-tiny", "gradient", TINY, "copy", 0.55),
    Cell("grad-seg", "gradient", SEG, "copy", 0.65),
    Cell("grad-inplace", "in place", LM, "update", 0.70),
    Cell("lsm", "log_softmax", (2048, 32_000), "copy", 0.80),
]


def log_softmax(b: Buffers) -> float:
    return seconds(xe.log_softmax, b.logits, out=b.output)


OPERATIONS: dict[str, Callable[[Buffers], float]] = {
    "forward": forward, "gradient": gradient, "in place": in_place, "log_softmax": log_softmax
}  # fmt: skip


def bytes_moved(cell: Cell, b: Buffers) -> int:
    """Logits, targets and outputs, once each."""
    target = 0 if cell.what == "log_softmax" else b.target.nbytes
    output = 0 if cell.what == "forward" else b.output.nbytes
    return b.logits.nbytes + target + output


def affordable(size: int) -> int:
    """How many arrays of `size` bytes fit, with room to spare."""
    return int(0.6 * free_memory() / size)


def make_sets(cell: Cell, quick: bool) -> list[Buffers]:
    """As many sets of equal arrays as it takes to be well beyond the last-level cache, where memory allows."""
    rows = cell.shape[0] // 4 if quick else cell.shape[0]
    row_bytes = math.prod(cell.shape[1:]) * np.dtype(cell.dtype).itemsize
    rows = max(1, min(rows, affordable(2 * row_bytes)))
    logits = random_logits((rows, *cell.shape[1:]), cell.dtype)
    target = np.random.default_rng(1).integers(cell.shape[1], size=(rows, *cell.shape[2:]))
    wanted = math.ceil(1.5 * last_level_cache() / logits.nbytes)
    copies = [logits.copy() for _ in range(min(wanted - 1, affordable(2 * logits.nbytes)))]
    # Outputs are written once here: the page faults of fresh memory are not what is measured.
    output = np.empty_like if cell.what == "forward" else np.copy
    return [Buffers(x, target.copy(), output(x)) for x in [logits, *copies]]


def measure(cell: Cell, sets: list[Buffers], threads: int, rounds: int) -> dict[str, object]:
    task = Task("crossent", bytes_moved(cell, sets[0]), OPERATIONS[cell.what])
    with xe.num_threads(threads):
        rates = interleave([task, *ceiling_tasks(cell.ceiling, sets[0].logits, threads)], sets, rounds)
    best = ceiling(rates, cell.ceiling)
    capped = np.minimum(rates[best], CAPS[cell.dtype, cell.ceiling] * 1e9 * threads)
    share_capped = float(np.median(rates["crossent"] / capped))
    return {
        **asdict(cell),
        "shape": sets[0].logits.shape,  # smaller than the cell's where --quick or the memory asks for it
        "sets": len(sets),
        "threads": threads,
        "gb_per_s": float(np.median(rates["crossent"])) / 1e9,
        "ceiling_gb_per_s": float(np.median(rates[best])) / 1e9,
        "ceiling_kernel": best,
        "share": float(np.median(rates["crossent"] / rates[best])),
        "share_capped": share_capped,
        "reached": share_capped >= cell.bar,
        "rates_gb_per_s": {name: [round(float(r) / 1e9, 3) for r in values] for name, values in rates.items()},
    }


HEADER = (
    f"{'cell':<13}{'threads':>7}{'GB/s':>8}  {'ceiling':<18}{'GB/s':>6}{'share':>8}{'capped':>8}{'bar':>6}  verdict"
)


def line(r: dict[str, object]) -> str:
    return (
        f"{r['name']:<13}{r['threads']:>7}{r['gb_per_s']:>8.1f}  {r['ceiling_kernel']:<18}"
        f"{r['ceiling_gb_per_s']:>6.1f}{r['share']:>8.2f}{r['share_capped']:>8.2f}{r['bar']:>6.2f}  "
        f"{'reached' if r['reached'] else 'falls short'}"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", help="comma-separated names; default: all of " + ",".join(c.name for c in CELLS))
    parser.add_argument("--threads", help="comma-separated thread counts; default: 1 and all")
    parser.add_argument("--rounds", type=int, help="measured rounds per cell; default: 9, with --quick 3")
    parser.add_argument("--quick", action="store_true", help="a quarter of the rows and few rounds: a first look")
    parser.add_argument("--json", type=Path, help="also write everything measured to this file")
    options = parser.parse_args()

    names = options.cells.split(",") if options.cells else [cell.name for cell in CELLS]
    known = {cell.name: cell for cell in CELLS}
    if unknown := set(names) - set(known):
        parser.error(f"unknown cells: {', '.join(sorted(unknown))}")
    options.cells = [known[name] for name in names]

    most = xe.get_num_threads()
    options.threads = [int(n) for n in options.threads.split(",")] if options.threads else sorted({1, most})
    if not all(1 <= n <= most for n in options.threads):
        parser.error(f"--threads must be between 1 and {most}, what crossent would use here")
    if options.rounds is None:
        options.rounds = 3 if options.quick else 9
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def main() -> None:
    options = parse()
    config = xe.config()
    print(f"crossent {config['version']}, {config['isa']}, {config['compiler']}, NumPy {np.__version__}")
    print(f"{platform.platform()}, last-level cache {last_level_cache() >> 20} MiB; medians of {options.rounds} rounds")
    print(HEADER)
    results = []
    for cell in options.cells:
        sets = make_sets(cell, options.quick)
        for threads in options.threads:
            results.append(measure(cell, sets, threads, options.rounds))
            print(line(results[-1]), flush=True)
        del sets  # before the next cell's are made
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        report = {"config": config, "platform": platform.platform(), "numpy": np.__version__, "cells": results}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
