"""The pictures: the time of each library as a multiple of that of crossent, and the curve of curve.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import tables
from matplotlib.figure import Figure  # without pyplot: it needs no display
from matplotlib.ticker import FixedLocator, MultipleLocator, NullLocator

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
# Text stays text, so that the file is small and can be searched; the same figures make the same file.
PLAIN = {"svg.fonttype": "none", "svg.hashsalt": "crossent", "font.family": "sans-serif"}


def draw(measured: dict[str, Any], path: Path) -> None:
    """Of the largest number of threads."""
    threads = max((r["threads"] for r in measured["cells"] if r.get("peer_ms")), default=None)
    if threads is None:
        raise ValueError("no other library was measured")
    results = tables.compared(measured["cells"], threads)
    rows = range(len(results))
    with matplotlib.rc_context(PLAIN):
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


def draw_curve(measured: dict[str, Any], path: Path) -> None:
    """A row for each mode, a column for each range of classes; the axes of the costs are one, and logarithmic."""
    points = measured["points"]
    modes = list(dict.fromkeys(p["mode"] for p in points))
    names = ("before", "after") if len(measured["builds"]) == 2 else ("crossent",)
    with matplotlib.rc_context(PLAIN):
        figure = Figure(figsize=(10.5, 6), layout="constrained")
        grid = figure.subplots(len(modes), 2, sharex="col", sharey=True, width_ratios=(3, 1), squeeze=False)
        for mode, row in zip(modes, grid, strict=True):
            for axes, few in zip(row, (True, False), strict=True):
                own = [p for p in points if p["mode"] == mode and (p["classes"] < 1000) == few]
                for number, name in enumerate(names):
                    costs = [p["ns_per_element"][number] for p in own]
                    colour = OURS if number == len(names) - 1 else "#b0b0b0"
                    axes.plot([p["classes"] for p in own], costs, color=colour, linewidth=1.2, label=name)
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(FixedLocator(TICKS))
                axes.yaxis.set_minor_locator(NullLocator())
                axes.set_yticks(TICKS, [f"{n:g}" for n in TICKS])
                axes.xaxis.set_major_locator(MultipleLocator(16))
                axes.grid(alpha=0.3)
                axes.margins(x=0.02)
                axes.tick_params(labelsize=8)
                axes.spines[["top", "right"]].set_visible(False)
            row[0].set_ylabel(tables.MODES[mode])
        costs = [cost for p in points for cost in p["ns_per_element"]]
        grid[0, 0].set_ylim(0.9 * min(costs), 1.1 * max(costs))
        figure.supylabel("nanoseconds per element (log scale)", fontsize=9)
        figure.supxlabel("number of classes", fontsize=9)
        isa = measured["builds"][-1]["isa"]
        figure.suptitle(f"{measured.get('machine', measured['processor'])}, {isa}, {tables.number_of_threads(1)}, "
                        "float32", fontsize=10)  # fmt: skip
        grid[0, 0].legend(fontsize=8, frameon=False)
        figure.savefig(path, metadata={"Date": None})
