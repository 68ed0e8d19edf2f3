"""One picture for each number of threads: crossent and its peers in each cell, as shares of the ceiling."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

OURS, OTHERS, MEMORY, ARITHMETIC = "#1f5fa8", "#b8b8b8", "#c0392b", "#d68910"
COLUMNS = 4
EXPLANATION = (
    "Red: the memory ceiling of the operation. Orange: its arithmetic ceiling, data in L2. Broken: the bar. "
    "Next to each bar: the time of a call."
)


def panel(axes: Axes, r: dict[str, Any]) -> None:
    """Bars of GB/s, the ceilings as lines, and what is asked for as a broken one; of a latency where there is none."""
    others = dict(r.get("peer_ms", {}))
    if "slowdown" in r:
        others["no mask"] = r["ms"] / r["slowdown"]
    names = ["crossent", *sorted(others, key=lambda name: others[name])]
    ms = [r["ms"], *(others[name] for name in names[1:])]
    memory = r.get("ceiling_gb_per_s")
    lengths = [r["bytes"] / t / 1e6 for t in ms] if memory else [1e3 * t for t in ms]
    axes.barh(range(len(names)), lengths, color=[OURS] + [OTHERS] * (len(names) - 1), height=0.75)
    right = max([*lengths, memory or 0, r.get("arithmetic_gb_per_s", 0)])
    axes.set_xlim(0, 1.25 * right)
    for at, (length, t) in enumerate(zip(lengths, ms, strict=True)):
        label = f"{t:.3g} ms" if memory else f"{1e3 * t:.3g} µs"
        axes.text(length + 0.01 * right, at, label, va="center", fontsize=7)
    if memory:
        ceiling = min(memory, r["cap_gb_per_s"])
        axes.axvline(memory, color=MEMORY, linewidth=1.2)
        axes.axvline(r["arithmetic_gb_per_s"], color=ARITHMETIC, linewidth=1.2)
        if r.get("share") is not None:
            axes.axvline(r["share"] * ceiling, color=MEMORY, linewidth=1, linestyle=(0, (3, 2)))
    elif r.get("latency"):
        axes.axvline(1e6 * r["latency"], color=MEMORY, linewidth=1, linestyle=(0, (3, 2)))
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_ylim(max(len(names), 5) - 0.4, -0.6)
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    shape = " x ".join(f"{n:,}" for n in r["shape"])
    axes.set_title(f"{r['name']}   {shape}  {r['dtype']}", fontsize=8, loc="left")
    axes.set_xlabel("GB/s" if memory else "µs per call (less is better)", fontsize=7, labelpad=1)


def draw(report: dict[str, Any], folder: Path) -> list[Path]:
    plt.rcParams["svg.hashsalt"] = "crossent"  # the same figures give the same file
    folder.mkdir(parents=True, exist_ok=True)
    measured = [r for r in report["cells"] if "ms" in r and "threads" in r]
    paths = []
    for threads in sorted({r["threads"] for r in measured}):
        own = [r for r in measured if r["threads"] == threads]
        rows = math.ceil(len(own) / COLUMNS)
        figure, grid = plt.subplots(rows, COLUMNS, figsize=(16, 1.9 * rows + 0.6), squeeze=False, layout="constrained")
        for axes, r in zip(grid.flat, own, strict=False):
            panel(axes, r)
        for axes in grid.flat[len(own) :]:
            axes.set_visible(False)
        isa = report["runs"][0]["crossent"]["isa"]
        count = f"{threads} thread{'s' if threads > 1 else ''}"
        figure.suptitle(f"{count}, {report['processor']}, {isa}. {EXPLANATION}", fontsize=10)
        paths.append(folder / f"threads-{threads}.svg")
        figure.savefig(paths[-1], metadata={"Date": None})
        plt.close(figure)
    return paths
