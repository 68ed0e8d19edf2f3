"""The figures of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ._figures import MeanFigures, Table

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
COUNTS = ("tokens", "ignored", "nan_rows", "infinite_losses", "classes", "temperature", "blocks")


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
