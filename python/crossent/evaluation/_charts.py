"""Charts as SVG for a page: matplotlib draws, the page's style sheet gives the colours and the font."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure  # without pyplot: it needs no display
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from .._types import Array
    from ._calibration import Reliability
    from ._statistics import Binned

# Each is drawn in a colour that nothing else has, for which a variable of the style sheet is put.
INK, QUIET, RULE, FIRST, SECOND = "#010203", "#010204", "#010205", "#010206", "#010207"
VARIABLES = {INK: "--ink", QUIET: "--quiet", RULE: "--rule", FIRST: "--first", SECOND: "--second"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": INK,
    "font.size": 11,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.linewidth": 1.8,
}
SIZE = 5.4, 3.6  # inches, of 72 units


def drawn(name: str, label: str, draw: Callable[[Figure], object]) -> str:
    """The SVG of what `draw` draws; `name` makes its ids differ from those of the other charts of a page."""
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=SIZE, layout="constrained")
        draw(figure)
        written = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"font(-family)?: ([^;\"]*)", _without_font, svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)


def _without_font(found: re.Match[str]) -> str:
    """The family is the page's; the size stays."""
    size = re.match(r"[\d.]+px", found[2])
    return f"font-size: {size[0]}" if size and not found[1] else "font-family: inherit"


def histogram(name: str, label: str, found: Binned, mean: float, mean_text: str) -> str:
    """The share of the rows in each bin, with a line at the mean."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        share = 100 * found.counts / found.counts.sum()
        edges, at = found.edges, mean
        if found.logarithmic:  # on an axis of logarithms, as a logarithmic axis has no ticks within one power of 10
            edges, at = np.log10(edges), np.log10(mean)
            axes.xaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10)))
            axes.xaxis.set_major_formatter(lambda x, _: f"{10**x:.2g}")
        axes.stairs(share, edges, fill=True, color=FIRST, alpha=0.75)
        axes.axvline(at, color=SECOND, label=mean_text)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0)
        axes.set_xlabel(label)
        axes.set_ylabel("Rows (%)")
        axes.legend()

    return drawn(name, f"Histogram: {label}", draw)


def line(name: str, xlabel: str, ylabel: str, x: Array, y: Array, error: Array) -> str:
    """Means of numbers >= 0 along an axis, with a band of 1.96 standard errors on both sides."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.fill_between(x, y - 1.96 * error, y + 1.96 * error, color=FIRST, alpha=0.25, linewidth=0)
        axes.plot(x, y, color=FIRST, marker="o" if len(x) < 20 else "", markersize=4)
        axes.set_ylim(max(0, axes.get_ylim()[0]))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)

    return drawn(name, f"{ylabel} by {xlabel.lower()}", draw)


def bars(name: str, xlabel: str, ylabel: str, ends: Array, heights: Array, error: Array) -> str:
    """A bar over each interval, (bars, 2) of numbers in [0, 1], with 1.96 standard errors on both sides."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        middle, width = ends.mean(axis=1), 0.9 * (ends[:, 1] - ends[:, 0])
        axes.bar(middle, heights, width, color=FIRST, alpha=0.75)
        axes.errorbar(middle, heights, 1.96 * error, fmt="none", color=INK, capsize=3)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(0)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)

    return drawn(name, f"{ylabel} by {xlabel.lower()}", draw)


def reliability(name: str, diagrams: Sequence[tuple[str, Reliability]], bins: int) -> str:
    """Accuracy against confidence of one or two models, and below it the rows of each bin."""

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=QUIET, linestyle="--", linewidth=1)
        for k, (text, found) in enumerate(diagrams):
            colour = (FIRST, SECOND)[k]
            upper.plot(found.confidence, found.accuracy, "os"[k] + "-", color=colour, markersize=4.5, label=text)
            width = 0.8 / bins / len(diagrams)
            offset = width * (k - (len(diagrams) - 1) / 2)
            lower.bar(found.confidence + offset, found.size, width, color=colour, alpha=0.75)
        if len(diagrams) > 1:
            upper.legend()
        upper.set_ylabel("Accuracy")
        upper.set_xlim(-0.02, 1.02)
        upper.set_ylim(-0.02, 1.02)
        lower.set_ylabel("Rows")
        lower.yaxis.set_major_formatter(_short)
        lower.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
        lower.set_xlabel("Confidence")
        figure.align_ylabels()

    return drawn(name, "Accuracy against confidence, with the number of rows of each bin", draw)


def _short(value: float, _: Any) -> str:
    """Of a count, so that an axis stays narrow."""
    for size, letter in ((1e9, " G"), (1e6, " M")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:,.0f}"
