"""How far the predictions of one model are from those of another."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypedDict, overload

import numpy as np

from .._numbers import whole_number
from ._comparison import MEANS, Bucket, Comparison, StoredMass, WorstToken
from ._evaluate import block_index
from ._inputs import open_rows, open_targets
from ._llama import LlamaComparison, LlamaStatistics
from ._logits_file import LogProbRows, ScoredRows
from ._paired_statistics import Divergences, Side
from ._quantiles import quantiles
from ._sums import Blocks, Mean, errors_of, mean_of

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .._types import Array
    from ._rows import Rows

    Input = Array | str | os.PathLike[str] | Sequence[Array | str | os.PathLike[str]]

    class _Options(TypedDict, total=False):
        ignore_index: int | None
        blocks: int | ArrayLike | None
        vocab_size: int | None
        skip_nan: bool
        worst: int
        rows_at_a_time: int | None

CONFIDENCES = 10  # buckets
POSITIONS = 16
FLIPS = ("right_to_wrong", "wrong_to_right")


@overload
def compare(
    base: Input,
    other: Input,
    target: Input | None = None,
    *,
    llama: Literal[False] = False,
    **options: Unpack[_Options],
) -> Comparison: ...
@overload
def compare(
    base: Input, other: Input, target: Input | None = None, *, llama: Literal[True], **options: Unpack[_Options]
) -> LlamaComparison: ...
def compare(
    base: Input,
    other: Input,
    target: Input | None = None,
    *,
    ignore_index: int | None = -100,
    blocks: int | ArrayLike | None = None,
    vocab_size: int | None = None,
    skip_nan: bool = False,
    worst: int = 10,
    llama: bool = False,
    rows_at_a_time: int | None = None,
) -> Comparison | LlamaComparison:
    """How far the predictions of one model are from those of another, with standard errors.

    Both inputs are read once, some rows at a time, from memory or from files; some numbers of each row are kept, 38
    bytes or, of float64 logits, 66. The result does not depend on `rows_at_a_time` or on the number of threads, to the
    last bit.

    The formulas, with the probabilities ``b`` and ``q`` of a row in the base and the other, and its target ``y``::

        kl, reverse_kl         mean of KL(b || q) = sum_c b[c] log(b[c] / q[c]), and of KL(q || b): never below 0
        js                     mean of KL(b || m) / 2 + KL(q || m) / 2,  m = (b + q) / 2
        top1_agreement         mean of argmax(b) == argmax(q); of equal classes the first
        top5_, top10_agreement mean of the share of the 5 or 10 largest that b and q have in common
        base_perplexity        B = exp(mean of -log b[y]);  other_perplexity  Q = exp(mean of -log q[y])
        log_perplexity_ratio   log(Q / B), the mean of log(b[y] / q[y]);  perplexity_ratio  Q / B
        perplexity_difference  Q - B
        correlation            of -log b[y] and -log q[y]
        delta_p, rms_delta_p   mean of q[y] - b[y]; the root of the mean of its square
        base_accuracy          mean of argmax(b) == y;  other_accuracy  of argmax(q) == y
        right_to_wrong         mean of argmax(b) == y != argmax(q);  wrong_to_right  of argmax(b) != y == argmax(q)

    A quantile of ``n`` numbers in ascending order is that at ``f (n - 1)``, counted from 0, linear between two.

    Standard errors are those of `evaluate`, of functions of means by the delta method: the two losses of a row, which
    mostly rise and fall together, enter as their difference.

    Parameters
    ----------
    base, other : array_like, (N, C), or path, or a sequence of these
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides, or files of them in one of the formats of
        docs/evaluation.md. Where the base is a file of llama-perplexity, the other may have the rows of all positions.
    target : array_like, (N,), or path, optional
        Class indices, of an integer dtype, in [0, C) or equal to `ignore_index`, or a file of them. The default is
        those that a base of llama-perplexity has in its file, or none.
    ignore_index : int or None, default -100
        Rows of this target are left out, and counted. None: no row is left out.
    blocks : int or array_like, (N,), optional
        What belongs together: windows of so many rows, or a number for each row, the same in rows of one document.
    vocab_size : int, optional
        Only so many classes are there; those behind them are padding.
    skip_nan : bool, default False
        Rows with a NaN or an infinite maximum are left out, and counted, instead of raising.
    worst : int, default 10
        How many rows of the largest divergence are listed.
    llama : bool, default False
        Compute what ``llama-perplexity --kl-divergence`` does, as it does: the base, a file of that tool, is used as
        stored and cut at -16. `blocks` and `worst` are then without effect.
    rows_at_a_time : int, optional
        The rows in a block of reading. The default is those of four million logits.

    Returns
    -------
    Comparison, or LlamaComparison with `llama`
        The figures as attributes; ``as_dict()`` is for JSON, ``str()`` a few tables, or those of the tool.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an argument has another type than above.
    ValueError
        If a shape or value is not as above, the inputs have not the same rows and classes, no row counts, or a row has
        a NaN or an infinite maximum and `skip_nan` is False: it says which.
    IndexError
        If a target is outside [0, C) and is not `ignore_index`.
    OSError
        If a file cannot be read.

    References
    ----------
    S. Kullback and R. A. Leibler, On Information and Sufficiency, Annals of Mathematical Statistics 22 (1951), 79-86;
    J. Lin, Divergence Measures Based on the Shannon Entropy, IEEE Transactions on Information Theory 37 (1991),
    145-151; see `evaluate` for standard errors. The names of the tool's figures: ``tools/perplexity`` of llama.cpp.

    Examples
    --------
    >>> import numpy as np
    >>> from crossent.evaluation import compare
    >>> base = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [4.0, 1.0, 0.0]])
    >>> other = base + np.array([[0.0, 0.5, 0.0], [0.0, -1.0, 1.5], [0.0, 0.0, 0.0]])
    >>> result = compare(base, other, np.array([0, 1, 0]))
    >>> print(f"{result.kl:.4f} +- {result.standard_errors['kl']:.4f}, {result.perplexity_ratio:.4f}")
    0.1889 +- 0.1714, 1.4410
    >>> result.flips, result.worst[0].position
    ({'right_to_wrong': 1, 'wrong_to_right': 0}, 1)
    """
    check_worst(worst)
    opened = (open_rows(x, vocab_size=vocab_size, name=name) for x, name in ((base, "base"), (other, "other")))
    base_rows, other_rows = matched(*opened)
    labels = open_paired_targets(target, base, base_rows)
    index = block_index(blocks, base_rows.count)
    if llama:
        statistics = LlamaStatistics(base_rows, other_rows, labels, ignore_index=ignore_index, skip_nan=skip_nan)
        for _ in statistics.read(rows_at_a_time):
            pass
        return statistics.summary()
    found = Divergences(base_rows, other_rows, labels, ignore_index=ignore_index, skip_nan=skip_nan)
    for _ in found.read(rows_at_a_time):
        pass
    return summary(found, index, window_length(blocks), worst)


def check_worst(worst: int) -> None:
    if whole_number("worst", worst) < 0:
        raise ValueError(f"worst is {worst}: expected an integer >= 0")


def window_length(blocks: int | ArrayLike | None) -> int | None:
    return int(np.asarray(blocks)) if blocks is not None and np.ndim(blocks) == 0 else None


def matched(base: Rows, other: Rows) -> tuple[Rows, Rows]:
    """Both inputs, with the same rows and classes."""
    if isinstance(base, LogProbRows) and other.count == base.n_chunk * base.n_ctx:
        other = ScoredRows(other, base.n_ctx)
    if (other.count, other.classes) != (base.count, base.classes):
        expected = f"expected {base.count} of {base.classes}, as {base.name} has"
        raise ValueError(f"{other.name} has {other.count} rows of {other.classes} classes: {expected}")
    return base, other


def open_paired_targets(target: object, base: object, rows: Rows) -> Array | None:
    """The target of each row; where none are given, those in the files of the base, if it has any."""
    if target is None:
        return open_targets(base, rows.count) if rows.is_stored_log_probs else None
    return open_targets(target, rows.count)


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
