"""The figures of an evaluation, what a temperature does to them, and what all results have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple


class Table(NamedTuple):
    """The first column is text, the others are numbers."""

    heads: Sequence[str]
    lines: Sequence[Sequence[str]]

    def __str__(self) -> str:
        rows = [self.heads, *self.lines]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        aligned = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
        return "\n".join("  ".join(row).rstrip() for row in aligned)


class Figures:
    """A dataclass of figures."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """The attributes as numbers, dicts and lists for JSON; a number that is infinite or NaN is None."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    def tables(self) -> list[Table]:
        """What `str` shows."""
        raise NotImplementedError

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables()))


class MeanFigures(Figures):
    """Some of them means, with standard errors by their names."""

    __slots__ = ()
    standard_errors: dict[str, float]
    block_standard_errors: dict[str, float] | None

    def figure_lines(self, counts: Sequence[str], means: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
        """A name, a value and its two standard errors, "" where there is none; what is None is left out."""
        for name in counts:
            value = getattr(self, name)
            if value is not None:
                yield name, value if isinstance(value, str) else f"{value:,}", "", ""
        by_block = self.block_standard_errors or {}
        for name in means:
            value = getattr(self, name)
            if value is not None:
                errors = error_text(self.standard_errors[name]), error_text(by_block.get(name))
                yield name, f"{value:,.6g}", *errors


def plain(value: Any) -> Any:
    if isinstance(value, Figures):
        return value.as_dict()
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: plain(x) for name, x in value.items()}
    if isinstance(value, tuple):
        return [plain(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def error_text(value: float | None) -> str:
    """A standard error, of which no more than two digits are known."""
    return "" if value is None else f"{value:.2g}"


def number_text(value: float, itemsize: int) -> str:
    """With the digits that tell a number from all others of its dtype."""
    return f"{value:.{9 if itemsize == 4 else 17}g}"


MEANS = (
    "loss",
    "perplexity",
    "bits_per_token",
    "accuracy",
    "top5_accuracy",
    "top10_accuracy",
    "mean_rank",
    "mean_reciprocal_rank",
    "entropy",
    "brier_score",
)
CALIBRATION = ("ece", "mce", "adaptive_ece")
LOGIT_OPTIONS = ("softcap", "logit_bias_checksum")
COUNTS = ("tokens", "ignored", "nan_rows", "infinite_losses", "classes", "temperature", *LOGIT_OPTIONS, "blocks")


@dataclass(frozen=True, slots=True)
class Evaluation(MeanFigures):
    """The result of `evaluate`, which has the definitions."""

    tokens: int
    """The rows that count."""
    ignored: int
    """Rows whose target is `ignore_index`."""
    nan_rows: int
    """Rows with a NaN or an infinite maximum, left out by `skip_nan`."""
    infinite_losses: int
    """Rows whose target has the probability 0: one makes the mean loss infinite."""
    classes: int
    """The classes of each row, without padding."""
    temperature: float
    """The logits were divided by it."""
    softcap: float | None
    """That of the logits; None without one."""
    logit_bias_checksum: str | None
    """It tells the bias of the logits from others: half a SHA-256 of its numbers. None without a bias."""
    blocks: int | None
    """Blocks with rows that count; None without `blocks`."""
    loss: float
    """The mean cross-entropy, in nats."""
    perplexity: float
    """``exp(loss)``."""
    bits_per_token: float
    """The mean cross-entropy, in bits."""
    accuracy: float
    """The share of rows where the target has the largest logit."""
    top5_accuracy: float
    """The share of rows where the target is among the 5 largest logits."""
    top10_accuracy: float
    """The share of rows where the target is among the 10 largest logits."""
    mean_rank: float
    """The mean rank of the target, 1 for the largest logit."""
    mean_reciprocal_rank: float
    """The mean of 1 / rank."""
    entropy: float
    """The mean entropy of the predicted probabilities, in nats."""
    brier_score: float
    """The mean Brier score, in [0, 2]."""
    ece: float
    """The expected calibration error over bins of equal width."""
    mce: float
    """The maximum calibration error over bins of equal width."""
    adaptive_ece: float
    """The expected calibration error over bins of equal mass."""
    bins: int
    """The number of bins of the three."""
    standard_errors: dict[str, float]
    """Of each mean, by its name, if rows are independent."""
    block_standard_errors: dict[str, float] | None
    """Of each mean, by its name, if rows of different blocks are independent; None without `blocks`."""

    def lines(self) -> Iterator[tuple[str, str, str, str]]:
        """The rows of a table: a name, a value and its two standard errors, "" where there is none."""
        yield from self.figure_lines(COUNTS, MEANS)
        for name in CALIBRATION:
            yield f"{name} ({self.bins} bins)", f"{getattr(self, name):.6g}", "", ""

    def heads(self) -> tuple[str, str, str, str]:
        """The heads of the columns of that table."""
        return "", "value", "± by token", "± by block" if self.blocks is not None else ""

    def tables(self) -> list[Table]:
        """What `str` shows."""
        return [Table(self.heads(), list(self.lines()))]


JUDGED = ("loss", "brier_score", "accuracy", "entropy")


@dataclass(frozen=True, slots=True)
class Calibration(Figures):
    """The result of `calibrate`, which has the definitions."""

    temperature: float
    """The temperature found."""
    at_bound: Literal["lower", "upper"] | None
    """The bound that the temperature is at, if the loss still falls beyond it."""
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
        for name in LOGIT_OPTIONS:
            value = getattr(self.after, name)
            if value is not None:
                yield name, "", "", str(value), ""
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
