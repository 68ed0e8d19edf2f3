"""Vector-Jacobian products of softmax, log_softmax and logsumexp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._types import Array


def softmax_backward(
    grad_output: ArrayLike, probs: ArrayLike, axis: int = -1, *, temperature: float = 1.0, out: Array | None = None
) -> Array:
    """Gradient through `softmax`, from its result.

    The vector-Jacobian product of ``probs = softmax(x, axis, temperature=T)`` for an upstream gradient
    ``g = grad_output``, with respect to ``x``.

    The formula::

        out[c] = probs[c] * (g[c] - sum_k g[k] probs[k]) / T

    Parameters
    ----------
    grad_output : array_like, (..., C, ...)
        The gradient with respect to the result of `softmax`; any of those dtypes.
    probs : array_like, (..., C, ...)
        The result of `softmax`; float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers,
        bool and lists become float64.
    axis : int, default -1
        The class axis.
    temperature : float, default 1.0
        The temperature that `softmax` was given.
    out : ndarray, (..., C, ...), optional
        Receives the result: the shape and dtype of `probs`, any strides. May be `grad_output` or `probs` itself. A
        `MemoryError` or Ctrl-C may leave it partly written.

    Returns
    -------
    ndarray, (..., C, ...)
        `out` if it was given; else a new array of the dtype and memory order of `probs`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `softmax`; ValueError also if the shapes differ.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, equation 4.106 (the Jacobian).

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.softmax_backward([1.0, 0.0], [0.5, 0.5]))
    [ 0.25 -0.25]
    """
    return _core.softmax_backward(grad_output, probs, axis, temperature, out)


def log_softmax_backward(
    grad_output: ArrayLike, log_probs: ArrayLike, axis: int = -1, *, temperature: float = 1.0, out: Array | None = None
) -> Array:
    """Gradient through `log_softmax`, from its result.

    The vector-Jacobian product of ``log_probs = log_softmax(x, axis, temperature=T)`` for an upstream gradient
    ``g = grad_output``, with respect to ``x``.

    The formula::

        out[c] = (g[c] - exp(log_probs[c]) * sum_k g[k]) / T

    Parameters
    ----------
    grad_output : array_like, (..., C, ...)
        The gradient with respect to the result of `log_softmax`; any of those dtypes.
    log_probs : array_like, (..., C, ...)
        The result of `log_softmax`; float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers,
        bool and lists become float64.
    axis : int, default -1
        The class axis.
    temperature : float, default 1.0
        The temperature that `log_softmax` was given.
    out : ndarray, (..., C, ...), optional
        Receives the result: the shape and dtype of `log_probs`, any strides. May be `grad_output` or `log_probs`
        itself. A `MemoryError` or Ctrl-C may leave it partly written.

    Returns
    -------
    ndarray, (..., C, ...)
        `out` if it was given; else a new array of the dtype and memory order of `log_probs`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `softmax`; ValueError also if the shapes differ.

    References
    ----------
    I. Goodfellow, Y. Bengio and A. Courville, Deep Learning, MIT Press 2016: the derivative of equation 6.30.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.log_softmax_backward([1.0, 0.0], xe.log_softmax([0.0, 0.0])))
    [ 0.5 -0.5]
    """
    return _core.log_softmax_backward(grad_output, log_probs, axis, temperature, out)


def logsumexp_backward(
    grad_output: ArrayLike, x: ArrayLike, axis: int = -1, *, keepdims: bool = False, out: Array | None = None
) -> Array:
    """Gradient through `logsumexp`.

    The vector-Jacobian product of ``logsumexp(x, axis, keepdims=keepdims)`` for an upstream gradient
    ``g = grad_output``, with respect to ``x``. A row of nothing but ``-inf`` has gradient 0.

    The formula::

        out[c] = g * softmax(x)[c]

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result of `logsumexp`, in its shape; any of those dtypes.
    x : array_like, (..., C, ...)
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    axis : int, default -1
        The axis that was summed over.
    keepdims : bool, default False
        Whether `grad_output` has that axis, with length 1.
    out : ndarray, (..., C, ...), optional
        Receives the result: the shape and dtype of `x`, any strides. May be `x` itself. A `MemoryError` or Ctrl-C may
        leave it partly written.

    Returns
    -------
    ndarray, (..., C, ...)
        `out` if it was given; else a new array of the dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `logsumexp`; ValueError also if `grad_output` has another shape than its result.

    References
    ----------
    P. Blanchard, D. J. Higham and N. J. Higham, Accurately computing the log-sum-exp and softmax functions, IMA Journal
    of Numerical Analysis 41 (2021), 2311-2330: the softmax is the gradient of log-sum-exp.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.logsumexp_backward(2.0, [0.0, 0.0]))
    [1. 1.]
    """
    return _core.logsumexp_backward(grad_output, x, axis, keepdims, out)
