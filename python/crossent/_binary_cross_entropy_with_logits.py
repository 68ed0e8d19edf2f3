"""Cross-entropy of binary targets under the sigmoid of logits, and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, overload

from . import _core
from ._backward import documented

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from ._types import Array, EachRow, EachRowGradient, Loss, Number, Reduced, ReducedGradient, Reduction

    class _Options(TypedDict, total=False):
        weight: ArrayLike | None
        pos_weight: ArrayLike | None
        label_smoothing: float
        denominator: float | None

    class _Reduced(_Options, Reduced): ...
    class _Each(_Options, EachRow): ...
    class _ReducedGradient(_Options, ReducedGradient): ...
    class _EachGradient(_Options, EachRowGradient): ...


@overload
def binary_cross_entropy_with_logits(logits: ArrayLike, target: ArrayLike, **options: Unpack[_Reduced]) -> Number: ...
@overload
def binary_cross_entropy_with_logits(logits: ArrayLike, target: ArrayLike, **options: Unpack[_Each]) -> Array: ...
@overload
def binary_cross_entropy_with_logits(
    logits: ArrayLike, target: ArrayLike, **options: Unpack[_ReducedGradient]
) -> tuple[Number, Array]: ...
@overload
def binary_cross_entropy_with_logits(
    logits: ArrayLike, target: ArrayLike, **options: Unpack[_EachGradient]
) -> tuple[Array, Array]: ...
def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
) -> Loss | tuple[Loss, Array]:
    """Cross-entropy of binary targets under the sigmoid of `logits`, in nats.

    One loss per element. The relative accuracy is full also for confident elements, whose loss and gradient are tiny.
    At infinite logits the loss is the limit: 0 where the logit is right, ``inf`` where it is wrong.

    The formula for a logit ``x`` of the target ``y``, with the weights ``w`` and ``pos_weight``, the smoothing ``e``
    and ``softplus(x) = log(1 + exp(x))``, which is ``-log(1 - sigmoid(x))``::

        y' = y * (1 - e) + e / 2
        loss = w * (pos_weight * y' * softplus(-x) + (1 - y') * softplus(x))

    A term whose coefficient is 0 is 0. ``"mean"`` divides the sum of the losses by the number of elements, whatever
    their weights.

    Parameters
    ----------
    logits : array_like of any shape
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    target : array_like in the shape of `logits`
        In [0, 1]; of a dtype as `logits`, an integer dtype or bool.
    weight : array_like, optional
        A weight per element, finite, of any sign, in the shape of `logits` or broadcastable to it; any of the dtypes of
        `logits`. The default is ones.
    pos_weight : array_like, optional
        A weight of the targets 1 alone, as `weight` but >= 0. The default is ones.
    label_smoothing : float, default 0.0
        The share of the target that is spread evenly over 0 and 1, in [0, 1].
    reduction : {"none", "mean", "sum"}, default "mean"
        What becomes of the losses of the elements.
    denominator : float, optional
        Finite and > 0: replaces the denominator of ``"mean"``, as gradient accumulation over several batches needs.
    return_grad : bool, default False
        Whether the gradient with respect to `logits` is returned too. With ``reduction="none"`` it is that of the sum.
    grad_out : ndarray, optional
        Receives the gradient: the shape and dtype of `logits`, any strides. May be exactly an input of that shape and
        dtype. Needs `return_grad`. A `MemoryError` or Ctrl-C may leave it partly written.

    Returns
    -------
    loss : NumPy scalar, or ndarray in the shape of `logits` with ``reduction="none"``
        Float32, or float64 for float64 `logits`. ``"mean"`` of no elements is NaN.
    grad : ndarray in the shape of `logits`
        With `return_grad` only: `grad_out`, or a new array of the dtype and memory order of `logits`.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an argument has another type than above.
    ValueError
        If a shape or value is not as above, or `grad_out` cannot be written in place or apart.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, equations 4.90 and 4.91.
    I. Goodfellow, Y. Bengio and A. Courville, Deep Learning, MIT Press 2016, section 6.2.2.2 (softplus).

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.binary_cross_entropy_with_logits([0.0, 17.0], [1, 1], reduction="none"))
    [6.93147181e-01 4.13993763e-08]
    """
    return _core.binary_cross_entropy_with_logits(
        logits, target, weight, pos_weight, label_smoothing, reduction, denominator, return_grad, grad_out
    )


@documented
def binary_cross_entropy_with_logits_backward(
    grad_output: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient through `binary_cross_entropy_with_logits`.

    The vector-Jacobian product of ``binary_cross_entropy_with_logits(logits, target, ...)`` for the upstream gradient
    ``g``, with respect to the logits.

    The formula for a logit ``x`` of the smoothed target ``y'``, with the weights ``w`` and ``pos_weight``::

        out = g * w * ((1 - y') * sigmoid(x) - pos_weight * y' * sigmoid(-x)) / denominator

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, equation 4.91.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.binary_cross_entropy_with_logits_backward([1.0, 2.0], [0.0, 0.0], [1, 0], reduction="none"))
    [-0.5  1. ]
    """
    return _core.binary_cross_entropy_with_logits_backward(
        grad_output, logits, target, weight, pos_weight, label_smoothing, reduction, denominator, out
    )
