"""Normalisers of rows whose classes are in shards, from the states of all classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _core
from ._cross_entropy_states import nothing, shard_like

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from .._types import Array, Scalar
    from ._row_states import RowStates


def softmax(
    logits_shard: ArrayLike, states: RowStates, start: int = 0, *, axis: int = -1, out: Array | None = None
) -> Array:
    """The softmax of rows in a shard of their classes.

    The formula is that of `crossent.softmax`, at the temperature of the states::

        out[c] = exp(x[c] / T) / sum_k exp(x[k] / T)

    with the sum over all classes. It has the bits of one process if the states are `exact`.

    Parameters
    ----------
    logits_shard : array_like, (..., C_shard, ...)
        The logits of the classes from `start` on.
    states : RowStates
        Of all classes, from `merge`.
    start : int, default 0
        The first class of the shard.
    axis : int, default -1
        The class axis.
    out : ndarray, optional
        Receives the result: the shape and dtype of the shard. May be `logits_shard` itself.

    Returns
    -------
    ndarray in the shape and dtype of `logits_shard`

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `crossent.softmax`; ValueError also if classes are missing, or if the states are of other rows.

    References
    ----------
    M. Milakov and N. Gimelshein, Online normalizer calculation for softmax (2018).

    Examples
    --------
    >>> from crossent import parallel
    >>> states = parallel.partial([[0.0, 0.0]], n_classes=2)
    >>> print(parallel.softmax([[0.0, 0.0]], states))
    [[0.5 0.5]]
    """
    return _normalised(_core.softmax_of_shard, logits_shard, states, start, axis, out)


def log_softmax(
    logits_shard: ArrayLike, states: RowStates, start: int = 0, *, axis: int = -1, out: Array | None = None
) -> Array:
    """The logarithm of the softmax of rows in a shard of their classes.

    The formula is that of `crossent.log_softmax`, at the temperature of the states::

        out[c] = x[c] / T - log(sum_k exp(x[k] / T))

    with the sum over all classes. It has the bits of one process if the states are `exact`.

    Parameters
    ----------
    logits_shard : array_like, (..., C_shard, ...)
        The logits of the classes from `start` on.
    states : RowStates
        Of all classes, from `merge`.
    start : int, default 0
        The first class of the shard.
    axis : int, default -1
        The class axis.
    out : ndarray, optional
        Receives the result: the shape and dtype of the shard. May be `logits_shard` itself.

    Returns
    -------
    ndarray in the shape and dtype of `logits_shard`

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `crossent.log_softmax`; ValueError also if classes are missing, or if the states are of other rows.

    References
    ----------
    M. Milakov and N. Gimelshein, Online normalizer calculation for softmax (2018).

    Examples
    --------
    >>> from crossent import parallel
    >>> states = parallel.partial([[0.0, 0.0]], n_classes=2)
    >>> print(parallel.log_softmax([[0.0, 0.0]], states))
    [[-0.69314718 -0.69314718]]
    """
    return _normalised(_core.log_softmax_of_shard, logits_shard, states, start, axis, out)


def logsumexp(states: RowStates) -> Scalar | Array:
    """The logarithm of the sum of the exponentials of all logits of each row.

    The formula is that of `crossent.logsumexp`, which has the same bits if the states are `exact`.

    Parameters
    ----------
    states : RowStates
        Of all classes, at the temperature 1.

    Returns
    -------
    NumPy scalar or ndarray in the shape of the rows
        Float32, or float64 for float64 logits.

    Raises
    ------
    ValueError
        If classes are missing, or the temperature of the states is not 1.

    References
    ----------
    M. Milakov and N. Gimelshein, Online normalizer calculation for softmax (2018).

    Examples
    --------
    >>> from crossent import parallel
    >>> print(parallel.logsumexp(parallel.partial([[0.0, 0.0]], n_classes=2)))
    [0.69314718]
    """
    rows = states.rows
    if rows.temperature != 1:
        raise ValueError(f"the temperature of the states is {rows.temperature}: expected 1")
    return _core.logsumexp_of_shards(states.whole(), rows.place(), len(rows.shape))


def _normalised(
    core: Callable[..., Array], logits: object, states: RowStates, start: object, axis: object, out: object
) -> Array:
    shard, rows = shard_like(states, logits, start, axis), states.rows
    if not shard.ranges:
        return nothing(shard, out)
    return core(states.whole(), shard.place, shard.logits, shard.axis, rows.temperature, out)
