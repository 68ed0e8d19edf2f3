"""Cells that do not depend on the number of threads: the import, the size of the wheel, the time of a build."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

IMPORT = "import numpy, time; t = time.perf_counter(); import crossent; print(time.perf_counter() - t)"
BUILDS = ("wheel", "build")  # only on request: they compile everything
NAMES = ("import", *BUILDS)
ROOT = Path(__file__).resolve().parent.parent


def import_time(rounds: int) -> dict[str, Any]:
    """`import crossent` after `import numpy`, in new processes; not counting the first, which may read from disk."""

    def one() -> float:
        printed = subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True, text=True).stdout
        return 1e3 * float(printed)

    times = [one() for _ in range(rounds + 1)][1:]
    return {"value": statistics.median(times), "unit": "ms", "limit": 10, "rounds_ms": {"crossent": times}}


def build() -> list[dict[str, Any]]:
    """`pip wheel` of this checkout into a new folder. Without isolation: what pip downloads is not timed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder]
        start = time.perf_counter()
        subprocess.run([*command, str(ROOT)], check=True, stdout=sys.stderr)
        minutes = (time.perf_counter() - start) / 60
        size = next(Path(folder).glob("*.whl")).stat().st_size
    processors = len(os.sched_getaffinity(0))
    return [
        {"name": "wheel", "value": size / 1e6, "unit": "MB", "limit": 2},
        {"name": "build", "value": minutes, "unit": "minutes", "limit": 4, "processors": processors},
    ]


def measure(names: list[str], quick: bool) -> list[dict[str, Any]]:
    results = []
    if "import" in names:
        results.append({"name": "import", **import_time(3 if quick else 15)})
    if any(name in names for name in BUILDS):
        results += [result for result in build() if result["name"] in names]
    for result in results:
        result["reached_share"] = result["value"] <= result["limit"]
    return results
