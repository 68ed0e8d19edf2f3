"""The temperature of logits on disk, and what it does to their figures."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._calibration import Reliability, check_bins
from ._calibration_result import Calibration
from ._evaluate import block_index, reliability_of, summary
from ._inputs import open_rows, open_targets
from ._rows import Rows
from ._sums import Blocks, mean_of, ordered_sum
from ._temperature_search import MOST_PASSES, TemperatureSearch
from ._token_statistics import TokenStatistics

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._types import Array


def calibrate(
    logits: Array | str | os.PathLike[str],
    target: Array | str | os.PathLike[str],
    *,
    ignore_index: int | None = -100,
    bounds: tuple[float, float] = (1e-3, 1e3),
    holdout: bool = False,
    blocks: int | ArrayLike | None = None,
    vocab_size: int | None = None,
    skip_nan: bool = False,
    bins: int = 15,
    rows_at_a_time: int | None = None,
) -> Calibration:
    """The temperature of the least loss of logits that may be larger than memory, and the figures before and after.

    What `fit_temperature` finds, for anything that `evaluate` reads. The logits are read by block, once for each
    temperature that is tried, six to eight times as a rule and at most 20; six numbers of each row are kept of the
    first and of the last of these passes. The result does not depend on `rows_at_a_time` or on the number of threads,
    to the last bit.

    The formula for rows ``x`` of the target ``y``::

        temperature = argmin_T mean of -log softmax(x / T)[y]

    where the mean loss is the mean entropy of ``softmax(x / T)``, as their difference is the derivative of the loss in
    ``log T``. It is found by the secant method in ``1 / T``.

    On the rows that it is fitted to, the figures after are a little too good: by about 1 / (2 N) nats for `N`
    independent rows. With `holdout` other rows are judged.

    Parameters
    ----------
    logits : array_like, (N, C), or path
        As `evaluate` takes them.
    target : array_like, (N,), or path
        Class indices, of an integer dtype, in [0, C) or equal to `ignore_index`, or a file of them.
    ignore_index : int or None, default -100
        Rows of this target are left out, and counted. None: no row is left out.
    bounds : (float, float), default (1e-3, 1e3)
        The least and the largest temperature, finite and > 0.
    holdout : bool, default False
        The temperature is fitted to every second block, the first one among them, and the figures are of the others;
        without `blocks`, every second row.
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
    Calibration
        The ``temperature``; ``at_bound``, ``"lower"``, ``"upper"`` or None; ``before`` and ``after``, each an
        `Evaluation`; and the paired ``loss_change`` with its standard errors. ``as_dict()`` is for JSON, ``str()`` a
        table.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an argument has another type than above.
    ValueError
        If a shape or value is not as above, no row is left to fit or to judge, the loss of a row that is fitted is
        infinite, or a row has a NaN or an infinite maximum and `skip_nan` is False: it says which.
    IndexError
        If a target is outside [0, C) and is not `ignore_index`.
    OSError
        If a file cannot be read.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, On Calibration of Modern Neural Networks, ICML 2017, section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from crossent.evaluation import calibrate
    >>> logits = np.array([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, 4.0]])
    >>> found = calibrate(logits, np.array([0, 0, 1, 0]))
    >>> print(f"{found.temperature:.4f}: {found.before.loss:.4f} to {found.after.loss:.4f}")
    3.6410: 1.0181 to 0.5623
    """
    check_bins(bins)
    check_bounds(bounds)
    rows = open_rows(logits, vocab_size=vocab_size)
    labels = open_targets(target, rows.count)
    index = block_index(blocks, rows.count)

    def read(temperature: float) -> TokenStatistics:
        found = TokenStatistics(rows, labels, ignore_index=ignore_index, temperature=temperature, skip_nan=skip_nan)
        for _ in found.read(rows_at_a_time):
            pass
        return found

    return fit_and_judge(read, bounds, split(rows, index, holdout), index, bins).result


class Judged(NamedTuple):
    """A result, with the diagrams that a report shows."""

    result: Calibration
    before: Reliability
    after: Reliability


def check_bounds(bounds: tuple[float, float]) -> None:
    low, high = bounds
    if not 0 < low <= high < np.inf:
        raise ValueError(f"bounds is {bounds}: expected 0 < lower <= upper < inf")


def split(rows: Rows, index: Array | None, holdout: bool) -> Array | None:
    """A mask of the rows that are fitted, where others are judged."""
    if not holdout:
        return None
    numbers = np.arange(rows.count) if index is None else np.unique(index, return_inverse=True)[1]
    fitted: Array = numbers % 2 == 0
    return fitted


def fit_and_judge(
    read: Callable[[float], TokenStatistics],
    bounds: tuple[float, float],
    fitted: Array | None,
    index: Array | None,
    bins: int,
) -> Judged:
    """`read` makes one pass, at a temperature."""
    judged = None if fitted is None else ~fitted
    search = TemperatureSearch(*bounds)
    before = read(1.0)
    _check_losses(before, fitted)
    before_figures = summary(before, index, bins, judged)
    after, passes = before, 1
    while True:
        if search.temperature != after.temperature:
            after = read(search.temperature)
            passes += 1
        if search.is_found or passes == MOST_PASSES:
            break
        search.take(*_gaps(after, fitted))
    counted = before.counted(judged)
    change, error, block_error = mean_of(
        before.log_prob[counted].astype(np.float64) - after.log_prob[counted],
        Blocks.of(None if index is None else index[counted]),
    )
    result = Calibration(
        temperature=after.temperature,
        at_bound=search.at_bound,
        converged=search.is_found,
        passes=passes,
        fitted_rows=int(np.count_nonzero(before.counted(fitted))),
        holdout=fitted is not None,
        before=before_figures,
        after=summary(after, index, bins, judged),
        loss_change=change,
        loss_change_standard_error=error,
        loss_change_block_standard_error=block_error,
    )
    return Judged(result, *(reliability_of(statistics, bins, judged) for statistics in (before, after)))


def _check_losses(statistics: TokenStatistics, fitted: Array | None) -> None:
    log_prob = statistics.log_prob[statistics.counted(fitted)]
    infinite = int(np.count_nonzero(np.isinf(log_prob)))
    if log_prob.size == 0:
        raise ValueError("no row is left to fit: all are ignored or have a NaN: expected at least one")
    if infinite:
        raise ValueError(f"the loss is infinite in {infinite} of the rows: no temperature changes that")


def _gaps(statistics: TokenStatistics, fitted: Array | None) -> tuple[float, float]:
    """What the search takes, both as a multiple of the same number: the maximum less the mean, and less the target.

    Of the logits divided by T, the maximum less the mean is ``entropy + max_log_prob``, as their mean is logsumexp less
    the entropy.
    """
    counted = statistics.counted(fitted)
    max_log_prob = statistics.max_log_prob[counted].astype(np.float64)
    mean_gap = ordered_sum(statistics.entropy[counted] + max_log_prob)
    target_gap = ordered_sum(max_log_prob - statistics.log_prob[counted])
    return max(mean_gap, 0.0), max(target_gap, 0.0)
