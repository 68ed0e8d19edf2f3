"""Cross-entropy of class indices or class probabilities, and its gradient."""

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
        LogitOptions,
        Loss,
        Number,
        Reduced,
        ReducedGradient,
        Reduction,
    )

    class _Options(IndexLossOptions, LogitOptions, total=False):
        label_smoothing: float
        z_loss: float
        entropy_weight: float

    class _Reduced(_Options, Reduced): ...
    class _Each(_Options, EachRow): ...
    class _ReducedGradient(_Options, ReducedGradient): ...
    class _EachGradient(_Options, EachRowGradient): ...


@overload
def cross_entropy(logits: ArrayLike, target: ArrayLike, **options: Unpack[_Reduced]) -> Number: ...
@overload
def cross_entropy(logits: ArrayLike, target: ArrayLike, **options: Unpack[_Each]) -> Array: ...
@overload
def cross_entropy(
    logits: ArrayLike, target: ArrayLike, **options: Unpack[_ReducedGradient]
) -> tuple[Number, Array]: ...
@overload
def cross_entropy(logits: ArrayLike, target: ArrayLike, **options: Unpack[_EachGradient]) -> tuple[Array, Array]: ...
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    axis: int | None = None,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    entropy_weight: float = 0.0,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
) -> Loss | tuple[Loss, Array]:
    """Cross-entropy of class indices or class probabilities under the softmax of `logits`, in nats.

    The value and, with `return_grad`, the gradient with respect to the logits, computed in one pass. The relative
    accuracy is full also for confident rows, whose loss and gradient are tiny. An ignored row, or one whose weights
    are all 0 (without `z_loss` and `entropy_weight`), is never read: its loss and gradient are 0 whatever its logits
    are. The dtype of `target` says whether it holds indices or probabilities; probabilities are not renormalised.

    The formula for a row ``x`` of the target ``y`` or the target probabilities ``q``, with the temperature ``T``, the
    class weights ``w``, the row's weight ``v`` and the smoothing ``e``::

        p = softmax(z),  z = x / T, or (softcap * tanh(x / softcap) + logit_bias) / T
        indices:        loss = v * ((1 - e) * w[y] * -log p[y]  +  e / C * sum_c w[c] * -log p[c])
        probabilities:  loss = v * sum_c w[c] * ((1 - e) * q[c] + e / C) * -log p[c]

    ``z_loss`` adds ``v * z_loss * logsumexp(z)^2`` to the loss of each row that is not ignored, whatever ``w[y]``
    is: it keeps the logits of a language model near log-probabilities. There logsumexp is the difference of the maximum
    and the logarithm of a sum, and loss and gradient have the error of that logarithm, below 4 ULP of it.

    ``entropy_weight`` adds ``-v * entropy_weight * H`` to the same rows, with the entropy
    ``H = -sum_c p[c] * log p[c]``: the entropy bonus of policy gradients, and the confidence penalty of classifiers.
    The loss may be negative then. Its error, and that of the gradient, is a few ULP of the largest term.

    ``"mean"`` divides the sum of the losses by the sum of ``v * w[y]`` over the rows that are not ignored, also with
    smoothing: with class weights, and not by the number of rows. For probabilities it divides by the sum of ``v``
    alone, so that indices and the one-hot rows of the same classes have different means under class weights. Smoothing
    in the textbook form, ``1 - eps`` for the target and ``eps / (C - 1)`` for each other class, is
    ``label_smoothing = eps * C / (C - 1)``.

    With `softcap`, `logit_bias` or an array of temperatures, ``z`` is computed in float64, to 4 units in the last
    place: float32 results are as accurate as without, float64 results are exact for logits that are as far off.

    The gradient has the dtype of `logits`. The entries of a mean over many rows may be too small for float16, where
    less than 3e-8 is 0: give a `denominator` that is smaller by some power of two and divide by that later, in float32.

    Parameters
    ----------
    logits : array_like, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    target : array_like, (N,), (N, d1, ..., dk), or () or (1,) for logits (C,); or the shape of `logits`
        Of an integer dtype: class indices in the shape of `logits` without the class axis, in [0, C) or equal to
        `ignore_index`. Of a floating dtype: class probabilities in the shape of `logits`, in [0, 1].
    axis : int, optional
        The class axis. The default is 1, or 0 for 1-D logits.
    temperature : float or array_like, default 1.0
        Finite and > 0; divides the logits. An array has one for each row: it has the shape of `logits` without the
        class axis, or one that broadcasts to it. Near 0 the loss may be infinite, and so may gradients, which are over
        ``T``.
    softcap : float, optional
        Finite and > 0: ``softcap * tanh(x / softcap)`` takes the place of the logits ``x``, as in the heads of some
        language models. A logit of -inf is ``-softcap`` then: leave classes out by `logit_bias`.
    logit_bias : array_like, (C,), optional
        A number per class that is added after the softcap: finite, or -inf for a class that is not allowed. Any of the
        dtypes of `logits`.
    weight : array_like, (C,), optional
        A weight per class, finite and >= 0; any of the dtypes of `logits`. The default is ones.
    ignore_index : int or None, default -100
        Rows of this target are left out. None leaves no row out. Only with class indices.
    label_smoothing : float, default 0.0
        The share of the target that is spread evenly over all classes, in [0, 1].
    z_loss : float, default 0.0
        The coefficient of the squared logsumexp of each row, finite and >= 0.
    entropy_weight : float, default 0.0
        The coefficient of the entropy of each row, which is subtracted; finite. A positive one is a reward for
        uncertain predictions.
    sample_weight : array_like, optional
        A weight per row, finite, of any sign, in the shape of `logits` without the class axis or broadcastable to it;
        any of the dtypes of `logits`. The default is ones. A negative one gives the loss and gradient of the row with
        the opposite sign, as policy gradients need.
    reduction : {"none", "mean", "sum"}, default "mean"
        What becomes of the losses of the rows.
    denominator : float, optional
        Finite and > 0: replaces the denominator of ``"mean"``, as gradient accumulation over several batches needs.
    return_grad : bool, default False
        Whether the gradient is returned too. With ``reduction="none"`` it is that of the sum.
    grad_out : ndarray, optional
        Receives the gradient: the shape and dtype of `logits`, any strides. May be `logits` itself, or a `target` of
        that dtype. Needs `return_grad`. A `MemoryError` or Ctrl-C may leave it partly written.

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
    IndexError
        If a target is outside [0, C) and is not `ignore_index`. `grad_out` has not been written then.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, equations 4.108 and 4.109.
    C. Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, section 7 (smoothing).
    A. Chowdhery et al., PaLM: Scaling Language Modeling with Pathways, JMLR 24, 2023, section 5 (z-loss).
    R. J. Williams and J. Peng, Function Optimization Using Connectionist Reinforcement Learning Algorithms, Connection
    Science 3(3), 1991 (entropy bonus).
    G. Pereyra et al., Regularizing Neural Networks by Penalizing Confident Output Distributions, arXiv 1701.06548, 2017
    (confidence penalty).

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> logits = np.array([[0.0, 0.0], [17.0, 0.0]])
    >>> print(xe.cross_entropy(logits, [1, 0], reduction="none"))
    [6.93147181e-01 4.13993763e-08]
    >>> loss, grad = xe.cross_entropy(logits, [1, -100], return_grad=True)
    >>> print(grad)
    [[ 0.5 -0.5]
     [ 0.   0. ]]
    >>> loss, grad = xe.cross_entropy([[0.0, 0.0]], [[0.25, 0.75]], return_grad=True)
    >>> print(grad)
    [[ 0.25 -0.25]]
    """
    return _core.cross_entropy(
        logits, target, axis, temperature, softcap, logit_bias, weight, ignore_index, label_smoothing, z_loss,
        entropy_weight, sample_weight, reduction, denominator, return_grad, grad_out,
    )


@documented
def cross_entropy_backward(
    grad_output: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    axis: int | None = None,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    entropy_weight: float = 0.0,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient through `cross_entropy`.

    The vector-Jacobian product of ``cross_entropy(logits, target, ...)`` for the upstream gradient ``g``, with respect
    to the logits. Ignored rows, and rows whose weights are all 0, have gradient 0 whatever their ``g`` is.

    The formula for a row ``x`` of the target ``y`` or the target probabilities ``q``, in the terms of `cross_entropy`
    and with ``b`` the coefficients of ``-log p`` in its loss; for indices ``q[c]`` is 1 where ``c = y``, else 0::

        b[c] = v * w[c] * ((1 - e) * q[c]  +  e / C)
        slope = sum_k b[k] + 2 * v * z_loss * logsumexp(z) + v * entropy_weight * (log p[c] + H)
        out[c] = g / T * (p[c] * slope - b[c]) / denominator

    With a softcap, ``out[c]`` is multiplied by ``1 - tanh(x[c] / softcap)^2``.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, equation 4.109.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.cross_entropy_backward([2.0, 1.0], [[0.0, 0.0], [0.0, 0.0]], [1, 0], reduction="none"))
    [[ 1.  -1. ]
     [-0.5  0.5]]
    """
    return _core.cross_entropy_backward(
        grad_output, logits, target, axis, temperature, softcap, logit_bias, weight, ignore_index, label_smoothing,
        z_loss, entropy_weight, sample_weight, reduction, denominator, out,
    )
