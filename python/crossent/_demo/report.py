"""Prints what the parts of the demo found, to the terminal and to a file next to the figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from . import boosting, calibration, comparison, distillation, figures, parts, smoothing, throughput
from .networks import Estimate, Scores, estimate

VERSUS_HARD = "minus hard\nlabels"


def comparison_table(title: str, result: comparison.Comparison) -> Table:
    ours, theirs = result.ours, result.theirs
    table = Table(title=title, title_justify="left")
    table.add_column()
    table.add_column("crossent + L-BFGS", justify="right")
    table.add_column("scikit-learn newton-cg", justify="right")
    table.add_row("test accuracy", f"{ours.test_accuracy:.2%}", f"{theirs.test_accuracy:.2%}")
    table.add_row("test loss (nats)", f"{ours.test_loss:.9f}", f"{theirs.test_loss:.9f}")
    table.add_row("training loss (nats)", f"{ours.train_loss:.9f}", f"{theirs.train_loss:.9f}")
    table.add_row("iterations", str(ours.iterations), str(theirs.iterations))
    return table


def verdict(result: comparison.Comparison) -> str:
    equal = "equal" if result.passed else "[bold red]NOT equal[/]"
    return (
        f"Weights {equal}: largest difference {result.difference:.1e} of the largest weight "
        f"(allowed: {comparison.TOLERANCE:.0e})\n"
    )


def percent(value: Estimate, sign: str = "") -> str:
    return f"{100 * value.mean:{sign}.2f} ± {100 * value.error:.2f}"


def number(value: Estimate, sign: str = "") -> str:
    return f"{value.mean:{sign}.3f} ± {value.error:.3f}"


def table_of_runs(title: str, runs: int, label: str, *columns: str) -> Table:
    table = Table(title=f"{title}, {runs} runs", title_justify="left")
    table.add_column(label)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def accuracy_and_loss(scores: Scores, gain: str = "", loss_gain: str = "") -> tuple[str, ...]:
    return percent(estimate(scores.accuracy)), gain, number(estimate(scores.loss)), loss_gain


def distillation_table(result: distillation.Result, runs: int) -> Table:
    title = f"Distillation on digits: {distillation.STUDENT_UNITS} hidden units learn from {distillation.TEACHER_UNITS}"
    table = table_of_runs(title, runs, "", "test accuracy\n(%)", VERSUS_HARD, "test loss\n(nats)", VERSUS_HARD)
    for students in result.students:
        table.add_section()
        table.add_row(f"{students.images:,} images", style="bold")
        table.add_row("hard labels", *accuracy_and_loss(students.hard))
        for temperature, scores in students.distilled.items():
            accuracy, loss = students.gain(temperature)
            gains = percent(accuracy, "+"), number(loss, "+")
            table.add_row(f"teacher, T={temperature}", *accuracy_and_loss(scores, *gains))
    table.add_section()
    table.add_row("the teacher", *accuracy_and_loss(result.teacher))
    return table


def changes(name: str, signs: Mapping[Any, int]) -> str:
    """Where a score rises or falls by more than two standard errors."""

    def at(sign: int) -> str:
        found = ", ".join(f"{value:g}" for value in signs if signs[value] == sign)
        return f"at {name} = {found}" if found else "nowhere"

    return f"higher {at(1)}, lower {at(-1)}"


def print_distillation(console: Console, result: distillation.Result, runs: int) -> None:
    console.print(distillation_table(result, runs))
    images = result.students[-1].images
    console.print(f"Each teacher saw {images:,} labelled images. Its weight in the loss is {distillation.ALPHA}.")
    console.print("Means ± standard errors. Beyond two of them, compared with hard labels:")
    for students in result.students:
        for name, which in (("accuracy", 0), ("loss", 1)):
            signs = {t: students.gain(t)[which].sign for t in students.distilled}
            console.print(f"  {students.images:,} images: {name} {changes('T', signs)}")
    console.print(
        f"Sizes and the {distillation.STUDENT_STEPS:,} steps were chosen after trial runs on the same test images; the "
        "gain depends on them, and in trials of 150 steps T = 4 lost."
    )
    console.print()


def smoothing_table(result: smoothing.Result, runs: int) -> Table:
    table = table_of_runs(
        f"Label smoothing e on digits: {smoothing.UNITS} hidden units",
        runs,
        "e",
        "test accuracy\n(%)",
        "test loss\n(nats)",
        "mean confidence\n(%)",
        "calibration\nerror (%)",
    )
    for value, smoothed in result.smoothed.items():
        table.add_row(
            f"{value:g}",
            percent(estimate(smoothed.accuracy)),
            number(estimate(smoothed.loss)),
            percent(estimate(smoothed.confidence)),
            percent(estimate(smoothed.calibration_error)),
        )
    return table


def print_smoothing(console: Console, result: smoothing.Result, runs: int) -> None:
    console.print(smoothing_table(result, runs))
    console.print("Means ± standard errors. Beyond two of them, compared with no smoothing:")
    for name in ("accuracy", "loss", "calibration_error"):
        signs = {value: result.change(value, name).sign for value in result.smoothed if value}
        console.print(f"  {name.replace('_', ' ')} {changes('e', signs)}")
    console.print()


def calibration_table(result: calibration.Result) -> Table:
    table = Table(title="Calibration on digits: naive Bayes", title_justify="left")
    columns = "", "test accuracy\n(%)", "test loss\n(nats)", "calibration\nerror (%)"
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    for name, found in (
        ("as it is", result.before),
        (f"at temperature {result.fit.temperature:.1f}", result.after),
    ):
        table.add_row(
            name, f"{100 * found.accuracy:.1f}", f"{found.loss:.3f}", f"{100 * found.calibration_error:.1f}"
        )
    return table


def boosting_table(result: boosting.Result) -> Table:
    title = f"A teacher distilled into boosted trees: {boosting.ROUNDS} rounds of {result.library}"
    table = table_of_runs(title, result.runs, "", "test accuracy\n(%)", VERSUS_HARD, "test loss\n(nats)", VERSUS_HARD)
    for data, students in result.students.items():
        table.add_section()
        table.add_row(f"{data}\n{students.rows:,} rows", style="bold")
        for trained_on, scores in students.taught.items():
            gains = "", ""
            if trained_on != "hard labels":
                accuracy, loss = students.gain(trained_on)
                gains = percent(accuracy, "+"), number(loss, "+")
            table.add_row(trained_on, *accuracy_and_loss(scores, *gains))
        table.add_row("the teacher", *accuracy_and_loss(students.teacher))
    return table


def print_boosting(console: Console, result: boosting.Result | None) -> None:
    if result is None:
        missing = " or ".join(boosting.LIBRARIES.values())
        text = f"A teacher distilled into boosted trees: left out, as it needs {missing}: "
        console.print(text + "pip install 'crossent[boosting]'\n", markup=False, soft_wrap=True)
        return
    console.print(boosting_table(result))
    console.print("Means ± standard errors. Beyond two of them, compared with hard labels:")
    words = {1: "higher", -1: "lower", 0: "no different"}
    for data, students in result.students.items():
        for trained_on in boosting.TRAINED_ON[1:]:
            accuracy, loss = (words[gain.sign] for gain in students.gain(trained_on))
            console.print(f"  {data}, {trained_on}: accuracy {accuracy}, loss {loss}")
    console.print(
        f"On overlapping classes one teacher has learnt from {boosting.TEACHER_ROWS:,} other rows, so that its "
        "probabilities say more than a label. On digits it has seen no more than the student, whose labels are all but "
        "certain.\n"
    )


def throughput_table(result: throughput.Result) -> Table:
    table = Table(
        title=f"Cross-entropy of {result.rows} x {throughput.VOCABULARY:,} logits, float32", title_justify="left"
    )
    table.add_column("")
    columns = "threads", "crossent\n(ms)", "NumPy\n(ms)", "times as\nfast", "crossent\n(GB/s)", "plain pass\n(GB/s)"
    for column in columns:
        table.add_column(column, justify="right")
    for m in result.measurements:
        table.add_row(
            m.operation,
            str(m.threads),
            *(f"{1e3 * seconds:.1f}" for seconds in (m.seconds, m.numpy_seconds)),
            f"{m.speedup:.1f}",
            *(f"{m.rate(seconds):.1f}" for seconds in (m.seconds, m.pass_seconds)),
        )
    return table


def print_results(console: Console, results: parts.Results) -> None:
    console.print(comparison_table("Softmax regression on digits, float64", results.digits))
    console.print(verdict(results.digits))
    console.print(comparison_table("Logistic regression on breast-cancer data, float64", results.logistic))
    console.print(verdict(results.logistic))
    print_distillation(console, results.distillation, results.runs)
    print_smoothing(console, results.smoothing, results.runs)
    console.print(calibration_table(results.calibration))
    console.print(f"Found on training images that were held out, in {results.calibration.fit.passes} passes.\n")
    print_boosting(console, results.boosting)
    console.print(throughput_table(results.throughput))
    console.print(
        "NumPy: the same formula in whole arrays, on one thread. Plain pass: x.max() beside the loss, np.copyto beside "
        "the loss and gradient, in as many threads. They compute next to nothing: memory allows about that much.\n"
    )


def run(out: Path, quick: bool) -> int:
    console = Console()
    results = parts.run(console, quick)
    paths = figures.draw(results, out)
    print_results(console, results)
    text = out / "report.txt"
    with open(text, "w", encoding="utf-8") as file:
        print_results(Console(file=file, width=100), results)
    console.print("Files:", *(f"  {path}" for path in [text, *paths]), sep="\n", soft_wrap=True)
    return 0 if results.passed else 1
