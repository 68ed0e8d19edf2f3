"""What it costs to have the classes of rows on several ranks: python bench/shards.py [--quick]. See README.md."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine

if __name__ == "__main__":  # before anything is imported that starts threads
    PROCESSORS = os.sched_getaffinity(0)
    machine.pin(1)

from records import dumps
from shards_local import CALL, RANKS, measure

import crossent as xe

RESULT = Path(__file__).resolve().parent.parent / "build" / "shards.json"
WORKER = Path(__file__).with_name("shards_worker.py")
SHAPES = ((512, 32_768), (512, 131_072), (4096, 131_072))
QUICK = ((128, 32_768), (128, 131_072))
COLUMNS = ("state", "to bytes", "from bytes", "merge", "loss", "gradient", CALL)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds: a minute")
    parser.add_argument("--rounds", type=int, help="default: 15, with --quick 5")
    parser.add_argument("--processes", type=int, default=2, help="of MPI, on one machine; default: 2, and 0 for none")
    parser.add_argument("--json", type=Path, default=RESULT, help="where to write it; default: build/shards.json")
    options = parser.parse_args()
    if options.rounds is None:
        options.rounds = 5 if options.quick else 15
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.processes and not 2 <= options.processes <= len(PROCESSORS):
        parser.error(f"--processes is {options.processes}: expected 0, or 2 to {len(PROCESSORS)}, the processors here")
    if options.processes and not importlib.util.find_spec("mpi4py"):
        parser.error("mpi4py is not installed: pip install mpi4py mpich, or give --processes 0")
    return options


# ---- One rank of several ---------------------------------------------------------------------------------------------


def local(shape: tuple[int, int], rounds: int) -> list[dict[str, Any]]:
    others = machine.Others()
    with xe.num_threads(1):
        steps = measure(*shape, RANKS, rounds)
    rows, classes = shape
    one = next(step["seconds"] for step in steps if step["step"] == "one process")
    print(f"\n{rows} rows, {classes:,} classes, one rank on one thread: microseconds a row. "
          f"One process with all classes: {1e6 * one / rows:.2f}. "
          f"Other programs: {others.processors()} processors")  # fmt: skip
    print(f"{'ranks':>5}" + "".join(f"{name:>12}" for name in COLUMNS) + f"{'bytes a row':>12}")
    for size in RANKS:
        of = {step["step"]: step for step in steps if step["ranks"] == size}
        times = "".join(f"{1e6 * of[name]['seconds'] / rows:>12.3f}" for name in COLUMNS)
        print(f"{size:>5}{times}{of[CALL]['bytes'] / rows:>12.1f}")
    return steps


def ratio(times: list[float], others: list[float]) -> float:
    """The median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(times, others, strict=True))


# ---- Several processes -----------------------------------------------------------------------------------------------


def processes(count: int, shapes: tuple[tuple[int, int], ...], rounds: int) -> dict[str, Any]:
    """By the mpiexec of this Python's environment: of MPICH the one that needs no network, where it is there."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    mpiexec = shutil.which("mpiexec.gforker", path=places) or shutil.which("mpiexec", path=places)
    if mpiexec is None:
        raise SystemExit("mpiexec was not found: expected that of mpi4py's MPI beside this Python or in PATH")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        options = json.dumps({"shapes": shapes, "rounds": rounds})
        command = [mpiexec, "-n", str(count), sys.executable, "-m", "mpi4py", str(WORKER), options, str(result)]
        subprocess.run(command, check=True, preexec_fn=lambda: os.sched_setaffinity(0, PROCESSORS))
        measured: dict[str, Any] = json.loads(result.read_text())
    return measured


def report(shape: dict[str, Any]) -> None:
    rows, count, tasks = shape["rows"], shape["processes"], shape["tasks"]
    threads = [next(tasks[name]["seconds"] for name in tasks if f", {n} thread" in name) for n in (1, count)]
    print(f"\n{rows} rows, {shape['classes']:,} classes, {count} processes on one thread each, beside one process")
    heads = ("us a row", "/ 1 thread", f"/ {count} threads", "sending", "waiting", "collectives", "bytes a row")
    print(f"{'':<24}" + "".join(f"{head:>14}" for head in heads))
    for name, taken in tasks.items():
        times = taken["seconds"]
        line = f"{name:<24}{1e6 * statistics.median(times) / rows:>14.3f}"
        line += "".join(f"{ratio(times, other):>14.3f}" for other in threads)
        if "bytes" in taken:
            line += "".join(f"{ratio(taken[part], times):>14.1%}" for part in ("sending", "waiting"))
            line += f"{taken['collectives'][0]:>14.0f}{taken['bytes'][0] / rows:>14.1f}"
        print(line)


def main() -> None:
    options = parse()
    shapes = QUICK if options.quick else SHAPES
    config, load = xe.config(), [os.getloadavg()]
    print(f"crossent {config['version']}, {config['isa']}, {config['compiler']}; {machine.processor()}; "
          f"medians of {options.rounds} rounds; load {load[0][0]:.2f}")  # fmt: skip
    steps = [step for shape in shapes for step in local(shape, options.rounds)]
    whole = {"processor": machine.processor(), "crossent": config, "rounds": options.rounds, "steps": steps}
    if options.processes:
        measured = processes(options.processes, shapes, options.rounds)
        for shape in measured["shapes"]:
            report(shape)
        whole |= {"mpi": measured["mpi"], "processes": measured["shapes"]}
    load.append(os.getloadavg())
    print(f"\nload {load[0][0]:.2f} before, {load[1][0]:.2f} after")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(dumps(whole | {"load": load}))


if __name__ == "__main__":
    main()
