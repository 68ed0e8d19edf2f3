"""crossent beside another library or busy programs, over fresh processes. See README.md."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from contention_worker import LIBRARIES, SHAPES
from report import DISTURBED

Times = dict[str, float]  # of one call in one process, in seconds
WORKER = Path(__file__).resolve().parent / "contention_worker.py"
HEADER = (
    f"{'beside':<14}{'call':<15}{'shape':>13}{'asleep ms':>11}{'at once ms':>12}{'median':>9}{'worst':>8}"
    f"{'longest call ms':>17}{'processes':>11}{'to crossent':>13}"
)


def parse() -> argparse.Namespace:
    libraries = [name for name in (*LIBRARIES, "xgboost") if name != "none"]
    cells = ["none", "busy", *libraries, *(f"{name}+busy" for name in LIBRARIES if name != "none")]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", help="comma-separated; default: all. " + ", ".join(cells))
    parser.add_argument("--processes", type=int, default=10, help="of each cell; default: 10")
    parser.add_argument("--json", type=Path, help="also write the times of every process to this file")
    options = parser.parse_args()
    options.cells = options.cells.split(",") if options.cells else cells
    if unknown := set(options.cells) - set(cells):
        parser.error(f"unknown cells: {', '.join(sorted(unknown))}")
    return options


def run_worker(cell: str, number: int) -> list[dict[str, Times]]:
    """One process. Every other one imports crossent before the library."""
    library, _, busy = ("none", "", "busy") if cell == "busy" else cell.partition("+")
    programs = len(os.sched_getaffinity(0)) if busy else 0
    command = [sys.executable, str(WORKER), library, str(programs), "first" if number % 2 else "last"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"contention.py: a process beside {cell} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def row(cell: str, call: str, shape: tuple[int, int], processes: Sequence[dict[str, Times]]) -> str:
    """Of the processes that other programs left alone, where there are any."""
    quiet = [p for p in processes if "busy" in cell or (p[call]["others"] or 0) <= DISTURBED]
    counted = [p[call] for p in quiet or processes]
    to_crossent = statistics.median(p[call]["at once"] / p["crossent"]["at once"] for p in quiet or processes)
    ratios = [t["at once"] / t["asleep"] for t in counted]
    asleep, at_once = (statistics.median(t[name] for t in counted) * 1e3 for name in ("asleep", "at once"))
    return (
        f"{cell:<14}{call:<15}{shape!s:>13}{asleep:>11.3f}{at_once:>12.3f}{statistics.median(ratios):>9.2f}"
        f"{max(ratios):>8.2f}{max(t['longest'] for t in counted) * 1e3:>17.2f}"
        f"{f'{len(quiet)}/{len(processes)}':>11}{to_crossent:>13.2f}"
    )


def main() -> None:
    options = parse()
    print(HEADER)
    results = {}
    for cell in options.cells:
        library = cell.partition("+")[0]
        if library not in ("none", "busy") and importlib.util.find_spec(library) is None:
            print(f"{cell:<14}not installed")
            continue
        results[cell] = [run_worker(cell, number) for number in range(options.processes)]
        for shape, processes in zip(SHAPES, zip(*results[cell], strict=True), strict=True):
            for call in processes[0]:
                print(row(cell, call, shape, processes), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
