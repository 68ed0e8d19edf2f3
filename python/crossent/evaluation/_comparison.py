"""The figures of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ._results import MeanFigures, Table, error_text
from ._statistics import LEVELS

LOGIT_OPTIONS = ("base_softcap", "base_logit_bias_checksum", "other_softcap", "other_logit_bias_checksum")
COUNTS = ("tokens", "ignored", "nan_rows", "infinite_kl", "classes", *LOGIT_OPTIONS, "blocks")
MEANS = (
    "base_perplexity",
    "other_perplexity",
    "perplexity_ratio",
    "perplexity_difference",
    "log_perplexity_ratio",
    "correlation",
    "base_accuracy",
    "other_accuracy",
    "right_to_wrong",
    "wrong_to_right",
    "delta_p",
    "rms_delta_p",
    "kl",
    "reverse_kl",
    "js",
    "top1_agreement",
    "top5_agreement",
    "top10_agreement",
)


class Bucket(NamedTuple):
    """The mean KL(base || other) of some of the rows."""

    lower: float
    """Of the base's confidence, its largest probability: above this, or 0. Of positions: from this on, 0 the first."""
    upper: float
    """Of the confidence: up to this. Of positions: the last."""
    tokens: int
    kl: float
    standard_error: float
    block_standard_error: float | None


class WorstToken(NamedTuple):
    """A row of large KL(base || other)."""

    position: int
    """The row, 0 the first."""
    kl: float
    target: int | None
    base_probability: float | None
    """Of the target."""
    other_probability: float | None
    base_argmax: int
    other_argmax: int
    base_confidence: float
    """The probability of `base_argmax`."""
    other_confidence: float


class StoredMass(NamedTuple):
    """The sums of the probabilities of the rows, as they are stored in 16 bits."""

    mean: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class Comparison(MeanFigures):
    """The result of `compare`, which has the definitions. What needs a target is None without targets."""

    tokens: int
    """The rows that count."""
    ignored: int
    """Rows whose target is `ignore_index`."""
    nan_rows: int
    """Rows with a NaN or an infinite maximum in one of the inputs, left out by `skip_nan`."""
    infinite_kl: int
    """Rows where the other gives a class the probability 0 and the base does not: one makes the mean infinite."""
    classes: int
    """The classes of each row, without padding."""
    base_softcap: float | None
    """That of the base's logits; None without one."""
    base_logit_bias_checksum: str | None
    """As `Evaluation.logit_bias_checksum`, of the base."""
    other_softcap: float | None
    """That of the other's logits; None without one."""
    other_logit_bias_checksum: str | None
    """As `Evaluation.logit_bias_checksum`, of the other."""
    blocks: int | None
    """Blocks with rows that count; None without `blocks`."""
    base_perplexity: float | None
    """``exp`` of the base's mean cross-entropy."""
    other_perplexity: float | None
    """``exp`` of the other's mean cross-entropy."""
    perplexity_ratio: float | None
    """The other's perplexity over the base's."""
    perplexity_difference: float | None
    """The other's perplexity less the base's."""
    log_perplexity_ratio: float | None
    """The other's mean cross-entropy less the base's."""
    correlation: float | None
    """Of the cross-entropies of the rows."""
    base_accuracy: float | None
    """The share of rows where the target is the base's most likely class."""
    other_accuracy: float | None
    """The share of rows where the target is the other's most likely class."""
    right_to_wrong: float | None
    """The share of rows where the base is right and the other is not."""
    wrong_to_right: float | None
    """The share of rows where the other is right and the base is not."""
    delta_p: float | None
    """The mean of the target's probability in the other less that in the base."""
    rms_delta_p: float | None
    """The root of the mean of the squares of these differences."""
    kl: float
    """The mean KL(base || other), in nats."""
    reverse_kl: float
    """The mean KL(other || base), in nats."""
    js: float
    """The mean Jensen-Shannon divergence, in nats: at most log(2)."""
    top1_agreement: float
    """The share of rows where the most likely class is the same."""
    top5_agreement: float
    """The mean share of the 5 most likely classes that both have in common."""
    top10_agreement: float
    """The mean share of the 10 most likely classes that both have in common."""
    flips: dict[str, int] | None
    """The rows of `right_to_wrong` and `wrong_to_right`."""
    kl_quantiles: dict[str, float]
    """Of KL(base || other), from ``"max"`` over ``"99.9 %"`` and ``"median"`` to ``"min"``."""
    delta_p_quantiles: dict[str, float] | None
    """Of the differences of the target's probability."""
    kl_by_confidence: tuple[Bucket, ...]
    """By the base's confidence, in ten intervals, of which those without rows are left out."""
    kl_by_position: tuple[Bucket, ...] | None
    """By the position in the window, in at most 16 intervals; None where `blocks` is not a length."""
    worst: tuple[WorstToken, ...]
    """The rows of the largest KL(base || other), the largest first."""
    base_mass: StoredMass | None
    """None where the base is not stored log-probabilities."""
    other_mass: StoredMass | None
    """None where the other is not stored log-probabilities."""
    standard_errors: dict[str, float]
    """Of each mean, by its name, if rows are independent."""
    block_standard_errors: dict[str, float] | None
    """Of each mean, by its name, if rows of different blocks are independent; None without `blocks`."""

    def lines(self) -> Iterator[tuple[str, str, str, str]]:
        """The rows of the first table: a name, a value and its two standard errors, "" where there is none."""
        yield from self.figure_lines(COUNTS, MEANS)
        for name in ("base_mass", "other_mass"):
            mass = getattr(self, name)
            if mass is not None:
                yield f"{name} ({mass.min:.6f} .. {mass.max:.6f})", f"{mass.mean:.6f}", "", ""

    def heads(self) -> tuple[str, str, str, str]:
        """The heads of the columns of that table."""
        return "", "value", "± by token", self._by_block()

    def _by_block(self) -> str:
        return "± by block" if self.blocks is not None else ""

    def tables(self) -> list[Table]:
        """What `str` shows: the lines, the quantiles, the buckets and the worst tokens."""
        found = [Table(self.heads(), list(self.lines())), self._quantile_table()]
        for head, buckets in (("base confidence", self.kl_by_confidence), ("position", self.kl_by_position)):
            if buckets is not None:
                lines = [_bucket_line(bucket, head == "position") for bucket in buckets]
                found.append(Table((head, "tokens", "kl", "± by token", self._by_block()), lines))
        return [*found, self._worst_table()] if self.worst else found

    def _quantile_table(self) -> Table:
        columns = {"kl": self.kl_quantiles, "delta_p": self.delta_p_quantiles}
        shown = {name: numbers for name, numbers in columns.items() if numbers is not None}
        lines = [(level, *(f"{numbers[level]:.6g}" for numbers in shown.values())) for level in LEVELS]
        return Table(("quantile", *shown), lines)

    def _worst_table(self) -> Table:
        heads = ("worst tokens", "kl", "base argmax", "other argmax", "base max p", "other max p")
        of_target = ("target", "base p", "other p") if self.worst[0].target is not None else ()
        return Table((*heads, *of_target), [_worst_line(token) for token in self.worst])


def _bucket_line(bucket: Bucket, whole: bool) -> tuple[str, ...]:
    interval = f"{bucket.lower} .. {bucket.upper}" if whole else f"{bucket.lower:.1f} .. {bucket.upper:.1f}"
    errors = error_text(bucket.standard_error), error_text(bucket.block_standard_error)
    return interval, f"{bucket.tokens:,}", f"{bucket.kl:.6g}", *errors


def _worst_line(token: WorstToken) -> tuple[str, ...]:
    probabilities = (token.base_confidence, token.other_confidence)
    line = (
        f"row {token.position}",
        f"{token.kl:.6g}",
        str(token.base_argmax),
        str(token.other_argmax),
        *(f"{p:.4f}" for p in probabilities),
    )
    if token.target is None:
        return line
    return *line, str(token.target), f"{token.base_probability:.3g}", f"{token.other_probability:.3g}"
