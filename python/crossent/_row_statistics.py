"""What each row of logits predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._results import RowStatistics


def row_statistics(
    logits: ArrayLike,
    target: ArrayLike | None = None,
    *,
    axis: int = -1,
    ignore_index: int | None = -100,
    temperature: float = 1.0,
    top_k: int = 0,
    n_classes: int | None = None,
) -> RowStatistics:
    """What the softmax of each row of logits says of its target, of its most likely classes and of all of them.

    The numbers from which evaluations are made: loss and perplexity, accuracy and top-k accuracy, mean rank,
    calibration, Brier score. The logits are read once, and nothing of their size is made.

    The formulas for a row ``x`` with the probabilities ``p = softmax(x / temperature)`` and the target ``y``::

        log_prob       = log(p[y])
        rank           = sum_c (x[c] > x[y]) + sum_{c < y} (x[c] == x[y])      0: y is the argmax
        entropy        = -sum_c p[c] log(p[c])
        sum_of_squares = sum_c p[c]^2                                           the Brier score is this + 1 - 2 p[y]

    Parameters
    ----------
    logits : array_like
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    target : array_like, optional
        Class indices in the shape of `logits` without the class axis, of an integer dtype, in [0, C) or equal to
        `ignore_index`.
    axis : int, default -1
        The class axis.
    ignore_index : int or None, default -100
        Rows of this target are not looked at. None: no row is left out.
    temperature : float, default 1.0
        The logits are divided by it. Finite and > 0.
    top_k : int, default 0
        How many of the most likely classes of each row are wanted, at most C.
    n_classes : int, optional
        Only so many classes are there; those behind them are padding. The default is all.

    Returns
    -------
    RowStatistics
        A named tuple of arrays in the shape of `logits` without the class axis, described in the class. ``rank``,
        ``argmax`` and ``top_k`` are integers (intp), the others float64 for float64 logits and float32 otherwise,
        in nats. In rows that are ignored, and in those with a NaN or an infinite maximum, they are -1 and NaN.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an argument has another type than above.
    ValueError
        If a shape or value is not as above, or C is 0.
    IndexError
        If a target is outside [0, C) and is not `ignore_index`.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    References
    ----------
    G. W. Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review 78(1), 1950, for
    the sum of squares.

    Examples
    --------
    >>> import crossent as xe
    >>> s = xe.row_statistics([[2.0, 1.0, 0.0], [0.0, 3.0, 3.0]], [1, 2], top_k=2)
    >>> s.rank, s.argmax
    (array([1, 1]), array([0, 1]))
    >>> s.log_prob.round(4)
    array([-1.4076, -0.7177])
    >>> s.top_k.tolist()
    [[0, 1], [1, 2]]
    """
    return _core.row_statistics(logits, target, axis, ignore_index, temperature, top_k, n_classes)
