"""How well logits predict their targets."""

from __future__ import annotations

import math
import operator
import os
from typing import TYPE_CHECKING

import numpy as np

from ._calibration import Reliability, check_bins, reliability
from ._inputs import open_rows, open_targets
from ._results import MEANS, Evaluation
from ._statistics import Blocks, Mean, errors_of, mean_of
from ._token_statistics import TokenStatistics

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._types import Array


def evaluate(
    logits: Array | str | os.PathLike[str],
    target: Array | str | os.PathLike[str],
    *,
    ignore_index: int | None = -100,
    temperature: float = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    blocks: int | ArrayLike | None = None,
    vocab_size: int | None = None,
    skip_nan: bool = False,
    bins: int = 15,
    rows_at_a_time: int | None = None,
) -> Evaluation:
    """How well logits predict their targets, with standard errors.

    The logits are read once, some rows at a time, from memory or from a file, by `row_statistics`; six numbers of each
    row are kept. The result does not depend on `rows_at_a_time` or on the number of threads, to the last bit.

    The formulas, with the probabilities ``p = softmax(z)`` of a row ``x`` and its target ``y``::

        z                     x / temperature, or (softcap * tanh(x / softcap) + logit_bias) / temperature
        loss                  mean of -log p[y]
        perplexity            exp(loss)
        bits_per_token        loss / log(2)
        mean_rank             mean of r = 1 + sum_c (z[c] > z[y]) + sum_{c < y} (z[c] == z[y])       1 is the best
        accuracy              mean of r <= 1; top5_accuracy and top10_accuracy of r <= 5 and r <= 10
        mean_reciprocal_rank  mean of 1 / r
        entropy               mean of -sum_c p[c] log p[c]
        brier_score           mean of sum_c (p[c] - (c == y))^2
        ece, mce              calibration_error(.., kind="equal_width"): sum_B |B| / N |acc(B) - conf(B)|; the maximum
        adaptive_ece          the first number of calibration_error(.., kind="equal_mass")

    The standard errors of the mean ``m`` of ``N`` numbers ``x[i]``, if each is independent of the others, and if those
    of the same one of ``B`` blocks are not (the cluster-robust error of a ratio estimator, as blocks differ in size)::

        standard_errors        sqrt(sum_i (x[i] - m)^2 / (N (N - 1)))
        block_standard_errors  sqrt(B / (B - 1) sum_b (sum_{i in b} (x[i] - m))^2) / N

    of perplexity, by the delta method, that of the loss times the perplexity. They are NaN of one row, or one block.

    Parameters
    ----------
    logits : array_like, (N, C), or path
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides, or a file of them in one of the formats of
        docs/how-to/evaluation.md.
    target : array_like, (N,), or path
        Class indices, of an integer dtype, in [0, C) or equal to `ignore_index`, or a file of them.
    ignore_index : int or None, default -100
        Rows of this target are left out, and counted. None: no row is left out.
    temperature : float, default 1.0
        The logits are divided by it. Finite and > 0.
    softcap : float, optional
        Finite and > 0: ``softcap * tanh(x / softcap)`` takes the place of the logits ``x``, as in the heads of some
        language models.
    logit_bias : array_like, (C,), optional
        A number per class that is added after the softcap: finite, or -inf for a class that is not allowed. With
        `vocab_size` there are so many numbers.
    blocks : int or array_like, (N,), optional
        What belongs together: windows of so many rows, or a number for each row, the same in rows of one document.
    vocab_size : int, optional
        Only so many classes are there; those behind them are padding.
    skip_nan : bool, default False
        Rows with a NaN or an infinite maximum are left out, and counted, instead of raising.
    bins : int, default 15
        The bins of the calibration errors.
    rows_at_a_time : int, optional
        The rows in a block of reading. The default is those of four million logits.

    Returns
    -------
    Evaluation
        The figures as attributes; ``standard_errors`` and ``block_standard_errors`` are dicts with those of each mean.
        ``as_dict()`` is for JSON, ``str()`` a table. A mean is that of float32 numbers, each within 4 ULP, or of
        float64 numbers for float64 logits.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an argument has another type than above.
    ValueError
        If a shape or value is not as above, no row counts, or a row has a NaN or an infinite maximum and `skip_nan` is
        False: it says which. Also for `softcap` and `logit_bias` of a file of log-probabilities.
    IndexError
        If a target is outside [0, C) and is not `ignore_index`.
    OSError
        If a file cannot be read.

    References
    ----------
    G. W. Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review 78(1), 1950;
    W. G. Cochran, Sampling Techniques, 3rd ed., 1977, chapters 6 and 9A, for means over blocks of unequal sizes;
    E. Miller, Adding Error Bars to Evals, 2024 (arXiv:2411.00640), for their use; see `calibration_error` for its own.

    Examples
    --------
    >>> import numpy as np
    >>> from crossent.evaluation import evaluate
    >>> logits = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 3.0], [4.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    >>> result = evaluate(logits, np.array([1, 2, 0, -100]))
    >>> result.tokens, result.ignored, round(result.loss, 4), round(result.mean_rank, 4)
    (3, 1, 0.7304, 1.6667)
    >>> print(f"{result.perplexity:.4f} +- {result.standard_errors['perplexity']:.4f}")
    2.0759 +- 0.8042
    """
    check_bins(bins)
    rows = open_rows(logits, vocab_size=vocab_size)
    labels = open_targets(target, rows.count)
    index = block_index(blocks, rows.count)
    statistics = TokenStatistics(
        rows,
        labels,
        ignore_index=ignore_index,
        temperature=temperature,
        softcap=softcap,
        logit_bias=logit_bias,
        skip_nan=skip_nan,
    )
    for _ in statistics.read(rows_at_a_time):
        pass
    return summary(statistics, index, bins)


def block_index(blocks: int | ArrayLike | None, count: int) -> Array | None:
    """The number of the block of each row."""
    if blocks is None:
        return None
    given = np.asarray(blocks)
    if given.dtype.kind not in "iu":
        raise TypeError(f"blocks has dtype {given.dtype}: expected an integer, or integers")
    if given.ndim == 0:
        length = operator.index(given[()])
        if length < 1:
            raise ValueError(f"blocks is {length}: expected a length >= 1, or the block of each row")
        return np.arange(count) // length
    if given.shape != (count,):
        raise ValueError(f"blocks has shape {given.shape}: expected ({count},)")
    return given


def summary(statistics: TokenStatistics, index: Array | None, bins: int, chosen: Array | None = None) -> Evaluation:
    """The figures of the rows that were read, or of those of them that are chosen by a mask of all rows."""
    done = statistics.done
    counted = statistics.counted(chosen)
    tokens, ignored, nan_rows = statistics.counts(counted, chosen)
    rank = statistics.rank[:done][counted]
    log_prob, max_log_prob, entropy, sum_of_squares = (
        x[:done][counted].astype(np.float64)
        for x in (statistics.log_prob, statistics.max_log_prob, statistics.entropy, statistics.sum_of_squares)
    )
    blocks = Blocks.of(None if index is None else index[:done][counted])
    classes = statistics.rows.classes
    means = dict(
        zip(MEANS, _means(log_prob, rank, entropy, _brier(log_prob, sum_of_squares, classes), blocks), strict=True)
    )
    standard_errors, block_standard_errors = errors_of(means)
    confidence = np.exp(max_log_prob)
    ece, mce = reliability(confidence, rank == 0, bins, "equal_width").errors()
    return Evaluation(
        tokens=tokens,
        ignored=ignored,
        nan_rows=nan_rows,
        infinite_losses=int(np.count_nonzero(np.isinf(log_prob))),
        classes=classes,
        temperature=statistics.temperature,
        softcap=statistics.logit_options.softcap,
        logit_bias_checksum=statistics.logit_options.checksum(),
        blocks=None if blocks is None else blocks.total,
        ece=ece,
        mce=mce,
        adaptive_ece=reliability(confidence, rank == 0, bins, "equal_mass").errors()[0],
        bins=bins,
        standard_errors=standard_errors,
        block_standard_errors=block_standard_errors,
        **{name: mean.value for name, mean in means.items()},
    )


def reliability_of(statistics: TokenStatistics, bins: int, chosen: Array | None = None) -> Reliability:
    """The diagram of the same rows, with bins of equal width."""
    counted = statistics.counted(chosen)
    confidence = np.exp(statistics.max_log_prob[: statistics.done][counted].astype(np.float64))
    return reliability(confidence, statistics.rank[: statistics.done][counted] == 0, bins, "equal_width")


def _means(log_prob: Array, rank: Array, entropy: Array, brier: Array, blocks: Blocks | None) -> list[Mean]:
    """In the order of MEANS."""
    loss = mean_of(0.0 - log_prob, blocks)
    perplexity = math.exp(loss.value) if loss.value < 709 else math.inf
    return [
        loss,
        loss.transformed(perplexity, perplexity),
        loss.transformed(loss.value / math.log(2), 1 / math.log(2)),
        *(mean_of((rank < k).astype(np.float64), blocks) for k in (1, 5, 10)),
        mean_of(rank + 1.0, blocks),
        mean_of(1 / (rank + 1.0), blocks),
        mean_of(entropy, blocks),
        mean_of(brier, blocks),
    ]


def _brier(log_prob: Array, sum_of_squares: Array, classes: int) -> Array:
    """``sum_of_squares + 1 - 2 p[y]``, as ``(1 - p[y])^2`` and the squares of the other probabilities.

    Of confident rows the rounding errors of `sum_of_squares` are larger than all the rest. The other probabilities add
    up to ``1 - p[y]``, which bounds their squares.
    """
    rest = -np.expm1(log_prob)
    others = sum_of_squares - np.exp(2 * log_prob)
    brier: Array = rest**2 + np.clip(others, rest**2 / max(classes - 1, 1), rest**2)
    return brier
