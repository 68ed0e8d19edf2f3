"""The temperature of logits on disk, the search for it, and what it does to their figures."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from .._fit_temperature import warning_of
from .._numbers import max_passes as checked_passes
from ._calibration import Reliability, check_bins
from ._evaluate import block_index, reliability_of, summary
from ._inputs import open_rows, open_targets
from ._results import Calibration
from ._rows import Rows
from ._statistics import Blocks, mean_of, ordered_sum
from ._token_statistics import TokenStatistics

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._types import Array


FIRST_STEP = math.log(1.25)
SMALL_STEP = 1e-6  # of log T: the last secant makes the error far smaller
NARROW = 1e-7  # an interval of log T: where the loss is nearly flat, rounding errors keep steps from ever being small


class TemperatureSearch:
    """The secant method for the zero of ``log(mean_gap / target_gap)`` inside an interval of log T that holds it.

    Of the logits x of all rows, ``target_gap`` is the mean of ``max(x) - x[y]``, and ``mean_gap`` that of ``max(x)``
    less the mean of x under softmax(x / T). The loss rises with T where mean_gap is the larger. As a function of 1 / T
    the logarithm falls and is nearly straight: see docs/tutorial/3-temperature.md, whose Newton steps want the
    variance, too.
    """

    def __init__(self, low: float, high: float) -> None:
        self._bounds = low, high
        self._inside = [math.log(low), math.log(high)]
        self._last: tuple[float, float] | None = None
        self._was_secant = False
        self.temperature = min(max(1.0, low), high)
        """The one to be tried next, or in the end the result."""
        self.at_bound: Literal["lower", "upper"] | None = None
        self.is_found = False
        """Whether the temperature is the result: if `at_bound` is None, it may not have been tried."""

    def take(self, mean_gap: float, target_gap: float) -> None:
        """The gaps at `temperature`."""
        if mean_gap == target_gap:  # at a bound: both are 0, the other one of every row having underflowed
            self.is_found = True
            has_risen = self._inside[1] < math.log(self._bounds[1])
            self.at_bound = "lower" if has_risen and self.temperature == self._bounds[0] else None
            return
        rises = mean_gap > target_gap
        if self.temperature == self._bounds[0 if rises else 1]:
            self.at_bound = "lower" if rises else "upper"
            self.is_found = True
            return
        log_t = math.log(self.temperature)
        self._inside[1 if rises else 0] = log_t
        log_next = self._proposed(log_t, _log_ratio(mean_gap, target_gap))
        if abs(log_next - log_t) <= SMALL_STEP:
            self._find(math.exp(log_next))
        else:
            self._move(log_next, 0 if rises else 1)

    def _find(self, temperature: float) -> None:
        low, high = self._bounds
        self.is_found = True
        self.temperature = min(max(temperature, low), high)
        self.at_bound = "lower" if temperature < low else "upper" if temperature > high else None

    def _proposed(self, log_t: float, value: float) -> float:
        """NaN where the secant says nothing; the middle of the interval where the last one has helped little."""
        here = math.exp(-log_t), value
        last, self._last = self._last, here
        is_slow, self._was_secant = self._was_secant and last is not None and abs(value) > abs(last[1]) / 2, False
        if last is None and math.isfinite(value):
            return log_t - math.copysign(FIRST_STEP, value)
        if is_slow:
            return sum(self._inside) / 2
        if last is None or not math.isfinite(last[1] - value) or last[1] == value:
            return math.nan
        self._was_secant = True
        inverse = here[0] + value * (last[0] - here[0]) / (value - last[1])
        return -math.log(inverse) if inverse > 0 else math.inf

    def _move(self, log_t: float, towards: int) -> None:
        """To `log_t` where it is inside; else to a bound, to be tried once, or to the middle of the interval."""
        low, high = self._inside
        bound = self._bounds[towards]
        if low < log_t < high:
            self.temperature = math.exp(log_t)
        elif self._inside[towards] == math.log(bound):
            self.temperature = bound
        elif high - low > NARROW:
            self.temperature = math.exp((low + high) / 2)
        else:
            self.is_found = True


def _log_ratio(mean_gap: float, target_gap: float) -> float:
    """Of numbers that are not negative and not both 0."""
    if target_gap == 0:
        return math.inf
    return math.log(mean_gap / target_gap) if mean_gap > 0 else -math.inf


def calibrate(
    logits: Array | str | os.PathLike[str],
    target: Array | str | os.PathLike[str],
    *,
    ignore_index: int | None = -100,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    bounds: tuple[float, float] = (1e-3, 1e3),
    holdout: bool = False,
    blocks: int | ArrayLike | None = None,
    vocab_size: int | None = None,
    skip_nan: bool = False,
    bins: int = 15,
    rows_at_a_time: int | None = None,
    max_passes: int = 20,
) -> Calibration:
    """The temperature of the least loss of logits that may be larger than memory, and the figures before and after.

    What `fit_temperature` finds, for anything that `evaluate` reads. The logits are read by block, once for each
    temperature that is tried, six to eight times as a rule and at most `max_passes`; six numbers of each row are kept
    of the first and of the last of these passes. The result does not depend on `rows_at_a_time` or on the number of
    threads, to the last bit.

    The formula for rows ``x`` of the target ``y``::

        temperature = argmin_T mean of -log softmax(z / T)[y],  z = x, or softcap * tanh(x / softcap) + logit_bias

    where the mean loss is the mean entropy of ``softmax(z / T)``, as their difference is the derivative of the loss in
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
    softcap, logit_bias
        As for `evaluate`.
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
    max_passes : int, default 20
        How many times the logits are read at most, >= 1, or >= 2 if 1 is out of the bounds. The first pass is at
        temperature 1.

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

    Warns
    -----
    RuntimeWarning
        If the loss still falls beyond one of the bounds, or the search did not converge within `max_passes`.

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
    max_passes = check_search(bounds, max_passes)
    rows = open_rows(logits, vocab_size=vocab_size)
    labels = open_targets(target, rows.count)
    index = block_index(blocks, rows.count)

    def read(temperature: float) -> TokenStatistics:
        found = TokenStatistics(
            rows,
            labels,
            ignore_index=ignore_index,
            temperature=temperature,
            softcap=softcap,
            logit_bias=logit_bias,
            skip_nan=skip_nan,
        )
        for _ in found.read(rows_at_a_time):
            pass
        return found

    found = fit_and_judge(read, bounds, max_passes, split(rows, index, holdout), index, bins).result
    message = warning_of(found)
    if message is not None:
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return found


class Judged(NamedTuple):
    """A result, with the diagrams that a report shows."""

    result: Calibration
    before: Reliability
    after: Reliability


def check_search(bounds: tuple[float, float], max_passes: object) -> int:
    """How many passes there may be."""
    low, high = bounds
    if not 0 < low <= high < np.inf:
        raise ValueError(f"bounds is {bounds}: expected 0 < lower <= upper < inf")
    passes = checked_passes(max_passes)
    if passes == 1 and not low <= 1 <= high:
        both = "expected at least 2, as temperature 1 and one within the bounds are both read"
        raise ValueError(f"max_passes is 1 and bounds is {bounds}: {both}")
    return passes


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
    max_passes: int,
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
    if search.temperature != after.temperature:
        after, passes = read(search.temperature), 2
    while not search.is_found:
        search.take(*_gaps(after, fitted))
        if search.temperature == after.temperature or passes == max_passes:
            break
        after = read(search.temperature)
        passes += 1
    converged = search.is_found and search.temperature == after.temperature
    counted = before.counted(judged)
    change, error, block_error = mean_of(
        before.log_prob[counted].astype(np.float64) - after.log_prob[counted],
        Blocks.of(None if index is None else index[counted]),
    )
    result = Calibration(
        temperature=after.temperature,
        at_bound=search.at_bound if converged else None,
        converged=converged,
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
