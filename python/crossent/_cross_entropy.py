"""Cross-entropy of class indices, and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from . import _core
from ._index_losses import backward, checked_arguments, evaluate

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from ._index_losses import Array, IndexLossOptions, Loss

    class _Options(IndexLossOptions, total=False):
        label_smoothing: float


@overload
def cross_entropy(
    logits: ArrayLike, target: ArrayLike, *, return_grad: Literal[False] = False, **options: Unpack[_Options]
) -> Loss: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    return_grad: Literal[True],
    grad_out: Array | None = None,
    **options: Unpack[_Options],
) -> tuple[Loss, Array]: ...
def cross_entropy(
    logits: Any,
    target: Any,
    *,
    axis: int | None = None,
    weight: Any = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    sample_weight: Any = None,
    reduction: str = "mean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
) -> Any:
    """Cross-entropy of class indices under the softmax of `logits`, in nats.

    The value and, with `return_grad`, the gradient with respect to the logits, computed in one pass. The relative
    accuracy is full also for confident rows, whose loss and gradient are tiny. An ignored row, or one whose weights
    are all 0, is never read: its loss and gradient are 0 whatever its logits are.

    The formula for a row ``x`` of the target ``y``, with ``p = softmax(x)``, the class weights ``w``, the row's weight
    ``v`` and the smoothing ``e``::

        loss = v * ((1 - e) * w[y] * -log p[y]  +  e / C * sum_c w[c] * -log p[c])

    ``"mean"`` divides the sum of the losses by the sum of ``v * w[y]`` over the rows that are not ignored, also with
    smoothing: with class weights, and not by the number of rows. Smoothing in the textbook form, ``1 - eps`` for the
    target and ``eps / (C - 1)`` for each other class, is ``label_smoothing = eps * C / (C - 1)``.

    Parameters
    ----------
    logits : array_like, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Float32 or float64 of any strides. Integers, bool and lists become float64.
    target : array_like of an integer dtype, (N,), (N, d1, ..., dk), or () or (1,) for logits (C,)
        Class indices in the shape of `logits` without the class axis, in [0, C) or equal to `ignore_index`.
    axis : int, optional
        The class axis. The default is 1, or 0 for 1-D logits.
    weight : array_like, (C,), optional
        A weight per class, finite and >= 0; converted to the dtype of `logits`. The default is ones.
    ignore_index : int or None, default -100
        Rows of this target are left out. None leaves no row out.
    label_smoothing : float, default 0.0
        The share of the target that is spread evenly over all classes, in [0, 1].
    sample_weight : array_like, optional
        A weight per row, finite and >= 0, in the shape of `target` or broadcastable to it; converted to the dtype of
        `logits`. The default is ones.
    reduction : {"none", "mean", "sum"}, default "mean"
        What becomes of the losses of the rows.
    denominator : float, optional
        Finite and > 0: replaces the denominator of ``"mean"``, as gradient accumulation over several batches needs.
    return_grad : bool, default False
        Whether the gradient is returned too. With ``reduction="none"`` it is that of the sum.
    grad_out : ndarray, optional
        Receives the gradient: the shape and dtype of `logits`, any strides. May be `logits` itself. Needs
        `return_grad`.

    Returns
    -------
    loss : NumPy scalar, or ndarray in the shape of `target` with ``reduction="none"``
        In the dtype of `logits`. ``"mean"`` is NaN where its denominator is 0, as for an empty batch.
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
    """
    checked = checked_arguments(
        "logits", logits, target, axis, weight, ignore_index, label_smoothing, sample_weight, reduction, denominator
    )
    inputs = {"logits": logits, "target": target, "weight": weight, "sample_weight": sample_weight}
    return evaluate(_core.cross_entropy, checked, inputs, return_grad, grad_out)


def cross_entropy_backward(
    grad_output: ArrayLike,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    axis: int | None = None,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    reduction: Literal["none", "mean", "sum"] = "mean",
    denominator: float | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient through `cross_entropy`.

    The vector-Jacobian product of ``cross_entropy(logits, target, ...)`` for the upstream gradient ``g``, with respect
    to the logits. Ignored rows, and rows whose weights are all 0, have gradient 0 whatever their ``g`` is.

    The formula for a row ``x`` of the target ``y``, in the terms of `cross_entropy` and with ``b`` the coefficients of
    ``-log p`` in its loss::

        b[c] = v * ((1 - e) * w[c] * [c = y]  +  e / C * w[c])
        out[c] = g * (p[c] * sum_k b[k] - b[c]) / denominator

    Parameters
    ----------
    grad_output : array_like
        ``g``, in the shape of the loss: a scalar for ``"mean"`` and ``"sum"``, the shape of `target` for ``"none"``;
        converted to the dtype of `logits`.
    logits, target, axis, weight, ignore_index, label_smoothing, sample_weight, reduction, denominator
        As for `cross_entropy`.
    out : ndarray, optional
        Receives the result: the shape and dtype of `logits`, any strides. May be `logits` itself.

    Returns
    -------
    ndarray in the shape of `logits`
        `out` if it was given; else a new array of the dtype and memory order of `logits`.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `cross_entropy`; ValueError also if `grad_output` has another shape than the loss.

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
    checked = checked_arguments(
        "logits", logits, target, axis, weight, ignore_index, label_smoothing, sample_weight, reduction, denominator
    )
    inputs = {"logits": logits, "target": target, "weight": weight, "sample_weight": sample_weight}
    return backward(_core.cross_entropy, checked, inputs, grad_output, out)
