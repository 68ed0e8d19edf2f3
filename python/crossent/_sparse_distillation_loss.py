"""Distillation from a teacher that is known of some classes of each row alone, and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, overload

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
        Loss,
        Number,
        Reduced,
        ReducedGradient,
        Reduction,
        Tail,
        TeacherValues,
    )

    class _Options(TypedDict, total=False):
        axis: int | None
        values_are: TeacherValues
        tail: Tail
        divergence: Divergence
        temperature: float
        teacher_logsumexp: ArrayLike | None
        scale_by_temperature: bool
        sample_weight: ArrayLike | None
        denominator: float | None

    class _Reduced(_Options, Reduced): ...
    class _Each(_Options, EachRow): ...
    class _ReducedGradient(_Options, ReducedGradient): ...
    class _EachGradient(_Options, EachRowGradient): ...


@overload
def sparse_distillation_loss(
    logits: ArrayLike, classes: ArrayLike, values: ArrayLike, **options: Unpack[_Reduced]
) -> Number: ...
@overload
def sparse_distillation_loss(
    logits: ArrayLike, classes: ArrayLike, values: ArrayLike, **options: Unpack[_Each]
) -> Array: ...
@overload
def sparse_distillation_loss(
    logits: ArrayLike, classes: ArrayLike, values: ArrayLike, **options: Unpack[_ReducedGradient]
) -> tuple[Number, Array]: ...
@overload
def sparse_distillation_loss(
    logits: ArrayLike, classes: ArrayLike, values: ArrayLike, **options: Unpack[_EachGradient]
) -> tuple[Array, Array]: ...
def sparse_distillation_loss(
    logits: ArrayLike,
    classes: ArrayLike,
    values: ArrayLike,
    *,
    axis: int | None = None,
    values_are: TeacherValues = "log_probs",
    tail: Tail = "bucket",
    divergence: Divergence = "forward",
    temperature: float = 1.0,
    teacher_logsumexp: ArrayLike | None = None,
    scale_by_temperature: bool = False,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
) -> Loss | tuple[Loss, Array]:
    """Divergence of the softmax of `logits` from a teacher that is known of a few classes of each row, in nats.

    The top k of a language model, or samples from it, in place of its logits. The value and, with `return_grad`, the
    gradient with respect to the logits, for the cost of `cross_entropy` and of the classes that are listed. Nothing
    else is in it: no target, and no factor ``T^2`` unless it is asked for.

    The formula for a row ``x`` with ``q = softmax(x / T)``, the row's weight ``v``, and the teacher's probabilities
    ``p`` of the listed classes ``k``, which leave ``r = 1 - sum_k p[k]`` to the others (known to 2^-57, and what is in
    proportion to it no better); ``rho`` is the sum of their ``q``, which is added up and not ``1 - sum_k q[k]``::

        "bucket":       loss = v * (sum_k p[k] * log(p[k] / q[k])  +  r * log(r / rho))
        "zero":         loss = v *  sum_k p[k] * log(p[k] / q[k])
        "renormalize":  as "zero", with p / sum_k p[k]
        "uniform":      loss = v * (sum_k p[k] * log(p[k] / q[k])  +  sum_c r / n * log(r / n / q[c]))

    ``"bucket"`` is the divergence of the listed classes and one more, the rest: never negative, and never more than
    that of all classes. ``"uniform"`` spreads ``r`` over the ``n`` other classes ``c``. ``"zero"`` is no divergence and
    may be negative; its gradient, and that of ``"renormalize"``, takes all probability from the others. ``p`` is
    divided by its sum under ``"bucket"`` and ``"uniform"`` too where that is above 1 by rounding, or no class is left.

    ``p`` depends on `values_are`, with ``L`` of `teacher_logsumexp`::

        "log_probs":  p[k] = exp(values[k])                or exp(values[k] / T - L)
        "logits":     p[k] = exp(values[k] / T - L)        or their softmax over the listed classes alone
        "probs":      p[k] = values[k]
        "weights":    p[k] = values[k] / sum_k values[k]

    Equal classes of a row add up: under ``"weights"``, the classes of a sample with ones as values are the
    distribution of the sample, whose expected gradient is that of the whole teacher. A row without a class has a loss
    and a gradient of 0, but under ``"uniform"`` with log-probs, probs or `teacher_logsumexp`: then ``r`` is 1.

    Parameters
    ----------
    logits : array_like, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Of the student. Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists
        become float64.
    classes : array_like of integers, (N, K), (N, K, d1, ..., dk), (K,): the shape of `logits` with any K
        The listed classes of each row, in any order, in [0, C), or -1 for none, whose value is not looked at.
    values : array_like in the shape of `classes`
        Any of the dtypes of `logits`. Probabilities are in [0, 1], weights finite and >= 0. -inf among logarithms is a
        probability of 0; NaN and inf make the row's loss and gradient NaN.
    axis : int, optional
        The class axis. The default is 1, or 0 for 1-D logits.
    values_are : {"log_probs", "logits", "probs", "weights"}, default "log_probs"
        What the values are, as above.
    tail : {"bucket", "zero", "renormalize", "uniform"}, default "bucket"
        What becomes of the classes that are not listed, as above.
    divergence : {"forward", "reverse", "js"}, default "forward"
        As for `kl_div_with_logits`, with ``beta = 0.5``. The reverse one is for ``tail="bucket"``, with values that say
        what the rest has; the one of Jensen and Shannon for ``"bucket"`` and ``"renormalize"``.
    temperature : float, default 1.0
        Finite and > 0; divides both logits. Other than 1 it needs `teacher_logsumexp`: how a temperature moves the
        listed classes against the others depends on all of them.
    teacher_logsumexp : array_like, optional
        ``log(sum_c exp(z[c] / T))`` over all classes of the teacher, whose logits or log-probabilities ``z`` are: a
        finite number per row, in the shape of `logits` without the class axis or broadcastable to it. For log-probs at
        temperature 1 it is 0.
    scale_by_temperature : bool, default False
        Whether the loss has the factor ``T^2``, with which its gradient does not fade as ``T`` grows.
    sample_weight : array_like, optional
        A weight per row, as for `cross_entropy`. A row of weight 0 is never read.
    reduction : {"none", "mean", "sum"}, default "mean"
        What becomes of the losses of the rows; ``"mean"`` divides their sum by the sum of ``v``.
    denominator : float, optional
        Finite and > 0: replaces the denominator of ``"mean"``, as gradient accumulation over several batches needs.
    return_grad : bool, default False
        Whether the gradient with respect to `logits` is returned too. With ``reduction="none"`` it is that of the sum.
    grad_out : ndarray, optional
        Receives the gradient: the shape and dtype of `logits`, any strides. May be `logits` itself, or `values` of
        that shape and dtype. Needs `return_grad`. A `MemoryError` or Ctrl-C may leave it partly written.

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
        If a shape or value is not as above, the probabilities of a row add up to more than 1 + 1/32, options do not go
        together, or `grad_out` cannot be written in place or apart.
    IndexError
        If a class is outside [0, C) and is not -1. `grad_out` has not been written then.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531, section 2.
    A. Anshumann et al., Sparse Logit Sampling: Accelerating Knowledge Distillation in LLMs, ACL 2025, arXiv:2503.16870
    (what the tails are worth, and samples).

    Examples
    --------
    >>> import numpy as np, crossent as xe
    >>> logits = [[0.0, 0.0, 0.0, 0.0]]
    >>> loss, grad = xe.sparse_distillation_loss(logits, [[2, 0]], [[0.5, 0.25]], values_are="probs", return_grad=True)
    >>> print(f"{loss:.6f}")
    0.173287
    >>> print(grad)
    [[ 0.     0.125 -0.25   0.125]]
    >>> print(xe.sparse_distillation_loss(logits, [[2, 2, 2, 1]], np.ones((1, 4)), values_are="weights").round(6))
    0.823959
    """
    return _core.sparse_distillation_loss(
        logits, classes, values, axis, values_are, tail, divergence, temperature, teacher_logsumexp,
        scale_by_temperature, sample_weight, reduction, denominator, return_grad, grad_out,
    )


@documented
def sparse_distillation_loss_backward(
    grad_output: ArrayLike,
    logits: ArrayLike,
    classes: ArrayLike,
    values: ArrayLike,
    *,
    axis: int | None = None,
    values_are: TeacherValues = "log_probs",
    tail: Tail = "bucket",
    divergence: Divergence = "forward",
    temperature: float = 1.0,
    teacher_logsumexp: ArrayLike | None = None,
    scale_by_temperature: bool = False,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient through `sparse_distillation_loss`.

    The vector-Jacobian product of ``sparse_distillation_loss(logits, classes, values, ...)`` for the upstream gradient
    ``g``, with respect to the logits.

    The formula for ``"forward"``, in the terms of `sparse_distillation_loss`, for the listed classes ``k`` and the
    others ``c``; ``A`` is ``sum_k p[k]`` under ``"zero"``, and 1 otherwise::

        out[k] = g * v / T * (A * q[k] - p[k]) / denominator
        out[c] = g * v / T * q[c] * (1 - r / rho) / denominator       "bucket"
        out[c] = g * v / T * (q[c] - r / n) / denominator             "uniform"
        out[c] = g * v / T * A * q[c] / denominator                   "zero", "renormalize"

    References
    ----------
    Derivatives of the formulas of `sparse_distillation_loss`.

    Examples
    --------
    >>> import crossent as xe
    >>> logits = [[0.0, 0.0, 0.0, 0.0]]
    >>> print(xe.sparse_distillation_loss_backward(2.0, logits, [[2, 0]], [[0.5, 0.25]], values_are="probs"))
    [[ 0.    0.25 -0.5   0.25]]
    """
    return _core.sparse_distillation_loss_backward(
        grad_output, logits, classes, values, axis, values_are, tail, divergence, temperature, teacher_logsumexp,
        scale_by_temperature, sample_weight, reduction, denominator, out,
    )
