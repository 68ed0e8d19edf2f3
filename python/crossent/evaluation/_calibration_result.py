"""What a temperature does to the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ._evaluation import CALIBRATION, Evaluation
from ._figures import Figures, Table, error_text

JUDGED = ("loss", "brier_score", "accuracy", "entropy")


@dataclass(frozen=True, slots=True)
class Calibration(Figures):
    """The result of `calibrate`, which has the definitions."""

    temperature: float
    """The temperature found."""
    at_bound: Literal["lower", "upper"] | None
    """Which of the bounds the temperature is, where the loss falls still beyond it."""
    converged: bool
    """False if the passes were not enough: then the temperature is the last one tried."""
    passes: int
    """How many times the logits were read."""
    fitted_rows: int
    """The rows that the temperature was fitted to."""
    holdout: bool
    """Whether the figures are of other rows than these."""
    before: Evaluation
    """The figures at temperature 1."""
    after: Evaluation
    """The figures at the temperature found, of the same rows."""
    loss_change: float
    """The mean of the loss after less the loss before of each row, in nats."""
    loss_change_standard_error: float
    """Its standard error, if rows are independent."""
    loss_change_block_standard_error: float | None
    """Its standard error, if rows of different blocks are independent; None without `blocks`."""

    def heads(self) -> tuple[str, str, str, str, str]:
        """The heads of the columns of a table."""
        return "", "before", self._error_head(), "after", self._error_head()

    def lines(self) -> Iterator[tuple[str, str, str, str, str]]:
        """The rows of that table: a name, and before and after a value with its standard error."""
        yield "temperature", "1", "", f"{self.temperature:.6g}", ""
        if self.at_bound is not None:
            yield "at_bound", "", "", self.at_bound, ""
        if not self.converged:
            yield "converged", "", "", "no", ""
        yield "fitted_rows", "", "", f"{self.fitted_rows:,}", ""
        yield "tokens", f"{self.before.tokens:,}", "", f"{self.after.tokens:,}", ""
        for name in JUDGED:
            yield name, *_with_error(self.before, name), *_with_error(self.after, name)
        by_block = self.loss_change_block_standard_error
        error = error_text(self.loss_change_standard_error if by_block is None else by_block)
        yield "loss_change", "", "", f"{self.loss_change:+.6g}", error
        for name in CALIBRATION:
            values = (f"{getattr(figures, name):.6g}" for figures in (self.before, self.after))
            yield f"{name} ({self.after.bins} bins)", next(values), "", next(values), ""

    def _error_head(self) -> str:
        return "± by token" if self.after.blocks is None else "± by block"

    def tables(self) -> list[Table]:
        """What `str` shows."""
        return [Table(self.heads(), list(self.lines()))]


def _with_error(figures: Evaluation, name: str) -> tuple[str, str]:
    errors = figures.standard_errors if figures.block_standard_errors is None else figures.block_standard_errors
    return f"{getattr(figures, name):.6g}", error_text(errors[name])
