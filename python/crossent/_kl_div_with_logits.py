"""Divergence of two softmax distributions, a student's and a teacher's, and its gradient."""

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
        LogitOptions,
        Loss,
        Number,
        ReducedKL,
        ReducedKLGradient,
        ReductionKL,
        TeacherLogitOptions,
    )

    class _Options(LogitOptions, TeacherLogitOptions, total=False):
        axis: int | None
        divergence: Divergence
        beta: float
        sample_weight: ArrayLike | None
        denominator: float | None

    class _Reduced(_Options, ReducedKL): ...
    class _Each(_Options, EachRow): ...
    class _ReducedGradient(_Options, ReducedKLGradient): ...
    class _EachGradient(_Options, EachRowGradient): ...


@overload
def kl_div_with_logits(logits: ArrayLike, teacher_logits: ArrayLike, **options: Unpack[_Reduced]) -> Number: ...
@overload
def kl_div_with_logits(logits: ArrayLike, teacher_logits: ArrayLike, **options: Unpack[_Each]) -> Array: ...
@overload
def kl_div_with_logits(
    logits: ArrayLike, teacher_logits: ArrayLike, **options: Unpack[_ReducedGradient]
) -> tuple[Number, Array]: ...
@overload
def kl_div_with_logits(
    logits: ArrayLike, teacher_logits: ArrayLike, **options: Unpack[_EachGradient]
) -> tuple[Array, Array]: ...
def kl_div_with_logits(
    logits: ArrayLike,
    teacher_logits: ArrayLike,
    *,
    axis: int | None = None,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    teacher_softcap: float | None = None,
    teacher_logit_bias: ArrayLike | None = None,
    divergence: Divergence = "forward",
    beta: float = 0.5,
    sample_weight: ArrayLike | None = None,
    reduction: ReductionKL = "batchmean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
) -> Loss | tuple[Loss, Array]:
    """Divergence of the softmax of `logits` and that of `teacher_logits`, in nats.

    One loss per row, never negative but by its weight, and exactly 0 for equal rows. `logits`, the first argument, is
    the student, which the gradient is for; the teacher is a constant.

    The formula for rows ``x`` and ``z`` of logits and teacher logits, with the temperature ``T`` and the row's weight
    ``v``; ``KL(a || b) = sum_c a[c] * log(a[c] / b[c])``::

        s = softmax(x / T),  t = softmax(z / T),  m = beta * t + (1 - beta) * s
        "forward":  loss = v * KL(t || s)
        "reverse":  loss = v * KL(s || t)
        "js":       loss = v * (beta * KL(t || m) + (1 - beta) * KL(s || m))

    There is no factor ``T^2``, which `distillation_loss` has. ``"mean"`` and ``"batchmean"`` are the same: they divide
    the sum of the losses by the sum of ``v``.

    Parameters
    ----------
    logits : array_like, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    teacher_logits : array_like in the shape of `logits`
        Any of the dtypes of `logits`.
    axis : int, optional
        The class axis. The default is 1, or 0 for 1-D logits.
    temperature : float or array_like, default 1.0
        Finite and > 0; divides both logits. An array has one for each row: the shape of `logits` without the class
        axis, or one that broadcasts to it. Near 0 both distributions are one-hot, over all maxima alike: the loss may
        be infinite then, and so may gradients, which are over ``T``.
    softcap, logit_bias
        As for `cross_entropy`, of `logits`.
    teacher_softcap, teacher_logit_bias
        The same of `teacher_logits`.
    divergence : {"forward", "reverse", "js"}, default "forward"
        Which divergence: the forward or reverse one of Kullback and Leibler, or the one of Jensen and Shannon.
    beta : float, default 0.5
        The share of the teacher in the mixture of ``"js"``: in (0, 1). Without effect, in [0, 1], otherwise.
    sample_weight : array_like, optional
        A weight per row, finite, of any sign, in the shape of `logits` without the class axis or broadcastable to it;
        any of the dtypes of `logits`. The default is ones.
    reduction : {"none", "mean", "sum", "batchmean"}, default "batchmean"
        What becomes of the losses of the rows.
    denominator : float, optional
        Finite and > 0: replaces the denominator of ``"mean"``, as gradient accumulation over several batches needs.
    return_grad : bool, default False
        Whether the gradient with respect to `logits` is returned too. With ``reduction="none"`` it is that of the sum.
    grad_out : ndarray, optional
        Receives the gradient: the shape and dtype of `logits`, any strides. May be `logits` itself, or
        `teacher_logits` of that dtype. Needs `return_grad`. A `MemoryError` or Ctrl-C may leave it partly written.

    Returns
    -------
    loss : NumPy scalar, or ndarray in the shape of `logits` without the class axis with ``reduction="none"``
        Float32, or float64 for float64 `logits`. ``"mean"`` is NaN where its denominator is 0, as for an empty batch.
    grad : ndarray in the shape of `logits`
        With `return_grad` only: `grad_out`, or a new array of the dtype and memory order of `logits`.

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
    J. Lin, Divergence Measures Based on the Shannon Entropy, IEEE Transactions on Information Theory 37 (1991),
    145-151.
    R. Agarwal et al., On-Policy Distillation of Language Models, ICLR 2024, arXiv:2306.13649 (the weight `beta`).

    Examples
    --------
    >>> import crossent as xe
    >>> loss, grad = xe.kl_div_with_logits([[0.0, 0.0]], [[0.0, float("-inf")]], return_grad=True)
    >>> print(f"{loss:.6f}")
    0.693147
    >>> print(grad)
    [[-0.5  0.5]]
    """
    return _core.kl_div_with_logits(
        logits, teacher_logits, axis, temperature, softcap, logit_bias, teacher_softcap, teacher_logit_bias,
        divergence, beta, sample_weight, reduction, denominator, return_grad, grad_out,
    )


@documented
def kl_div_with_logits_backward(
    grad_output: ArrayLike,
    logits: ArrayLike,
    teacher_logits: ArrayLike,
    *,
    axis: int | None = None,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    teacher_softcap: float | None = None,
    teacher_logit_bias: ArrayLike | None = None,
    divergence: Divergence = "forward",
    beta: float = 0.5,
    sample_weight: ArrayLike | None = None,
    reduction: ReductionKL = "batchmean",
    denominator: float | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient through `kl_div_with_logits`.

    The vector-Jacobian product of ``kl_div_with_logits(logits, teacher_logits, ...)`` for the upstream gradient ``g``,
    with respect to the logits of the student.

    The formula, in the terms of `kl_div_with_logits`::

        "forward":  out[c] = g * v / T * (s[c] - t[c]) / denominator
        "reverse":  out[c] = g * v / T * s[c] * (log(s[c] / t[c]) - KL(s || t)) / denominator
        "js":       out[c] = g * v / T * (1 - beta) * s[c] * (log(s[c] / m[c]) - KL(s || m)) / denominator

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531, equation 2
    (forward); the others are derivatives of the formulas of `kl_div_with_logits`.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.kl_div_with_logits_backward(2.0, [[0.0, 0.0]], [[0.0, float("-inf")]]))
    [[-1.  1.]]
    """
    return _core.kl_div_with_logits_backward(
        grad_output, logits, teacher_logits, axis, temperature, softcap, logit_bias, teacher_softcap,
        teacher_logit_bias, divergence, beta, sample_weight, reduction, denominator, out,
    )
