"""crossent against the memory of the machine and against other libraries. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
import records
import report
import startup
import tables
from ceilings import NoCompiler, library
from cells import CELLS, GROUPS
from peers import ENTRIES, key

import crossent as xe

HERE = Path(__file__).resolve().parent
RESULT = HERE.parent / "build" / "bench.json"
SLOW_TO_COMPILE = "torch.compile"  # left out of --quick: its compilations take minutes


def parse() -> argparse.Namespace:
    names = [cell.name for cell in CELLS] + list(startup.NAMES)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", help="comma-separated; default: all but wheel and build. " + ", ".join(names))
    parser.add_argument("--threads", help="comma-separated thread counts; default: 1 and all, with --quick all")
    parser.add_argument("--rounds", type=int, help="measured rounds per cell; default: 9, with --quick 3")
    parser.add_argument("--quick", action="store_true", help="a minute for a first look: less data, no torch.compile")
    parser.add_argument("--peers", help="comma-separated names or their beginnings, or none; default: all. "
                        + ", ".join(key(entry.name) for entry in ENTRIES))  # fmt: skip
    parser.add_argument("--isa", choices=["avx2"], help="hold crossent and its peers to these instructions")
    parser.add_argument("--json", type=Path, help="where to write all that was measured; default: build/bench.json")
    parser.add_argument("--markdown", type=Path, help="also write the times of all libraries to this file")
    parser.add_argument("--picture", type=Path, help="also draw them into this SVG file; needs matplotlib")
    parser.add_argument("--from", dest="earlier", type=Path, nargs="+", help="measure nothing: join these JSON files")
    options = parser.parse_args()

    chosen = options.cells.split(",") if options.cells else [name for name in names if name not in startup.BUILDS]
    options.cells = [name for group in chosen for name in GROUPS.get(group, [group])]
    if unknown := set(options.cells) - set(names):
        parser.error(f"unknown cells: {', '.join(sorted(unknown))}")
    most = xe.get_num_threads()
    everyday = [most] if options.quick else sorted({1, most})
    options.threads = [int(n) for n in options.threads.split(",")] if options.threads else everyday
    if not all(1 <= n <= most for n in options.threads):
        parser.error(f"--threads must be between 1 and {most}, what crossent would use here")
    if options.rounds is None:
        options.rounds = 3 if options.quick else 9
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if not options.earlier and any(cell.ceiling for cell in CELLS if cell.name in options.cells):
        try:
            library()  # the workers compile their own
        except NoCompiler as error:
            parser.error(str(error))
    options.budget = 0.2 if options.quick else 5.0
    options.peers = select_peers(parser, options)
    return options


def select_peers(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    if options.peers is None:
        return [e.name for e in ENTRIES if not (options.quick and e.name.startswith(SLOW_TO_COMPILE))]
    asked = [] if options.peers == "none" else options.peers.split(",")
    for name in asked:
        if not any(key(entry.name).startswith(name) for entry in ENTRIES):
            parser.error(f"unknown peer: {name}")
    return [entry.name for entry in ENTRIES if any(key(entry.name).startswith(name) for name in asked)]


def only_avx2() -> dict[str, str]:
    """What tells the libraries to leave AVX-512 alone; peers_c.py reads the first of them."""
    from numpy._core._multiarray_umath import __cpu_dispatch__  # type: ignore[attr-defined]

    return {
        "CROSSENT_ISA": "avx2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "NUMBA_CPU_NAME": "haswell",
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_cpu_max_isa=AVX2",
        "NPY_DISABLE_CPU_FEATURES": " ".join(f for f in __cpu_dispatch__ if f.startswith(("AVX512", "X86_V4"))),
    }


def run_worker(threads: int, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What a process that has `threads` processors measures: first what it says about itself, then the cells."""
    settings = {name: getattr(options, name) for name in ("cells", "rounds", "quick", "budget", "peers")}
    settings["accuracy"] = threads == options.threads[0]  # it is the same for all
    command = [sys.executable, str(HERE / "worker.py"), json.dumps({"threads": threads, **settings})]
    # Libraries that look here take no more threads than they are given processors.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **(only_avx2() if options.isa else {})}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode != 0:
        print(f"bench.py: the process with {threads} threads ended with {process.returncode}", file=sys.stderr)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {
        "processor": machine.processor(),
        "platform": platform.platform(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "rounds": options.rounds,
        "quick": options.quick,
        "runs": [],
        "cells": [],
    }
    start = time.perf_counter()
    for threads in options.threads if set(options.cells) - set(startup.NAMES) else ():
        lines = run_worker(threads, options)
        if (about := next(lines, None)) is None:
            continue
        result["runs"].append(about)
        describe(about, result)
        for cell in lines:
            result["cells"].append(cell)
            print(report.line(cell), flush=True)
    for cell in startup.measure(options.cells, options.quick):
        result["cells"].append(cell)
        print(report.line(cell), flush=True)
    result["seconds"] = round(time.perf_counter() - start, 1)
    return result


def describe(about: dict[str, Any], result: dict[str, Any]) -> None:
    config = about["crossent"]
    if len(result["runs"]) == 1:
        print(f"{result['processor']}, last-level cache {about['last_level_cache'] >> 20} MiB; {config['isa']}, "
              f"{config['compiler']}; medians of {result['rounds']} rounds; bars of {about['bars']}")  # fmt: skip
        print(", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    print(report.HEADER)


def main() -> None:
    options = parse()
    if options.earlier:
        result = records.join(options.earlier)
        print(report.HEADER, *map(report.line, result["cells"]), sep="\n")
    else:
        result = measure(options)
    for note in report.notes(result["cells"]):
        print(note)
    path = options.json or (None if options.earlier else RESULT)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(records.dumps(result))
    if options.markdown:
        options.markdown.write_text(tables.markdown(result))
    if options.picture:
        import figures

        figures.draw(result, options.picture)


if __name__ == "__main__":
    main()
