"""The pages of `--report`: what is on each, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from . import _statistics
from ._calibration import Reliability, reliability
from ._evaluate import reliability_of
from ._files import ReplacedFile
from ._page import Chart, Note, Table, page

if TYPE_CHECKING:
    from .._types import Array
    from ._comparison import Bucket, Comparison
    from ._paired_statistics import PairedStatistics, Side
    from ._results import Calibration, Evaluation
    from ._results import Table as Columns
    from ._token_statistics import TokenStatistics

WORST = 20  # tokens
BINS = 15
LABELS = {
    "fitted_rows": "Rows that are fitted",
    "loss_change": "Change of the loss (nats)",
    "logit_bias_checksum": "Checksum of the logit bias",
    "base_logit_bias_checksum": "Checksum of the base's logit bias",
    "other_logit_bias_checksum": "Checksum of the other's logit bias",
    "kl": "KL divergence (nats)",
    "reverse_kl": "KL divergence, reverse (nats)",
    "js": "Jensen-Shannon divergence (nats)",
    "infinite_kl": "Infinite KL divergences",
    "delta_p": "Change of the target's probability",
    "rms_delta_p": "RMS change of the target's probability",
    "tokens": "Rows that count",
    "ignored": "Ignored rows",
    "nan_rows": "Rows with a NaN",
    "infinite_losses": "Infinite losses",
    "loss": "Loss (nats)",
    "bits_per_token": "Bits per token",
    "top1_agreement": "Same most likely class",
    "top5_agreement": "Top-5 classes in common",
    "top10_agreement": "Top-10 classes in common",
    "top5_accuracy": "Top-5 accuracy",
    "top10_accuracy": "Top-10 accuracy",
    "brier_score": "Brier score",
    "ece": "Expected calibration error",
    "mce": "Maximum calibration error",
    "adaptive_ece": "Adaptive calibration error",
}
STANDARD_ERRORS = (
    "± is a standard error: by token if all rows are independent, by block if rows of different blocks are."
)
RELIABLE = (
    "A calibrated model is right as often as it is confident: its points lie on the diagonal. "
    "Below: the rows of each of {} bins of equal width."
)


def report_file(path: str | None) -> AbstractContextManager[ReplacedFile | None]:
    """What the page is written to, or None; asked for before anything is read."""
    if path is None:
        return nullcontext()
    if find_spec("matplotlib") is None:
        raise ImportError("--report needs matplotlib: pip install 'crossent[evaluation]'")
    return ReplacedFile(path)


def shown(title: str, table: Columns, note: str = "") -> Table:
    """A table of the terminal, without the columns that have no head."""
    used = [k for k, head in enumerate(table.heads) if head and k > 0]
    lines = [[label(line[0]), *(line[k] for k in used)] for line in table.lines]
    return Table(title, [label(table.heads[0]), *(label(table.heads[k]) for k in used)], lines, note)


def label(name: str) -> str:
    """What is behind a name in brackets stays."""
    stem, space, rest = name.partition(" ")
    return LABELS.get(stem, stem.replace("_", " ").capitalize()) + space + rest


def evaluation_page(
    statistics: TokenStatistics, result: Evaluation, logits: str, targets: str, window: int | None
) -> str:
    """The page of `crossent eval`."""
    loss = 0 - statistics.log_prob[: statistics.done]  # NaN where a row does not count
    diagram = reliability_of(statistics, result.bins)
    parts: list[Table | Chart | Note] = [
        shown("Figures", result.tables()[0], STANDARD_ERRORS),
        loss_histogram(loss, result.loss, result.infinite_losses),
    ]
    if window is not None:
        parts.append(positions("loss-by-position", "Loss", loss, window))
    parts += [reliability_chart([("", diagram)], result.bins), bin_table("Bins of the confidence", diagram)]
    facts = [("Logits", logits), ("Targets", targets)]
    return page(f"Evaluation of {logits}", facts, [*parts, worst_table(statistics)])


def calibration_page(result: Calibration, before: Reliability, after: Reliability, logits: str, targets: str) -> str:
    """The page of `crossent calibrate`."""
    judged = "rows that the temperature was not fitted to" if result.holdout else "the rows that it was fitted to"
    note = f"The figures are of {judged}. {STANDARD_ERRORS}"
    names = [("Before", before), (f"After, at {result.temperature:.4g}", after)]
    parts: list[Table | Chart | Note] = [
        shown("Figures", result.tables()[0], note),
        reliability_chart(names, result.after.bins),
        *(bin_table(f"Bins of the confidence: {name[0].lower()}{name[1:]}", diagram) for name, diagram in names),
    ]
    facts = [("Logits", logits), ("Targets", targets), ("Temperature", f"{result.temperature:.6g}")]
    return page(f"Calibration of {logits}", facts, parts)


def comparison_page(statistics: PairedStatistics, result: Comparison, base: str, other: str, window: int | None) -> str:
    """The page of `crossent compare`."""
    kl = np.where(statistics.counted(), statistics.kl[: statistics.done], np.nan)
    figures, quantiles, *_, last = result.tables()
    parts: list[Table | Chart | Note] = [
        shown("Figures", figures, STANDARD_ERRORS),
        shown("Quantiles", quantiles)._replace(is_wide=False),
        kl_histogram(kl),
    ]
    if window is not None:
        parts.append(positions("kl-by-position", "KL divergence", kl, window))
    parts.append(kl_by_confidence(result.kl_by_confidence))
    diagrams = list(side_diagrams(statistics, {"Base": statistics.base, "Other": statistics.other}))
    if diagrams:
        parts.append(reliability_chart(diagrams, BINS))
        parts += [bin_table(f"Bins of the confidence: {name.lower()}", diagram) for name, diagram in diagrams]
    if result.worst:
        parts.append(shown("Worst tokens", last, "The rows of the largest KL divergence; the first row is row 0."))
    return page(f"{other} compared with {base}", [("Base", base), ("Other", other)], parts)


def side_diagrams(statistics: PairedStatistics, sides: dict[str, Side]) -> Iterator[tuple[str, Reliability]]:
    """Of both models, where there are targets."""
    if statistics.target is None:
        return
    rows = np.flatnonzero(statistics.counted())
    for name, side in sides.items():
        confidence = np.exp(side.max_log_prob[rows].astype(np.float64))
        yield name, reliability(confidence, side.argmax[rows] == statistics.target[rows], BINS, "equal_width")


def loss_histogram(loss: Array, mean: float, infinite: int) -> Chart | Note:
    from . import _charts

    found = _statistics.histogram(loss)
    if found is None:
        return Note("Histogram of the loss", "Every loss is infinite.")
    caption = f"Mean: {mean:.4g} nats."
    if infinite:
        mean = _statistics.finite_mean(loss)
        caption = f"Not shown: {_rows(infinite)} of infinite loss. Mean of the others: {mean:.4g} nats."
    svg = _charts.histogram("loss", "Loss (nats)", found, mean, "Mean")
    return Chart("Histogram of the loss", svg, caption)


def kl_histogram(kl: Array) -> Chart | Note:
    from . import _charts

    found = _statistics.histogram(kl, logarithmic=True)
    if found is None:
        return Note("Histogram of the KL divergence", "No row has a KL divergence that is finite and not 0.")
    mean = _statistics.finite_mean(kl)
    caption = f"Mean: {mean:.4g} nats, of all rows that have a finite one."
    for count, what in ((int((kl == 0).sum()), "0"), (int(np.isinf(kl).sum()), "infinite")):
        caption += f" Not shown: {_rows(count)} where it is {what}." if count else ""
    svg = _charts.histogram("kl", "KL divergence (nats)", found, mean, "Mean")
    return Chart("Histogram of the KL divergence", svg, caption)


def positions(name: str, what: str, x: Array, window: int) -> Chart | Note:
    """Means by position in the window."""
    from . import _charts

    found = _statistics.by_position(x, window)
    title = f"{what} by position"
    if found.mean.size == 0:
        return Note(title, f"{what} is infinite in every row.")
    caption = f"Means by position in windows of {window:,} rows"
    if min(window, x.size) > _statistics.MOST_POSITIONS:
        caption += f", in {_statistics.MOST_POSITIONS} groups of positions"
    caption += ". The band reaches 1.96 standard errors to both sides, if windows are independent."
    infinite = int(np.count_nonzero(np.isinf(x)))
    if infinite:
        caption += f" Without {_rows(infinite)} where it is infinite."
    svg = _charts.line(name, "Position in the window", f"{what} (nats)", *found)
    return Chart(title, svg, caption)


def kl_by_confidence(buckets: Sequence[Bucket]) -> Chart | Note:
    from . import _charts

    title = "KL divergence by confidence"
    finite = [bucket for bucket in buckets if np.isfinite(bucket.kl)]
    if not finite:
        return Note(title, "It is infinite in each.")
    svg = _charts.bars(
        "kl-by-confidence",
        "Confidence of the base",
        "KL divergence (nats)",
        np.array([(bucket.lower, bucket.upper) for bucket in finite]),
        np.array([bucket.kl for bucket in finite]),
        np.array([bucket.standard_error for bucket in finite]),
    )
    sizes = ", ".join(f"{bucket.tokens:,}" for bucket in finite)
    caption = f"Means, with 1.96 standard errors by token to both sides. Rows of each bar: {sizes}."
    if len(finite) < len(buckets):
        caption += " Not shown: those with an infinite one."
    return Chart(title, svg, caption)


def reliability_chart(diagrams: Sequence[tuple[str, Reliability]], bins: int) -> Chart:
    from . import _charts

    svg = _charts.reliability("reliability", diagrams, bins)
    return Chart("Reliability", svg, RELIABLE.format(bins), is_wide=len(diagrams) > 1)


def bin_table(title: str, diagram: Reliability) -> Table:
    lines = [
        (f"{confidence:.4f}", f"{accuracy:.4f}", f"{accuracy - confidence:+.4f}", f"{size:,}")
        for size, confidence, accuracy in zip(*(x.tolist() for x in diagram), strict=True)
    ]
    return Table(title, ["Mean confidence", "Accuracy", "Difference", "Rows"], lines, is_wide=False)


def worst_table(statistics: TokenStatistics) -> Table:
    log_probs = statistics.log_prob[: statistics.done]
    lines = []
    for at in _statistics.smallest(log_probs, WORST).tolist():
        log_prob, max_log_prob = float(log_probs[at]), float(statistics.max_log_prob[at])
        lines.append(
            (
                f"{at:,}",
                str(statistics.target[at]),
                f"{0.0 - log_prob:.4f}",
                f"{np.exp(log_prob):.3g}",
                f"{statistics.rank[at] + 1:,}",
                str(statistics.argmax[at]),
                f"{np.exp(max_log_prob):.4f}",
            )
        )
    heads = ["Position", "Target", "Loss (nats)", "Probability", "Rank", "Most likely class", "Its probability"]
    return Table("Worst tokens", heads, lines, f"The {_rows(len(lines))} of the largest loss; positions count from 0.")


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"
