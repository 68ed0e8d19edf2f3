"""Cross-entropy of binary targets under given probabilities, and its gradient."""

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
        log_floor: float | None
        denominator: float | None

    class _Reduced(_Options, Reduced): ...
    class _Each(_Options, EachRow): ...
    class _ReducedGradient(_Options, ReducedGradient): ...
    class _EachGradient(_Options, EachRowGradient): ...


@overload
def binary_cross_entropy(probs: ArrayLike, target: ArrayLike, **options: Unpack[_Reduced]) -> Number: ...
@overload
def binary_cross_entropy(probs: ArrayLike, target: ArrayLike, **options: Unpack[_Each]) -> Array: ...
@overload
def binary_cross_entropy(
    probs: ArrayLike, target: ArrayLike, **options: Unpack[_ReducedGradient]
) -> tuple[Number, Array]: ...
@overload
def binary_cross_entropy(
    probs: ArrayLike, target: ArrayLike, **options: Unpack[_EachGradient]
) -> tuple[Array, Array]: ...
def binary_cross_entropy(
    probs: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    log_floor: float | None = -100.0,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
) -> Loss | tuple[Loss, Array]:
    """Cross-entropy of binary targets under the probabilities `probs`, in nats.

    One loss per element. From logits, `binary_cross_entropy_with_logits` keeps the accuracy that a probability near 1
    has lost. The logarithms are floored, so that a certain and wrong probability has a finite loss.

    The formula for a probability ``p`` of the target ``y``, with the weight ``w``::

        loss = -w * (y * max(log p, log_floor) + (1 - y) * max(log(1 - p), log_floor))

    A term whose coefficient is 0 is 0. ``"mean"`` divides the sum of the losses by the number of elements, whatever
    their weights. The gradient is that of the loss without the floor, ``w * ((1 - y) / (1 - p) - y / p)`` with
    ``0 / 0 = 0``: infinite where `probs` is certain and wrong. (PyTorch keeps the divisor above 1e-12 instead.)

    Parameters
    ----------
    probs : array_like of any shape
        Probabilities of the target 1, in [0, 1]. Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides.
        Integers, bool and lists become float64.
    target : array_like in the shape of `probs`
        In [0, 1]; of a dtype as `probs`, an integer dtype or bool.
    log_floor : float or None, default -100.0
        The least value of a logarithm in the loss, at most 0. None is none: the exact loss, which may be infinite.
    weight, reduction, denominator, return_grad, grad_out
        As for `binary_cross_entropy_with_logits`, with `probs` in the place of `logits`.

    Returns
    -------
    loss : NumPy scalar, or ndarray in the shape of `probs` with ``reduction="none"``
        Float32, or float64 for float64 `probs`. ``"mean"`` of no elements is NaN.
    grad : ndarray in the shape of `probs`
        With `return_grad` only: `grad_out`, or a new array of the dtype and memory order of `probs`.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits`.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, equation 4.90.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.binary_cross_entropy([0.5, 0.25], [1, 0], reduction="none"))
    [0.69314718 0.28768207]
    >>> print(xe.binary_cross_entropy([0.0], [1]))
    100.0
    """
    return _core.binary_cross_entropy(probs, target, weight, log_floor, reduction, denominator, return_grad, grad_out)


@documented
def binary_cross_entropy_backward(
    grad_output: ArrayLike,
    probs: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    log_floor: float | None = -100.0,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient through `binary_cross_entropy`.

    The vector-Jacobian product of ``binary_cross_entropy(probs, target, ...)`` for the upstream gradient ``g``, with
    respect to the probabilities. The floor of the logarithms is left out of it.

    The formula for a probability ``p`` of the target ``y``, with the weight ``w`` and ``0 / 0 = 0``::

        out = g * w * ((1 - y) / (1 - p) - y / p) / denominator

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006: the derivative of equation 4.90.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.binary_cross_entropy_backward(1.0, [0.5, 0.75], [1, 0], reduction="sum"))
    [-2.  4.]
    """
    return _core.binary_cross_entropy_backward(
        grad_output, probs, target, weight, log_floor, reduction, denominator, out
    )
