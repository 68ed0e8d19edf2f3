"""What each row of logits predicts, and the gradient of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._results import RowStatistics
    from ._types import Array


def row_statistics(
    logits: ArrayLike,
    target: ArrayLike | None = None,
    *,
    axis: int = -1,
    ignore_index: int | None = -100,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    top_k: int = 0,
    n_classes: int | None = None,
) -> RowStatistics:
    """What the softmax of each row of logits says of its target, of its most likely classes and of all of them.

    The numbers from which evaluations are made: loss and perplexity, accuracy and top-k accuracy, mean rank,
    calibration, Brier score. The logits are read once, and nothing of their size is made.

    The formulas for a row ``x`` of the target ``y``, with the probabilities ``p = softmax(z)``::

        z = x / temperature, or (softcap * tanh(x / softcap) + logit_bias) / temperature
        log_prob       = log(p[y])
        rank           = sum_c (z[c] > z[y]) + sum_{c < y} (z[c] == z[y])      0: y is the argmax
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
    temperature : float or array_like, default 1.0
        Finite and > 0; divides the logits. An array has one for each row, as for `cross_entropy`.
    softcap, logit_bias
        As for `cross_entropy`; a bias has `n_classes` numbers, where they are given.
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
    return _core.row_statistics(
        logits, target, axis, ignore_index, temperature, softcap, logit_bias, top_k, n_classes)


def row_statistics_backward(
    logits: ArrayLike,
    target: ArrayLike | None = None,
    *,
    log_prob: ArrayLike | None = None,
    entropy: ArrayLike | None = None,
    logsumexp: ArrayLike | None = None,
    axis: int = -1,
    ignore_index: int | None = -100,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    n_classes: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient through `row_statistics`.

    The sum of the vector-Jacobian products of the three statistics that have a gradient, with respect to the logits,
    for the upstream gradients ``g1`` of ``log_prob``, ``g2`` of ``entropy`` and ``g3`` of ``logsumexp``: what policy
    gradients need, whose losses are functions of these numbers. An entry is within a few ULP of the largest of its
    terms, also in confident rows, where ``1 - p[y]`` and ``log(p[c]) + H`` are tiny.

    The formula for a row ``x`` of the target ``y``, with the ``p`` of `row_statistics` and the entropy ``H``; with a
    softcap times ``1 - tanh(x[c] / softcap)^2``::

        out[c] = (g1 * ((c == y) - p[c])  -  g2 * p[c] * (log(p[c]) + H)  +  g3 * p[c]) / temperature

    Parameters
    ----------
    logits, target, axis, ignore_index, temperature, softcap, logit_bias, n_classes
        As for `row_statistics`. Entries of padding are 0.
    log_prob, entropy, logsumexp : array_like, optional
        The upstream gradients, in the shape of `logits` without the class axis; any of the dtypes of `logits`. At least
        one of them is given; `log_prob` needs a target.
    out : ndarray, optional
        Receives the result: the shape and dtype of `logits`, any strides. May be exactly an input of that shape and
        dtype. A `MemoryError` or Ctrl-C may leave it partly written.

    Returns
    -------
    ndarray in the shape of `logits`
        `out` if it was given; else a new array of the dtype and memory order of `logits`. A row that is ignored, or
        whose upstream gradients are all 0, is not read: its entries are 0. They are NaN in other rows with a NaN or an
        infinite maximum.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `row_statistics`; ValueError also if no upstream gradient is given, or that of `log_prob` without a target,
        or if one has another shape than the rows.

    References
    ----------
    R. J. Williams and J. Peng, Function Optimization Using Connectionist Reinforcement Learning Algorithms, Connection
    Science 3(3), 1991, for the entropy in policy gradients.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.row_statistics_backward([[0.0, 0.0], [2.0, 0.0]], [1, 0], log_prob=[1.0, 0.0], entropy=[0.0, 1.0]))
    [[-0.5         0.5       ]
     [-0.20998717  0.20998717]]
    """
    return _core.row_statistics_backward(
        logits, target, log_prob, entropy, logsumexp, axis, ignore_index, temperature, softcap, logit_bias, n_classes,
        out)
