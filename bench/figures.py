"""The summary picture: the time of each library as a multiple of that of crossent, in each cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import tables
from matplotlib.figure import Figure  # without pyplot: it needs no display
from matplotlib.ticker import FixedLocator, NullLocator

OURS = "#1f5fa8"
STYLES = {  # of a library: colour and marker
    "C": ("#b0306a", "P"),
    "numba": ("#00a0b0", "<"),
    "PyTorch": ("#d9541e", "o"),
    "torch.compile": ("#e8a33d", "D"),
    "JAX": ("#6a3d9a", "s"),
    "TensorFlow": ("#f06eaa", "p"),
    "OpenVINO": ("#7f6000", ">"),
    "SciPy": ("#8c8c8c", "^"),
    "scikit-learn": ("#33a02c", "v"),
    "NumPy": ("#444444", "x"),
}
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def draw(measured: dict[str, Any], path: Path) -> None:
    """Of the largest number of threads. Text stays text, so that the file is small and can be searched."""
    threads = max((r["threads"] for r in measured["cells"] if r.get("peer_ms")), default=None)
    if threads is None:
        raise ValueError("no other library was measured")
    results = tables.compared(measured["cells"], threads)
    rows = range(len(results))
    style = {"svg.fonttype": "none", "svg.hashsalt": "crossent", "font.family": "sans-serif"}  # same figures, same file
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(10.5, 0.3 * len(results) + 1.6), layout="constrained")
        axes = figure.subplots()
        axes.axvline(1, color=OURS, linewidth=2, label="crossent")
        for name in tables.libraries(results):
            colour, marker = STYLES[name]
            times = [tables.library_ms(r).get(name) for r in results]
            points = [(ms / r["ms"], row) for ms, r, row in zip(times, results, rows, strict=True) if ms is not None]
            axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=6, label=name)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(TICKS))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(TICKS, [f"{n}x" for n in TICKS])
        axes.set_yticks(rows, [f"{tables.operation(r)}, {tables.array(r)}" for r in results], fontsize=8)
        axes.set_xlim(0.9 * min(1.0, *(r["ratio_to_fastest"] for r in results)), None)
        axes.set_ylim(len(results) - 0.5, -0.5)
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(axis="y", left=False)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_xlabel("time of the library / time of crossent (log scale)")
        machine = f"{measured.get('machine', measured['processor'])}, {tables.number_of_threads(threads)}"
        figure.suptitle(machine, fontsize=10)
        figure.legend(loc="outside lower center", ncols=7, fontsize=8, frameon=False)
        figure.savefig(path, metadata={"Date": None})
