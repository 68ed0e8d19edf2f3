"""The parts of the demo, run one after another with a progress bar."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from . import boosting, calibration, digits, distillation, logistic, smoothing, throughput
from .networks import QUICK_RUNS, RUNS


@dataclass(frozen=True)
class Results:
    runs: int  # of which the parts with networks give means
    digits: digits.Result
    logistic: logistic.Result
    distillation: distillation.Result
    smoothing: smoothing.Result
    calibration: calibration.Result
    boosting: boosting.Result | None  # None without a library for it
    throughput: throughput.Result

    @property
    def passed(self) -> bool:
        return self.digits.passed and self.logistic.passed


def run(console: Console, quick: bool) -> Results:
    runs = QUICK_RUNS if quick else RUNS
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:

        def complete(task: TaskID) -> None:
            """For those whose total is known at the end only: L-BFGS stops when it stops."""
            progress.update(task, total=progress.tasks[task].completed)

        task = progress.add_task("softmax regression on digits", total=None)
        digits_result = digits.run(lambda: progress.advance(task))
        complete(task)
        task = progress.add_task("logistic regression on tumours", total=None)
        logistic_result = logistic.run(lambda: progress.advance(task))
        complete(task)
        task = progress.add_task("distillation", total=distillation.STEPS)
        distillation_result = distillation.run(lambda: progress.advance(task), runs)
        task = progress.add_task("label smoothing", total=smoothing.STEPS)
        smoothing_result = smoothing.run(lambda: progress.advance(task), runs)
        task = progress.add_task("calibration", total=2)
        calibration_result = calibration.run(lambda: progress.advance(task))
        boosting_runs = boosting.QUICK_RUNS if quick else boosting.RUNS
        task = progress.add_task("boosted trees", total=boosting.steps(boosting_runs))
        boosting_result = boosting.run(lambda: progress.advance(task), boosting_runs)
        task = progress.add_task("throughput of the loss", total=None)
        throughput_result = throughput.run(
            lambda total: progress.update(task, total=total), lambda: progress.advance(task), quick
        )
    return Results(
        runs,
        digits_result,
        logistic_result,
        distillation_result,
        smoothing_result,
        calibration_result,
        boosting_result,
        throughput_result,
    )
