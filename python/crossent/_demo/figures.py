"""The figures of the demo, as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure  # without pyplot: it draws with Agg and needs no display

from . import digits, throughput

BLUE, ORANGE, GREY = "#3465a4", "#e07b20", "#b8bcc2"


def save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=150)
    return path


def learning_curve(result: digits.Result, path: Path) -> Path:
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(result.curve[:, 0], color=BLUE, label="training set")
    axes.plot(result.curve[:, 1], color=ORANGE, label="test set")
    axes.set_yscale("log")
    axes.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    axes.set_xlabel("iteration")
    axes.set_ylabel("cross-entropy (nats)")
    axes.set_title("Softmax regression on digits")
    axes.grid(alpha=0.3)
    axes.minorticks_off()
    axes.legend()
    return save(figure, path)


def confusion_matrix(result: digits.Result, path: Path) -> Path:
    counts = result.confusion
    figure = Figure(figsize=(5.2, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    for (true, predicted), count in np.ndenumerate(counts):
        if count:
            colour = "white" if count > counts.max() / 2 else "black"
            axes.text(predicted, true, str(count), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(counts)))
    axes.set_yticks(range(len(counts)))
    axes.set_xlabel("predicted digit")
    axes.set_ylabel("true digit")
    axes.set_title(f"Test set: {np.trace(counts)} of {counts.sum()} right")
    return save(figure, path)


def throughput_bars(result: throughput.Result, path: Path) -> Path:
    measurements = result.measurements
    at = np.arange(len(measurements))
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.bar(at - 0.2, [m.rate / 1e9 for m in measurements], 0.4, color=BLUE, label="crossent")
    axes.bar(at + 0.2, [m.ceiling_rate / 1e9 for m in measurements], 0.4, color=GREY, label="memory ceiling")
    for i, m in enumerate(measurements):
        axes.annotate(f"{m.share:.0%}", (i - 0.2, m.rate / 1e9), (0, 2), textcoords="offset points", ha="center")
    axes.set_xticks(at, [f"{m.operation.replace(' ', chr(10), 1)}\n{threads_text(m.threads)}" for m in measurements])
    axes.set_ylabel("GB/s, read and written")
    axes.set_title(f"Cross-entropy of {result.rows} x {throughput.VOCABULARY:,} logits in float32")
    axes.margins(y=0.12)
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2)
    return save(figure, path)


def threads_text(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def draw(digits_result: digits.Result, throughput_result: throughput.Result, out: Path) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    return [
        learning_curve(digits_result, out / "learning-curve.png"),
        confusion_matrix(digits_result, out / "confusion-matrix.png"),
        throughput_bars(throughput_result, out / "throughput.png"),
    ]
