"""Negative log-likelihood of class indices under given log-probabilities, and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from . import _core
from ._backward import documented

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from ._types import (
        Array,
        EachRow,
        EachRowGradient,
        IndexLossOptions,
        Loss,
        Number,
        Reduced,
        ReducedGradient,
        Reduction,
    )

    class _Reduced(IndexLossOptions, Reduced): ...
    class _Each(IndexLossOptions, EachRow): ...
    class _ReducedGradient(IndexLossOptions, ReducedGradient): ...
    class _EachGradient(IndexLossOptions, EachRowGradient): ...


@overload
def nll_loss(log_probs: ArrayLike, target: ArrayLike, **options: Unpack[_Reduced]) -> Number: ...
@overload
def nll_loss(log_probs: ArrayLike, target: ArrayLike, **options: Unpack[_Each]) -> Array: ...
@overload
def nll_loss(log_probs: ArrayLike, target: ArrayLike, **options: Unpack[_ReducedGradient]) -> tuple[Number, Array]: ...
@overload
def nll_loss(log_probs: ArrayLike, target: ArrayLike, **options: Unpack[_EachGradient]) -> tuple[Array, Array]: ...
def nll_loss(
    log_probs: ArrayLike,
    target: ArrayLike,
    *,
    axis: int | None = None,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
) -> Loss | tuple[Loss, Array]:
    """Negative log-likelihood of class indices under given log-probabilities, in nats.

    `cross_entropy` without the softmax: the log-probabilities are taken as they are, and need not be normalised. An
    ignored row, or one of weight 0, is never read: its loss and gradient are 0.

    The formula for a row ``l`` of the target ``y``, with the class weights ``w`` and the row's weight ``v``::

        loss = v * w[y] * -l[y]

    ``"mean"`` divides the sum of the losses by the sum of ``v * w[y]`` over the rows that are not ignored.

    Parameters
    ----------
    log_probs : array_like, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    target, axis, weight, ignore_index, sample_weight, reduction, denominator, return_grad, grad_out
        As for `cross_entropy`, with `log_probs` in the place of `logits`; the target is of class indices.

    Returns
    -------
    loss : NumPy scalar, or ndarray in the shape of `target` with ``reduction="none"``
        Float32, or float64 for float64 `log_probs`. ``"mean"`` is NaN where its denominator is 0.
    grad : ndarray in the shape of `log_probs`
        With `return_grad` only: `grad_out`, or a new array of the dtype and memory order of `log_probs`.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `cross_entropy`.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, equation 4.108.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.nll_loss([[-0.5, -1.0], [-2.0, -0.25]], [0, 0]))
    1.25
    """
    return _core.nll_loss(
        log_probs, target, axis, weight, ignore_index, sample_weight, reduction, denominator,
        return_grad, grad_out,
    )


@documented
def nll_loss_backward(
    grad_output: ArrayLike,
    log_probs: ArrayLike,
    target: ArrayLike,
    *,
    axis: int | None = None,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient through `nll_loss`.

    The vector-Jacobian product of ``nll_loss(log_probs, target, ...)`` for the upstream gradient ``g``, with respect
    to the log-probabilities.

    The formula for a row of the target ``y``, in the terms of `nll_loss`::

        out[c] = -g * v * w[y] / denominator  for c = y, and 0 elsewhere

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006: the derivative of equation 4.108.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.nll_loss_backward(1.0, [[-0.5, -1.0], [-2.0, -0.25]], [0, 1]))
    [[-0.5  0. ]
     [ 0.  -0.5]]
    """
    return _core.nll_loss_backward(
        grad_output, log_probs, target, axis, weight, ignore_index, sample_weight, reduction, denominator, out,
    )
