"""Two builds of crossent, cell by cell: the time of the new one as a multiple of that of the old one. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from cells import CELLS, GROUPS

HERE = Path(__file__).resolve().parent
NOTEWORTHY = 0.02  # from how far on a ratio is marked, where all processes agree on its side
HEADER = (
    f"{'cell':<13}{'T':>3}{'old ms':>11}{'new ms':>11}{'new/old':>9}{'of the processes':>19}{'of minima':>11}"
    f"{'pairs':>7}"
)


def parse() -> argparse.Namespace:
    names = [cell.name for cell in CELLS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path, help="site-packages, or another folder that has the package crossent in it")
    parser.add_argument("new", type=Path, help="the same of the build that is compared with it")
    parser.add_argument("--cells", help="comma-separated; default: all. " + ", ".join(names))
    parser.add_argument("--threads", default="1", help="comma-separated thread counts; default: 1")
    parser.add_argument("--processes", type=int, default=3, help="how many measure each cell; default: 3")
    parser.add_argument("--seconds", type=float, help="of a cell in a process; default: 1.5, with --quick 0.3")
    parser.add_argument("--quick", action="store_true", help="16 MiB of logits for 128, and less time")
    parser.add_argument("--json", type=Path, help="also write the ratio and the times of every process to this file")
    options = parser.parse_args()

    chosen = options.cells.split(",") if options.cells else names
    options.cells = [name for group in chosen for name in GROUPS.get(group, [group])]
    if unknown := set(options.cells) - set(names):
        parser.error(f"unknown cells: {', '.join(sorted(unknown))}")
    for folder in (options.old, options.new):
        if not (folder / "crossent" / "__init__.py").is_file():
            parser.error(f"there is no crossent in {folder}")
    options.threads = [int(n) for n in options.threads.split(",")]
    if not all(1 <= n <= len(os.sched_getaffinity(0)) for n in options.threads):
        parser.error("--threads must be between 1 and the number of processors")
    if options.processes < 1:
        parser.error("--processes must be at least 1")
    if options.seconds is None:
        options.seconds = 0.3 if options.quick else 1.5
    return options


def run_worker(threads: int, number: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The cells as one process of compare_worker.py measures them. Every other process loads the new build first."""
    settings = {
        "packages": {"xe_old": str(options.old), "xe_new": str(options.new)},
        "new_first": number % 2 == 1,
        "threads": threads,
        "cells": options.cells,
        "seconds": options.seconds,
        "quick": options.quick,
    }
    command = [sys.executable, str(HERE / "compare_worker.py"), json.dumps(settings)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"compare.py: a process with {threads} threads ended with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def mark(ratios: list[float], same_bits: bool) -> str:
    words = []
    if min(ratios) > 1 + NOTEWORTHY:
        words.append("slower")
    if max(ratios) < 1 - NOTEWORTHY:
        words.append("faster")
    return " ".join(words + ["OTHER BITS"] * (not same_bits))


def line(name: str, threads: int, measured: list[dict[str, Any]]) -> str:
    """`measured`: what each process says of this cell."""
    ratios = [m["ratio"] for m in measured]
    old, new = (min(m[key] for m in measured) for key in ("old_ms", "new_ms"))
    span = f"{min(ratios):.3f} to {max(ratios):.3f}"
    of_minima = statistics.median(m["new_ms"] / m["old_ms"] for m in measured)
    pairs = sum(m["pairs"] for m in measured)
    return (
        f"{name:<13}{threads:>3}{old:>11.4f}{new:>11.4f}{statistics.median(ratios):>9.3f}{span:>19}{of_minima:>11.3f}"
        f"{pairs:>7}  {mark(ratios, all(m['same_bits'] for m in measured))}"
    ).rstrip()


def main() -> None:
    options = parse()
    print(HEADER)
    results = []
    for threads in options.threads:
        cells: dict[str, list[dict[str, Any]]] = {}
        for number in range(options.processes):
            for measured in run_worker(threads, number, options):
                cells.setdefault(measured["name"], []).append(measured)
        for name, processes in cells.items():
            print(line(name, threads, processes), flush=True)
            results.append({"name": name, "threads": threads, "processes": processes})
        middle = statistics.geometric_mean(statistics.median(m["ratio"] for m in each) for each in cells.values())
        print(f"geometric mean of {len(cells)} cells: {middle:.3f}\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
