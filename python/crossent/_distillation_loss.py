"""Distillation: divergence from a teacher plus cross-entropy of targets, and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from . import _core
from ._backward import documented

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from ._types import (
        Array,
        Divergence,
        EachRow,
        EachRowGradient,
        IndexLossOptions,
        LogitOptions,
        Loss,
        Number,
        Reduced,
        ReducedGradient,
        Reduction,
        TeacherLogitOptions,
    )

    class _Options(IndexLossOptions, LogitOptions, TeacherLogitOptions, total=False):
        alpha: float | None
        scale_by_temperature: bool
        divergence: Divergence
        beta: float
        label_smoothing: float
        z_loss: float

    class _Reduced(_Options, Reduced): ...
    class _Each(_Options, EachRow): ...
    class _ReducedGradient(_Options, ReducedGradient): ...
    class _EachGradient(_Options, EachRowGradient): ...


@overload
def distillation_loss(
    logits: ArrayLike, teacher_logits: ArrayLike, target: ArrayLike | None = None, **options: Unpack[_Reduced]
) -> Number: ...
@overload
def distillation_loss(
    logits: ArrayLike, teacher_logits: ArrayLike, target: ArrayLike | None = None, **options: Unpack[_Each]
) -> Array: ...
@overload
def distillation_loss(
    logits: ArrayLike, teacher_logits: ArrayLike, target: ArrayLike | None = None, **options: Unpack[_ReducedGradient]
) -> tuple[Number, Array]: ...
@overload
def distillation_loss(
    logits: ArrayLike, teacher_logits: ArrayLike, target: ArrayLike | None = None, **options: Unpack[_EachGradient]
) -> tuple[Array, Array]: ...
def distillation_loss(
    logits: ArrayLike,
    teacher_logits: ArrayLike,
    target: ArrayLike | None = None,
    *,
    axis: int | None = None,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    teacher_softcap: float | None = None,
    teacher_logit_bias: ArrayLike | None = None,
    alpha: float | None = None,
    scale_by_temperature: bool = True,
    divergence: Divergence = "forward",
    beta: float = 0.5,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
) -> Loss | tuple[Loss, Array]:
    """Divergence from a teacher plus cross-entropy of targets, in nats.

    Both terms, and the gradient with respect to the logits of the student, in one pass. An ignored row adds to neither
    term. With ``alpha=0`` it is `cross_entropy`, with ``alpha=1`` it is ``T^2`` times `kl_div_with_logits`.

    The formula for a row, with the temperature ``T``, the divergence ``D`` of `kl_div_with_logits` and the loss ``CE``
    of `cross_entropy`, at the temperature 1::

        loss = alpha * T^2 * D(logits, teacher_logits) + (1 - alpha) * CE(logits, target)

    ``"mean"`` divides the sum of the first term by the sum of the row weights over the rows that are not ignored, and
    that of the second by the denominator of `cross_entropy`, which differs under class weights.

    Parameters
    ----------
    logits : array_like, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Of the student. Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists
        become float64.
    teacher_logits : array_like in the shape of `logits`
        Any of the dtypes of `logits`.
    target : array_like, optional
        Class indices or class probabilities, as for `cross_entropy`. Without it there is the divergence alone.
    axis : int, optional
        The class axis. The default is 1, or 0 for 1-D logits.
    temperature : float or array_like, default 1.0
        Finite and > 0; divides both logits, in the divergence only, of which ``T^2`` leaves nothing near 0. An array
        has one for each row: the shape of `logits` without the class axis, or one that broadcasts to it.
    softcap, logit_bias
        As for `cross_entropy`, of `logits` in both terms.
    teacher_softcap, teacher_logit_bias
        The same of `teacher_logits`.
    alpha : float, optional
        The share of the divergence, in [0, 1]. The default is 0.5 with `target` and 1 without, where nothing else fits.
    scale_by_temperature : bool, default True
        Whether the divergence has the factor ``T^2``, with which its gradient does not fade as ``T`` grows.
    divergence : {"forward", "reverse", "js"}, default "forward"
        As for `kl_div_with_logits`.
    beta : float, default 0.5
        As for `kl_div_with_logits`.
    weight, ignore_index, label_smoothing, z_loss
        As for `cross_entropy`; the defaults only without `target`. The class weights do not enter the divergence.
    sample_weight : array_like, optional
        A weight per row, of both terms, as for `cross_entropy`.
    reduction : {"none", "mean", "sum"}, default "mean"
        What becomes of the losses of the rows.
    denominator : float, optional
        Finite and > 0: replaces both denominators of ``"mean"``, as gradient accumulation over several batches needs.
    return_grad : bool, default False
        Whether the gradient with respect to `logits` is returned too. With ``reduction="none"`` it is that of the sum.
    grad_out : ndarray, optional
        Receives the gradient: the shape and dtype of `logits`, any strides. May be exactly an input of that shape and
        dtype. Needs `return_grad`. A `MemoryError` or Ctrl-C may leave it partly written.

    Returns
    -------
    loss : NumPy scalar, or ndarray in the shape of `logits` without the class axis with ``reduction="none"``
        Float32, or float64 for float64 `logits`. ``"mean"`` is NaN where a denominator is 0, as for an empty batch.
    grad : ndarray in the shape of `logits`
        With `return_grad` only: `grad_out`, or a new array of the dtype and memory order of `logits`.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `cross_entropy` and `kl_div_with_logits`; ValueError also if an argument needs a target and there is none.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531, section 2.
    R. Agarwal et al., On-Policy Distillation of Language Models, ICLR 2024, arXiv:2306.13649 (reverse, js).

    Examples
    --------
    >>> import crossent as xe
    >>> teacher = [[0.0, float("-inf")]]
    >>> loss, grad = xe.distillation_loss([[0.0, 0.0]], teacher, [0], temperature=2.0, return_grad=True)
    >>> print(f"{loss:.6f}")
    1.732868
    >>> print(grad)
    [[-0.75  0.75]]
    """
    return _core.distillation_loss(
        logits, teacher_logits, target, axis, temperature, softcap, logit_bias, teacher_softcap, teacher_logit_bias,
        alpha, scale_by_temperature, divergence, beta, weight, ignore_index, label_smoothing, z_loss, sample_weight,
        reduction, denominator, return_grad, grad_out,
    )


@documented
def distillation_loss_backward(
    grad_output: ArrayLike,
    logits: ArrayLike,
    teacher_logits: ArrayLike,
    target: ArrayLike | None = None,
    *,
    axis: int | None = None,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    teacher_softcap: float | None = None,
    teacher_logit_bias: ArrayLike | None = None,
    alpha: float | None = None,
    scale_by_temperature: bool = True,
    divergence: Divergence = "forward",
    beta: float = 0.5,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient through `distillation_loss`.

    The vector-Jacobian product of ``distillation_loss(logits, teacher_logits, target, ...)`` for the upstream gradient
    ``g``, with respect to the logits of the student. Ignored rows have gradient 0 whatever their ``g`` is.

    The formula, with the results of the two backward functions for the same arguments::

        out = alpha * T^2 * kl_div_with_logits_backward(g, ...) + (1 - alpha) * cross_entropy_backward(g, ...)

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531, equation 2.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.distillation_loss_backward(2.0, [[0.0, 0.0]], [[0.0, float("-inf")]], [0], temperature=2.0))
    [[-1.5  1.5]]
    """
    return _core.distillation_loss_backward(
        grad_output, logits, teacher_logits, target, axis, temperature, softcap, logit_bias, teacher_softcap,
        teacher_logit_bias, alpha, scale_by_temperature, divergence, beta, weight, ignore_index, label_smoothing,
        z_loss, sample_weight, reduction, denominator, out,
    )
