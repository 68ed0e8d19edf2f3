"""Runs the parts of the demo with a progress bar and prints what they found."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from . import digits, figures, throughput


def digits_table(result: digits.Result) -> Table:
    ours, theirs = result.ours, result.theirs
    table = Table(title="Softmax regression on digits, float64", title_justify="left")
    table.add_column()
    table.add_column("crossent + L-BFGS", justify="right")
    table.add_column("scikit-learn newton-cg", justify="right")
    table.add_row("test accuracy", f"{ours.test_accuracy:.2%}", f"{theirs.test_accuracy:.2%}")
    table.add_row("test loss (nats)", f"{ours.test_loss:.9f}", f"{theirs.test_loss:.9f}")
    table.add_row("training loss (nats)", f"{ours.train_loss:.9f}", f"{theirs.train_loss:.9f}")
    table.add_row("iterations", str(ours.iterations), str(theirs.iterations))
    return table


def throughput_table(result: throughput.Result) -> Table:
    table = Table(
        title=f"Cross-entropy of {result.rows} x {throughput.VOCABULARY:,} logits, float32", title_justify="left"
    )
    table.add_column("")
    table.add_column("threads", justify="right")
    table.add_column("GB/s", justify="right")
    table.add_column("memory ceiling, GB/s", justify="right")
    table.add_column("share", justify="right")
    for m in result.measurements:
        kind = throughput.CEILINGS[m.operation]
        limit = f"{kind} {m.ceiling_rate / 1e9:.1f}"
        table.add_row(m.operation, str(m.threads), f"{m.rate / 1e9:.1f}", limit, f"{m.share:.0%}")
    return table


def run(out: Path) -> int:
    console = Console()
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        training = progress.add_task("softmax regression on digits", total=None)  # L-BFGS stops when it stops
        digits_result = digits.run(lambda: progress.advance(training))
        progress.update(training, total=progress.tasks[training].completed)
        measuring = progress.add_task("throughput of the loss", total=None)
        throughput_result = throughput.run(
            lambda total: progress.update(measuring, total=total), lambda: progress.advance(measuring)
        )
        drawing = progress.add_task("figures", total=1)
        paths = figures.draw(digits_result, throughput_result, out)
        progress.advance(drawing)

    console.print(digits_table(digits_result))
    verdict = "equal" if digits_result.passed else "[bold red]NOT equal[/]"
    console.print(
        f"Weights {verdict}: largest difference {digits_result.difference:.1e} of the largest weight "
        f"(allowed: {digits.TOLERANCE:.0e})\n"
    )
    console.print(throughput_table(throughput_result))
    console.print("Ceiling: the fastest pass over the same memory that computes nothing.\n")
    console.print("Figures:", *(f"  {path}" for path in paths), sep="\n", soft_wrap=True)
    return 0 if digits_result.passed else 1
