"""The figures of the demo, as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot: it draws with Agg and needs no display
from matplotlib.ticker import LogLocator

from . import boosting, calibration, digits, distillation, logistic, parts, smoothing, throughput
from .networks import estimate

BLUE, ORANGE, GREEN, GREY = "#3465a4", "#e07b20", "#4e9a4e", "#b8bcc2"
FEWEST = 100  # predictions that a point of the reliability diagram stands for
FEWEST_OF_ONE = 5  # the same of one classifier


def save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=150)
    return path


def learning_curve(result: digits.Result, path: Path) -> Path:
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    draw_curve(axes, result.curve)
    axes.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    axes.set_title("Softmax regression on digits")
    return save(figure, path)


def draw_curve(axes: Axes, curve: np.ndarray) -> None:
    axes.plot(curve[:, 0], color=BLUE, label="training set")
    axes.plot(curve[:, 1], color=ORANGE, label="test set")
    axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel("cross-entropy (nats)")
    axes.grid(alpha=0.3)
    axes.minorticks_off()
    axes.legend()


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


def logistic_regression(result: logistic.Result, path: Path) -> Path:
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_curve(left, result.curve)
    left.set_yticks([0.05, 0.1, 0.2, 0.5], ["0.05", "0.1", "0.2", "0.5"])
    left.set_title("Logistic regression on breast-cancer data")

    low, high = (2 * int(np.floor(end / 2)) for end in (result.logits.min(), result.logits.max()))
    bins = range(low, high + 3, 2)
    for benign, colour, name in ((0, ORANGE, "malignant"), (1, BLUE, "benign")):
        right.hist(result.logits[result.benign == benign], bins, color=colour, alpha=0.7, label=name)
    right.axvline(0, color="black", linewidth=1)
    right.set_xlabel("logit: log-odds of benign (nats)")
    right.set_ylabel("tumours")
    wrong = int(((result.logits > 0) != result.benign).sum())
    right.set_title(f"Test set: {len(result.benign) - wrong} of {len(result.benign)} on the right side of 0")
    right.legend()
    return save(figure, path)


def distilled_students(result: distillation.Result, runs: int, path: Path) -> Path:
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    grid = figure.subplots(2, len(result.students), sharex=True)
    for column, students in zip(grid.T, result.students, strict=True):
        temperatures = list(students.distilled)
        at = range(len(temperatures))
        for axes, name, unit in zip(column, ("accuracy", "loss"), (100, 1), strict=True):
            hard = estimate(unit * getattr(students.hard, name))
            taught = [estimate(unit * getattr(scores, name)) for scores in students.distilled.values()]
            teacher = estimate(unit * getattr(result.teacher, name))
            axes.axhline(teacher.mean, color="grey", ls="--", label="the teacher")
            axes.axhline(hard.mean, color=ORANGE, label="student, hard labels")
            axes.axhspan(hard.mean - hard.error, hard.mean + hard.error, color=ORANGE, alpha=0.25, linewidth=0)
            means, errors = [e.mean for e in taught], [e.error for e in taught]
            axes.errorbar(at, means, errors, color=BLUE, marker="o", capsize=3, label="student, distilled")
            axes.set_xticks(at, [str(t) for t in temperatures])
            axes.margins(x=0.1, y=0.1)
            axes.grid(alpha=0.3)
        column[0].set_title(f"{students.images:,} training images")
        column[1].set_xlabel("temperature")
    grid[0, 0].set_ylabel("test accuracy (%)")
    grid[1, 0].set_ylabel("test loss (nats)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(f"Distillation on digits: means of {runs} runs with standard errors")
    return save(figure, path)


def label_smoothing(result: smoothing.Result, runs: int, path: Path) -> Path:
    figure = Figure(figsize=(11, 4), layout="constrained")
    accuracy, loss, reliability = figure.subplots(1, 3)
    values = list(result.smoothed)
    for axes, name, unit in ((accuracy, "accuracy", 100), (loss, "loss", 1)):
        found = [estimate(unit * getattr(s, name)) for s in result.smoothed.values()]
        axes.errorbar(values, [e.mean for e in found], [e.error for e in found], color=BLUE, marker="o", capsize=3)
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xlabel("label smoothing")
        axes.grid(alpha=0.3)
    accuracy.set_ylabel("test accuracy (%)")
    loss.set_ylabel("test loss (nats)")
    figure.suptitle(f"Label smoothing on digits: means of {runs} runs with standard errors")

    shades = colormaps["viridis"](np.linspace(0, 0.85, len(values)))
    for (value, smoothed), shade in zip(result.smoothed.items(), shades, strict=True):
        shown = smoothed.reliability[smoothed.reliability[:, 0] >= FEWEST]
        reliability.plot(shown[:, 1], shown[:, 2], color=shade, marker="o", markersize=4, label=f"{value:g}")
    reliability.plot([0, 1], [0, 1], color="grey", ls="--")
    reliability.set_xlim(0.25, 1.01)
    reliability.set_ylim(0.3, 1.01)
    reliability.set_xlabel("confidence")
    reliability.set_ylabel("accuracy at that confidence")
    reliability.grid(alpha=0.3)
    reliability.legend(title="smoothing")
    return save(figure, path)


def reliability_diagram(result: calibration.Result, path: Path) -> Path:
    figure = Figure(figsize=(5.2, 5), layout="constrained")
    axes = figure.subplots()
    for quality, colour, label in (
        (result.before, ORANGE, "naive Bayes"),
        (result.after, BLUE, f"at temperature {result.fit.temperature:.1f}"),
    ):
        shown = quality.reliability[quality.reliability[:, 0] >= FEWEST_OF_ONE]
        name = f"{label}: {quality.loss:.2f} nats"
        axes.plot(shown[:, 1], shown[:, 2], color=colour, marker="o", label=name)
    axes.plot([0, 1], [0, 1], color="grey", ls="--")
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy at that confidence")
    axes.set_xlim(0.3, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_title("Calibration on digits")
    axes.grid(alpha=0.3)
    axes.legend()
    return save(figure, path)


def boosted_trees(result: boosting.Result, path: Path) -> Path:
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    grid = figure.subplots(1, len(result.students))
    rounds = np.arange(1, boosting.ROUNDS + 1)
    for axes, (data, students) in zip(grid, result.students.items(), strict=True):
        for (trained_on, scores), colour in zip(students.taught.items(), (ORANGE, BLUE, GREEN), strict=True):
            found = [estimate(losses) for losses in scores.curve.T]
            means, errors = np.array([e.mean for e in found]), np.array([e.error for e in found])
            axes.plot(rounds, means, color=colour, label=f"student, {trained_on}")
            axes.fill_between(rounds, means - errors, means + errors, color=colour, alpha=0.25, linewidth=0)
        axes.axhline(students.teacher.loss.mean(), color="grey", ls="--", label="the teacher")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 3, 5, 8)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_title(f"{data}, {students.rows:,} rows")
        axes.set_xlabel("boosting round")
        axes.grid(alpha=0.3)
    grid[0].set_ylabel("test loss (nats)")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(f"A teacher distilled into boosted trees: means of {result.runs} runs with standard errors")
    return save(figure, path)


def throughput_bars(result: throughput.Result, path: Path) -> Path:
    measurements = result.measurements
    at = np.arange(len(measurements))
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    for offset, name, colour, label in (
        (-0.27, "numpy_seconds", ORANGE, "NumPy, 1 thread"),
        (0, "seconds", BLUE, "crossent, and how many times NumPy"),
        (0.27, "pass_seconds", GREY, "plain pass over the memory"),
    ):
        axes.bar(at + offset, [m.rate(getattr(m, name)) for m in measurements], 0.26, color=colour, label=label)
    for i, m in enumerate(measurements):
        text = f"{m.speedup:.1f}x"
        axes.annotate(text, (i, m.rate(m.seconds)), (0, 2), textcoords="offset points", ha="center")
    axes.set_xticks(at, [f"{m.operation.replace(' ', chr(10), 1)}\n{threads_text(m.threads)}" for m in measurements])
    axes.set_ylabel("GB/s, read and written")
    axes.set_title(f"Cross-entropy of {result.rows} x {throughput.VOCABULARY:,} logits in float32")
    axes.margins(y=0.12)
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=3)
    return save(figure, path)


def threads_text(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def draw(results: parts.Results, out: Path) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    paths = [
        learning_curve(results.digits, out / "learning-curve.png"),
        confusion_matrix(results.digits, out / "confusion-matrix.png"),
        logistic_regression(results.logistic, out / "logistic-regression.png"),
        distilled_students(results.distillation, results.runs, out / "distillation.png"),
        label_smoothing(results.smoothing, results.runs, out / "label-smoothing.png"),
        reliability_diagram(results.calibration, out / "calibration.png"),
        throughput_bars(results.throughput, out / "throughput.png"),
    ]
    if results.boosting is not None:
        paths.append(boosted_trees(results.boosting, out / "boosting.png"))
    return paths
