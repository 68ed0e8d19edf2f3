"""Whether a classifier is right as often as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from .. import _validate
from .._numbers import whole_number
from .._results import RowStatistics

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._types import Array

    _Kind = Literal["equal_width", "equal_mass"]


class Reliability(NamedTuple):
    """What was said and what was so, in each bin that is not empty, in the order of the confidence."""

    size: Array
    """Rows in the bin."""
    confidence: Array
    """Their mean probability of the predicted class."""
    accuracy: Array
    """The share of them where the predicted class is the target."""

    def errors(self) -> tuple[float, float]:
        """The expected and the maximum calibration error."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.sum(self.size * gaps) / np.sum(self.size)), float(np.max(gaps))


def check_bins(bins: int) -> int:
    count = whole_number("bins", bins)
    if count < 1:
        raise ValueError(f"bins is {count}: expected an integer >= 1")
    return count


def reliability(confidence: Array, correct: Array, bins: int, kind: _Kind) -> Reliability:
    """The reliability diagram of rows of this confidence, float64, at least one."""
    if kind == "equal_width":  # the bin of each is an interval (lower, upper] of the confidence
        edges = np.arange(1, bins + 1) / bins
        index = np.minimum(np.searchsorted(edges, confidence), bins - 1)
    elif kind == "equal_mass":
        index = np.empty(confidence.size, np.intp)
        index[np.argsort(confidence, kind="stable")] = np.arange(confidence.size) * bins // confidence.size
    else:
        raise ValueError(f"kind is {kind!r}: expected 'equal_width' or 'equal_mass'")
    count = np.bincount(index, minlength=bins)
    used = count > 0
    count = count[used]
    return Reliability(
        count,
        np.bincount(index, weights=confidence, minlength=bins)[used] / count,
        np.bincount(index, weights=correct, minlength=bins)[used] / count,
    )


def calibration_error(
    probs_or_statistics: ArrayLike | RowStatistics,
    target: ArrayLike,
    *,
    bins: int = 15,
    kind: _Kind = "equal_width",
) -> tuple[float, float]:
    """The expected and the maximum calibration error of the most likely class of each row.

    The formula for rows sorted into bins ``B`` by their confidence, the largest probability, with the mean confidence
    ``conf(B)`` and the accuracy ``acc(B)`` of the rows of a bin that is not empty::

        ece = sum_B |B| / N |acc(B) - conf(B)|
        mce = max_B |acc(B) - conf(B)|

    Both depend on the bins, and the estimates are too large on average: of a perfectly calibrated classifier they are
    not 0 but what chance makes of `N` rows, so compare those of as many rows.

    Parameters
    ----------
    probs_or_statistics : array_like, (..., C), or RowStatistics
        Probabilities of classes along the last axis, of any strides and of a dtype that `row_statistics` takes; or the
        result of `row_statistics`, whose rows that were ignored or had a NaN are left out.
    target : array_like, (...)
        Class indices, of an integer dtype.
    bins : int, default 15
        How many bins there are.
    kind : {"equal_width", "equal_mass"}, default "equal_width"
        ``"equal_width"``: bin ``m`` of ``M`` has the confidences in ``((m - 1) / M, m / M]``. ``"equal_mass"``: the
        rows, sorted by their confidence, those of equal confidence in the order they have, are cut into bins of N / M:
        the adaptive calibration error.

    Returns
    -------
    (float, float)
        In [0, 1].

    Raises
    ------
    TypeError
        If a dtype is not supported, or `bins` is not an integer.
    ValueError
        If a shape or value is not as above, a probability is outside [0, 1] or NaN, or no row is left.
    IndexError
        If a target of probabilities is outside [0, C).

    References
    ----------
    M. Pakdaman Naeini, G. F. Cooper and M. Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning,
    AAAI 2015, for both; C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, On Calibration of Modern Neural Networks, ICML
    2017, for the bins; K. Nguyen and B. O'Connor, Posterior Calibration and Exploratory Analysis for Natural Language
    Processing Models, EMNLP 2015, for bins of equal mass.

    Examples
    --------
    >>> from crossent.evaluation import calibration_error
    >>> ece, mce = calibration_error([[0.9, 0.1], [0.75, 0.25], [0.2, 0.8], [0.3, 0.7]], [0, 1, 1, 0], bins=2)
    >>> print(f"{ece:.4f} {mce:.4f}")
    0.2875 0.2875
    """
    bins = check_bins(bins)
    if isinstance(probs_or_statistics, RowStatistics):
        predicted = np.asarray(probs_or_statistics.argmax)
        confidence = np.exp(np.asarray(probs_or_statistics.max_log_prob, np.float64))
    else:
        probs = np.asarray(probs_or_statistics)
        _validate.class_axis("probs", probs.shape, -1)
        if probs.dtype.kind in "biu":
            probs = probs.astype(np.float64)
        _validate.within("probs", probs, 0.0, 1.0)
        predicted = np.asarray(probs.argmax(axis=-1))
        confidence = np.asarray(probs.max(axis=-1), np.float64)
        check_target(np.asarray(target), probs.shape[-1], None)
    found = np.asarray(target)
    if found.shape != predicted.shape:
        raise ValueError(f"target has shape {found.shape}: expected {predicted.shape}")
    counted = predicted >= 0
    if not counted.any():
        raise ValueError("no row is left: expected at least one that is neither ignored nor has a NaN")
    correct = (predicted == found)[counted]
    return reliability(confidence[counted], correct, bins, kind).errors()


def check_target(target: Array, classes: int, ignore_index: int | None, start: int = 0) -> None:
    """Class indices, each in [0, classes) or ignored; `start` is the position of the first in the message."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"target has dtype {target.dtype}: expected class indices, of an integer dtype")
    outside = (target < 0) | (target >= classes)
    if ignore_index is not None:
        outside &= target != ignore_index
    if outside.any():
        at = tuple(np.argwhere(outside)[0])
        places = [at[0] + start, *at[1:]] if at else []
        ignored = "" if ignore_index is None else f" and not ignore_index ({ignore_index})"
        position = f"[{', '.join(map(str, places))}]" if at else ""
        raise IndexError(f"target{position} is {target[at]}, outside [0, {classes}){ignored}")
