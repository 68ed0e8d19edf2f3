"""Gradient and Hessian of the two losses that gradient boosting minimises, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._types import Array, Hessian


def cross_entropy_gradient_hessian(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    axis: int | None = None,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    hessian: Hessian = "diagonal",
    hessian_scale: float = 1.0,
    hessian_floor: float = 0.0,
    grad_out: Array | None = None,
    hess_out: Array | None = None,
) -> tuple[Array, Array]:
    """Gradient of `cross_entropy` and the diagonal of its Hessian, for Newton steps and gradient boosting.

    Both are of the sum of the losses, with respect to the logits, and computed in one pass. The gradient has the bits
    of ``cross_entropy(..., reduction="sum", return_grad=True)``. Each entry of the diagonal is within 6 ULP, also of
    confident rows, where ``p * (1 - p)`` of a rounded ``p`` is 0. Class weights, smoothing and probabilities enter it
    as they enter the gradient.

    The formula for a row ``x`` of the target ``y`` or the target probabilities ``q``, in the terms of `cross_entropy`;
    for labels ``q[c]`` is 1 where ``c = y``, else 0::

        b[c] = v * w[c] * ((1 - e) * q[c]  +  e / C)
        gradient[c] = sum_k b[k] * p[c] - b[c]
        diagonal:  hessian[c] = max(hessian_scale * sum_k b[k] * p[c] * (1 - p[c]), hessian_floor)
        absolute:  hessian[c] = max(hessian_scale * abs(gradient[c]), hessian_floor)

    Both are 0 in rows that are ignored or whose ``b`` are all 0: those are never read, and have no floor.

    Parameters
    ----------
    logits : array_like, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    target : array_like, (N,), (N, d1, ..., dk), or () or (1,) for logits (C,); or the shape of `logits`
        In the shape of `logits` without the class axis: class labels in [0, C) or equal to `ignore_index`, of an
        integer dtype or, as boosting libraries have them, floating numbers that are integers. In the shape of
        `logits`, of a floating dtype: class probabilities in [0, 1].
    axis : int, optional
        The class axis. The default is 1, or 0 for 1-D logits.
    weight : array_like, (C,), optional
        A weight per class, finite and >= 0; any of the dtypes of `logits`. The default is ones.
    ignore_index : int or None, default -100
        Rows of this label are left out. None leaves no row out. Only with labels.
    label_smoothing : float, default 0.0
        The share of the target that is spread evenly over all classes, in [0, 1].
    sample_weight : array_like, optional
        A weight per row, finite and >= 0, in the shape of `logits` without the class axis or broadcastable to it; any
        of the dtypes of `logits`. The default is ones.
    hessian : {"diagonal", "absolute"}, default "diagonal"
        The second derivatives, or the absolute values of the gradient in their place.
    hessian_scale, hessian_floor : float, default 1.0 and 0.0
        Finite and >= 0.
    grad_out : ndarray, optional
        Receives the gradient: the shape and dtype of `logits`, any strides. May be `logits` itself, or a `target` of
        that dtype and shape. A `MemoryError` or Ctrl-C may leave it partly written.
    hess_out : ndarray, optional
        Receives the Hessian: as `grad_out`, but it shares no memory with any other array.

    Returns
    -------
    grad, hess : ndarrays in the shape of `logits`
        `grad_out` and `hess_out`, or new arrays of the dtype and memory order of `logits`.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an argument has another type than above.
    ValueError
        If a shape or value is not as above, a label is no integer, C is 0, or an output cannot be written in place or
        apart.
    IndexError
        If a label is outside [0, C) and is not `ignore_index`. Nothing has been written then.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, equations 4.109 and 4.110.
    J. Friedman, T. Hastie and R. Tibshirani, Additive Logistic Regression: A Statistical View of Boosting, Annals of
    Statistics 28, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> grad, hess = xe.cross_entropy_gradient_hessian(np.array([[0.0, 0.0], [40.0, 0.0]]), [1.0, 0.0])
    >>> print(grad)
    [[ 5.00000000e-01 -5.00000000e-01]
     [-4.24835426e-18  4.24835426e-18]]
    >>> print(hess)
    [[2.50000000e-01 2.50000000e-01]
     [4.24835426e-18 4.24835426e-18]]
    """
    return _core.cross_entropy_gradient_hessian(
        logits, target, axis, weight, ignore_index, label_smoothing, sample_weight, hessian, hessian_scale,
        hessian_floor, grad_out, hess_out,
    )


def binary_cross_entropy_with_logits_gradient_hessian(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    hessian: Hessian = "diagonal",
    hessian_scale: float = 1.0,
    hessian_floor: float = 0.0,
    grad_out: Array | None = None,
    hess_out: Array | None = None,
) -> tuple[Array, Array]:
    """Gradient and second derivatives of `binary_cross_entropy_with_logits`, for Newton steps and gradient boosting.

    Both are of the sum of the losses, with respect to the logits, and computed in one pass. Each second derivative is
    within 5 ULP, also of confident elements, where ``p * (1 - p)`` of a rounded ``p`` is 0.

    The formula for an element ``x`` with the target ``y``, its weight ``w``, the positive class' weight ``pw`` and the
    smoothing ``e``::

        y' = y * (1 - e) + e / 2,  a = w * (pw * y' + 1 - y'),  p = 1 / (1 + exp(-x))
        gradient = w * ((1 - y') * p - pw * y' * (1 - p))
        diagonal:  hessian = max(hessian_scale * a * p * (1 - p), hessian_floor)
        absolute:  hessian = max(hessian_scale * abs(gradient), hessian_floor)

    Both are 0, without the floor, where ``a`` is 0.

    Parameters
    ----------
    logits : array_like, any shape
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    target : array_like, the shape of `logits`
        Probabilities of the positive class in [0, 1], or integers or bool 0 and 1; any of the dtypes of `logits`.
    weight : array_like, optional
        A weight per element, finite and >= 0, in the shape of `logits` or broadcastable to it. The default is ones.
    pos_weight : array_like, optional
        The weight of the positive class, finite and >= 0, as `weight`. The default is ones.
    label_smoothing : float, default 0.0
        The share of the target that is spread evenly over both classes, in [0, 1].
    hessian : {"diagonal", "absolute"}, default "diagonal"
        The second derivatives, or the absolute values of the gradient in their place.
    hessian_scale, hessian_floor : float, default 1.0 and 0.0
        Finite and >= 0.
    grad_out : ndarray, optional
        Receives the gradient: the shape and dtype of `logits`, any strides. May be `logits` itself, or a `target` of
        that dtype. A `MemoryError` or Ctrl-C may leave it partly written.
    hess_out : ndarray, optional
        Receives the second derivatives: as `grad_out`, but it shares no memory with any other array.

    Returns
    -------
    grad, hess : ndarrays in the shape of `logits`
        `grad_out` and `hess_out`, or new arrays of the dtype and memory order of `logits`.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an argument has another type than above.
    ValueError
        If a shape or value is not as above, or an output cannot be written in place or apart.

    References
    ----------
    J. Friedman, T. Hastie and R. Tibshirani, Additive Logistic Regression: A Statistical View of Boosting, Annals of
    Statistics 28, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> grad, hess = xe.binary_cross_entropy_with_logits_gradient_hessian(np.array([0.0, 40.0]), [1, 1])
    >>> print(grad, hess)
    [-5.00000000e-01 -4.24835426e-18] [2.50000000e-01 4.24835426e-18]
    """
    return _core.binary_cross_entropy_with_logits_gradient_hessian(
        logits, target, weight, pos_weight, label_smoothing, hessian, hessian_scale, hessian_floor, grad_out, hess_out,
    )
