"""Measures two builds of crossent in one process, call by call in turns on the same arrays. compare.py starts it.

It writes one JSON object per cell.
"""

from __future__ import annotations

import json
import sys

import machine

if __name__ == "__main__":  # before anything is imported that starts threads
    OPTIONS = json.loads(sys.argv[1])
    machine.pin(OPTIONS["threads"])

import contextlib
import importlib
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import peers
from cells import CELLS, QUICK_BYTES, Cell, make_buffers, shared_logits, shortened
from peers import Call
from peers_crossent import Crossent

BYTES = 128 << 20  # of the logits: far more than the caches next to a core
PAUSE = 0.01  # seconds
FEWEST, MOST = 6, 400  # pairs of calls


def load(folders: dict[str, str], new_first: bool) -> dict[str, Any]:
    """The packages under names of their own, {name: module}: their modules import each other relatively."""
    with tempfile.TemporaryDirectory(prefix="bench-compare-") as place:
        sys.path.insert(0, place)
        for name, folder in folders.items():
            shutil.copytree(Path(folder) / "crossent", Path(place) / name)
        for name in sorted(folders, reverse=not new_first):
            module: Any = importlib.import_module(name)
            module.softmax([0.0])  # what is imported late is imported now, while the folder is there
        sys.path.remove(place)
    return {name: sys.modules[name] for name in folders}


def bits(result: Any) -> np.ndarray:
    """The bytes of a loss or an array, none of None, in memory of their own."""
    return np.array([] if result is None else result).reshape(-1).view(np.uint8)


def same_bits(old: Call, new: Call) -> bool:
    """Of both results. Those of the first call are copied: the second writes into the same memory."""
    results = []
    for call in (old, new):
        call.before()
        results.append([bits(result) for result in call.run()])
    return all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def measure(cell: Cell, packages: dict[str, Any], seconds: float, quick: bool) -> dict[str, Any]:
    """The median of the ratios of the pairs, and the shortest time of each build. Which goes first alternates."""
    buffers = make_buffers(shortened(cell, QUICK_BYTES if quick else BYTES), shared_logits)
    old, new = (Crossent(packages[name]).call(cell, buffers) for name in ("xe_old", "xe_new"))
    equal = same_bits(old, new)
    for call in (new, old):
        peers.seconds(call, cell.calls)
    times: dict[Call, list[float]] = {old: [], new: []}
    end = time.perf_counter() + seconds
    order = [old, new]
    while len(times[old]) < FEWEST or (len(times[old]) < MOST and time.perf_counter() < end):
        for call in order:
            if OPTIONS["threads"] > 1:  # the other build may spin on a processor, this one sleep
                time.sleep(PAUSE)
                peers.seconds(call, cell.calls)
            times[call].append(peers.seconds(call, cell.calls))
        order.reverse()
    return {
        "name": cell.name,
        "ratio": statistics.median(b / a for a, b in zip(times[old], times[new], strict=True)),
        "old_ms": 1e3 * min(times[old]),
        "new_ms": 1e3 * min(times[new]),
        "pairs": len(times[old]),
        "same_bits": equal,
    }


def main() -> None:
    packages = load(OPTIONS["packages"], OPTIONS["new_first"])
    with contextlib.ExitStack() as limits:
        for package in packages.values():
            limits.enter_context(package.num_threads(OPTIONS["threads"]))
        for cell in CELLS:
            if cell.name in OPTIONS["cells"]:
                print(json.dumps(measure(cell, packages, OPTIONS["seconds"], OPTIONS["quick"])), flush=True)


if __name__ == "__main__":
    main()
