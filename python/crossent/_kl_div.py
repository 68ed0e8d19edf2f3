"""Kullback-Leibler divergence of given targets from given log-probabilities, and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, overload

from . import _core
from ._backward import documented

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from ._types import Array, EachRow, EachRowGradient, Loss, Number, ReducedKL, ReducedKLGradient, ReductionKL

    class _Options(TypedDict, total=False):
        log_target: bool
        axis: int | None
        denominator: float | None

    class _Reduced(_Options, ReducedKL): ...
    class _Each(_Options, EachRow): ...
    class _ReducedGradient(_Options, ReducedKLGradient): ...
    class _EachGradient(_Options, EachRowGradient): ...


@overload
def kl_div(log_probs: ArrayLike, target: ArrayLike, **options: Unpack[_Reduced]) -> Number: ...
@overload
def kl_div(log_probs: ArrayLike, target: ArrayLike, **options: Unpack[_Each]) -> Array: ...
@overload
def kl_div(log_probs: ArrayLike, target: ArrayLike, **options: Unpack[_ReducedGradient]) -> tuple[Number, Array]: ...
@overload
def kl_div(log_probs: ArrayLike, target: ArrayLike, **options: Unpack[_EachGradient]) -> tuple[Array, Array]: ...
def kl_div(
    log_probs: ArrayLike,
    target: ArrayLike,
    *,
    log_target: bool = False,
    axis: int | None = None,
    reduction: ReductionKL = "batchmean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
) -> Loss | tuple[Loss, Array]:
    """Kullback-Leibler divergence of `target` from given log-probabilities, in nats.

    `log_probs`, the first argument, is the distribution that is fitted and that the gradient is for; `target` is the
    reference, on the left in ``KL(target || exp(log_probs))``. Neither is renormalised: of rows that are not
    distributions, and of single elements, the value may be negative. From logits, `kl_div_with_logits` keeps the
    accuracy of small divergences.

    The formula for a log-probability ``l`` and the target ``t``, with ``0 * anything = 0``::

        loss = t * (log t - l)
        loss = exp(t) * (t - l)    with `log_target`

    With `axis`, a loss is the sum of these over the classes. ``"mean"`` divides the sum of all losses by the number of
    elements, which is not the divergence of a row; ``"batchmean"`` divides by the number of rows if `axis` is given and
    otherwise by the length of the first axis (1 for 0-d arrays).

    Parameters
    ----------
    log_probs : array_like of any shape; (N, C), (C,), or any shape with C along `axis`
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    target : array_like in the shape of `log_probs`
        Probabilities in [0, 1], or their logarithms with `log_target`; any of the dtypes of `log_probs`.
    log_target : bool, default False
        Whether `target` holds logarithms.
    axis : int, optional
        The class axis. The default is none: one loss per element.
    reduction : {"none", "mean", "sum", "batchmean"}, default "batchmean"
        What becomes of the losses of the rows or elements.
    denominator : float, optional
        Finite and > 0: replaces the denominator of ``"mean"``, as gradient accumulation over several batches needs.
    return_grad : bool, default False
        Whether the gradient with respect to `log_probs` is returned too. With ``reduction="none"`` it is that of the
        sum.
    grad_out : ndarray, optional
        Receives the gradient: the shape and dtype of `log_probs`, any strides. May be exactly an input of that shape
        and dtype. Needs `return_grad`. A `MemoryError` or Ctrl-C may leave it partly written.

    Returns
    -------
    loss : NumPy scalar, or ndarray with ``reduction="none"``
        Float32, or float64 for float64 `log_probs`. The array has the shape of `log_probs`, without `axis` if that is
        given. ``"mean"`` and ``"batchmean"`` of nothing are NaN.
    grad : ndarray in the shape of `log_probs`
        With `return_grad` only: `grad_out`, or a new array of the dtype and memory order of `log_probs`.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an argument has another type than above.
    ValueError
        If a shape or value is not as above, C is 0, or `grad_out` cannot be written in place or apart.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    References
    ----------
    S. Kullback and R. A. Leibler, On Information and Sufficiency, Annals of Mathematical Statistics 22 (1951), 79-86.

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> loss, grad = xe.kl_div(np.log([[0.5, 0.5]]), [[0.75, 0.25]], return_grad=True)
    >>> print(f"{loss:.6f}")
    0.130812
    >>> print(grad)
    [[-0.75 -0.25]]
    """
    return _core.kl_div(log_probs, target, log_target, axis, reduction, denominator, return_grad, grad_out)


@documented
def kl_div_backward(
    grad_output: ArrayLike,
    log_probs: ArrayLike,
    target: ArrayLike,
    *,
    log_target: bool = False,
    axis: int | None = None,
    reduction: ReductionKL = "batchmean",
    denominator: float | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient through `kl_div`.

    The vector-Jacobian product of ``kl_div(log_probs, target, ...)`` for the upstream gradient ``g``, with respect to
    the log-probabilities, which are free variables here and not tied to a sum.

    The formula for the target ``t``::

        out = -g * t / denominator
        out = -g * exp(t) / denominator    with `log_target`

    References
    ----------
    S. Kullback and R. A. Leibler, On Information and Sufficiency, Annals of Mathematical Statistics 22 (1951), 79-86:
    the derivative of the divergence.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.kl_div_backward(2.0, [[-1.0, -0.5]], [[0.75, 0.25]]))
    [[-1.5 -0.5]]
    """
    return _core.kl_div_backward(grad_output, log_probs, target, log_target, axis, reduction, denominator, out)
