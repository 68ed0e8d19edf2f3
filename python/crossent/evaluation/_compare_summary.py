"""The figures of `compare`, from what is kept of each row."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ._comparison import MEANS, Bucket, Comparison, StoredMass, WorstToken
from ._paired_statistics import Divergences, Side
from ._statistics import Blocks, Mean, errors_of, mean_of, quantiles

if TYPE_CHECKING:
    from .._types import Array

CONFIDENCES = 10  # buckets
POSITIONS = 16
FLIPS = ("right_to_wrong", "wrong_to_right")


def summary(statistics: Divergences, index: Array | None, window: int | None, worst: int) -> Comparison:
    """The figures of the rows that were read; `window` is the length of the blocks, where all have the same."""
    counted = statistics.counted()
    tokens, ignored, nan_rows = statistics.counts(counted)
    rows = np.flatnonzero(counted)
    ids = None if index is None else index[rows]
    blocks = Blocks.of(ids)
    kl = statistics.kl[rows].astype(np.float64)
    means = _divergence_means(statistics, rows, kl, blocks)
    delta_p = None
    if statistics.target is not None:
        delta_p = _probability(statistics.other, rows) - _probability(statistics.base, rows)
        means |= _target_means(statistics, rows, delta_p, blocks)
    standard_errors, block_standard_errors = errors_of(means)
    confidence = np.exp(statistics.base.max_log_prob[rows].astype(np.float64))
    return Comparison(
        tokens=tokens,
        ignored=ignored,
        nan_rows=nan_rows,
        infinite_kl=int(np.count_nonzero(np.isinf(kl))),
        classes=statistics.base.rows.classes,
        base_softcap=statistics.base.options.softcap,
        base_logit_bias_checksum=statistics.base.options.checksum(),
        other_softcap=statistics.other.options.softcap,
        other_logit_bias_checksum=statistics.other.options.checksum(),
        blocks=None if blocks is None else blocks.total,
        flips=None if delta_p is None else {name: round(means[name].value * tokens) for name in FLIPS},
        kl_quantiles=quantiles(kl),
        delta_p_quantiles=None if delta_p is None else quantiles(delta_p),
        kl_by_confidence=tuple(_by_confidence(kl, confidence, ids)),
        kl_by_position=None if window is None else tuple(_by_position(kl, rows % window, window, ids)),
        worst=tuple(_worst(statistics, rows, kl, worst)),
        base_mass=_mass(statistics.base, rows),
        other_mass=_mass(statistics.other, rows),
        standard_errors=standard_errors,
        block_standard_errors=block_standard_errors,
        **{name: means[name].value if name in means else None for name in MEANS},  # type: ignore[arg-type]
    )


def _divergence_means(statistics: Divergences, rows: Array, kl: Array, blocks: Blocks | None) -> dict[str, Mean]:
    k = min(5, statistics.base.rows.classes), min(10, statistics.base.rows.classes)
    same = statistics.base.argmax[rows] == statistics.other.argmax[rows]
    numbers = {
        "kl": kl,
        "reverse_kl": statistics.reverse_kl[rows],
        "js": statistics.js[rows],
        "top1_agreement": same,
        "top5_agreement": statistics.in_top5[rows] / k[0],
        "top10_agreement": statistics.in_top10[rows] / k[1],
    }
    return {name: mean_of(x.astype(np.float64), blocks) for name, x in numbers.items()}


def _target_means(statistics: Divergences, rows: Array, delta_p: Array, blocks: Blocks | None) -> dict[str, Mean]:
    assert statistics.target is not None
    target = statistics.target[rows]
    right, right_in_other = (side.argmax[rows] == target for side in (statistics.base, statistics.other))
    loss, loss_of_other = (-_log_prob(side, rows) for side in (statistics.base, statistics.other))
    shares = {
        "base_accuracy": right,
        "other_accuracy": right_in_other,
        "right_to_wrong": right & ~right_in_other,
        "wrong_to_right": ~right & right_in_other,
    }
    square = mean_of(delta_p**2, blocks)
    rms = math.sqrt(square.value)
    return {
        **perplexity_means(loss, loss_of_other, blocks),
        **{name: mean_of(x.astype(np.float64), blocks) for name, x in shares.items()},
        "delta_p": mean_of(delta_p, blocks),
        "rms_delta_p": square.transformed(rms, 0.5 / rms if rms > 0 else 0.0),
    }


def perplexity_means(loss: Array, loss_of_other: Array, blocks: Blocks | None) -> dict[str, Mean]:
    """Of the perplexities of both, and of how they differ."""
    means = mean_of(loss, blocks), mean_of(loss_of_other, blocks)
    base, other = (mean.transformed(exp(mean.value), exp(mean.value)) for mean in means)
    with np.errstate(invalid="ignore"):  # infinite losses
        log_ratio = mean_of(loss_of_other - loss, blocks)
        difference = mean_of(other.value * loss_of_other - base.value * loss, blocks)
    ratio = exp(log_ratio.value)
    return {
        "base_perplexity": base,
        "other_perplexity": other,
        "perplexity_ratio": log_ratio.transformed(ratio, ratio),
        "perplexity_difference": difference._replace(value=other.value - base.value),
        "log_perplexity_ratio": log_ratio,
        "correlation": correlation_of(loss, loss_of_other, blocks),
    }


def exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf if x >= 709 else math.nan


def correlation_of(x: Array, y: Array, blocks: Blocks | None) -> Mean:
    """Pearson's, with the error of its linear part: the mean of ``u v - r (u^2 + v^2) / 2`` of standardised numbers."""
    deviations = [a - mean_of(a, None).value if np.isfinite(a).all() else np.full(a.size, np.nan) for a in (x, y)]
    scales = [math.sqrt(mean_of(d * d, None).value) for d in deviations]
    if min(scales) == 0:  # one of them is constant
        return Mean(math.nan, math.nan, None if blocks is None else math.nan)
    u, v = (d / scale for d, scale in zip(deviations, scales, strict=True))
    r = mean_of(u * v, None).value
    return mean_of(u * v - r / 2 * (u * u + v * v), blocks)._replace(value=r)


def _log_prob(side: Side, rows: Array) -> Array:
    assert side.log_prob is not None
    return side.log_prob[rows].astype(np.float64)


def _probability(side: Side, rows: Array) -> Array:
    probability: Array = np.exp(_log_prob(side, rows))
    return probability


def _by_confidence(kl: Array, confidence: Array, ids: Array | None) -> Iterator[Bucket]:
    edges = np.arange(1, CONFIDENCES + 1) / CONFIDENCES
    which = np.minimum(np.searchsorted(edges, confidence), CONFIDENCES - 1)
    for k, upper in enumerate(edges.tolist()):
        yield from _bucket(kl, which == k, ids, k / CONFIDENCES, upper)


def _by_position(kl: Array, position: Array, window: int, ids: Array | None) -> Iterator[Bucket]:
    total = min(window, POSITIONS)
    starts = [-(-k * window // total) for k in range(total + 1)]
    for start, stop in pairwise(starts):
        yield from _bucket(kl, (position >= start) & (position < stop), ids, start, stop - 1)


def _bucket(kl: Array, chosen: Array, ids: Array | None, lower: float, upper: float) -> Iterator[Bucket]:
    if chosen.any():
        mean = mean_of(kl[chosen], Blocks.of(None if ids is None else ids[chosen]))
        yield Bucket(lower, upper, int(np.count_nonzero(chosen)), *mean)


def _worst(statistics: Divergences, rows: Array, kl: Array, count: int) -> Iterator[WorstToken]:
    base, other = statistics.base, statistics.other
    for at in np.argsort(-kl, kind="stable")[:count].tolist():
        row = rows[at : at + 1]
        target = None if statistics.target is None else int(statistics.target[row][0])
        yield WorstToken(
            position=int(row[0]),
            kl=float(kl[at]),
            target=target,
            base_probability=None if target is None else float(_probability(base, row)[0]),
            other_probability=None if target is None else float(_probability(other, row)[0]),
            base_argmax=int(base.argmax[row][0]),
            other_argmax=int(other.argmax[row][0]),
            base_confidence=math.exp(base.max_log_prob[row][0]),
            other_confidence=math.exp(other.max_log_prob[row][0]),
        )


def _mass(side: Side, rows: Array) -> StoredMass | None:
    if side.mass is None:
        return None
    mass = side.mass[rows]
    return StoredMass(mean_of(mass, None).value, float(mass.min()), float(mass.max()))
