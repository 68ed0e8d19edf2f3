"""softmax, log_softmax and logsumexp, and their gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from ._types import Array, Axes, Scalar


def softmax(
    x: ArrayLike,
    axis: Axes = -1,
    *,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
) -> Array:
    """Probabilities proportional to the exponentials of `x` along an axis.

    Every entry has full relative accuracy, however small. The default axis is the last one; the default of
    `scipy.special.softmax` is the whole array. An entry ``-inf`` has probability 0; rows with a NaN, with ``+inf`` or
    with nothing but ``-inf`` are NaN.

    The formula, with the temperature ``T``::

        softmax(x)[c] = exp(z[c]) / sum_k exp(z[k]),  z = x / T, or (softcap * tanh(x / softcap) + logit_bias) / T

    With `softcap`, `logit_bias` or an array of temperatures, ``z`` is computed in float64.

    Parameters
    ----------
    x : array_like, (..., C, ...)
        Logits; float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists
        become float64.
    axis : int, tuple of int or None, default -1
        The class axis, or several, whose entries are classes together; None: all of them. Axes that do not lie as one
        in memory are copied.
    temperature : float or array_like, default 1.0
        Finite and > 0. An array has one for each row: it has the shape of `x` without the class axis, or one that
        broadcasts to it. Near 0 the softmax is one-hot, over all maxima alike.
    softcap : float, optional
        Finite and > 0: ``softcap * tanh(x / softcap)`` takes the place of `x`, as in the heads of some language models.
    logit_bias : array_like, (C,), optional
        A number per class that is added after the softcap: finite, or -inf for a class that is not allowed. Any of the
        dtypes of `x`.
    dtype : dtype, optional
        Of the result: that of `x`, which is the default, or float32 for float16 and bfloat16 `x`, whose results are
        then not rounded to three digits.
    out : ndarray, (..., C, ...), optional
        Receives the result: the shape of `x` and the dtype of the result, float32 for a half `x` too; any strides. May
        be `x` itself. A `MemoryError` or Ctrl-C may leave it partly written.

    Returns
    -------
    ndarray, (..., C, ...)
        `out` if it was given; else a new array of `dtype` in the memory order of `x`. A scalar for a number.

    Raises
    ------
    TypeError
        If a dtype is not supported, or `axis` is something else.
    ValueError
        If C is 0, `axis` has an axis twice, `temperature` is out of range, or `out` cannot be written in place or
        apart.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    References
    ----------
    I. Goodfellow, Y. Bengio and A. Courville, Deep Learning, MIT Press 2016, equation 6.29.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.softmax([[0.0, 0.0], [0.0, float("-inf")]]))
    [[0.5 0.5]
     [1.  0. ]]
    """
    return _core.softmax(x, axis, temperature, softcap, logit_bias, dtype, out)


def softmax_backward(
    grad_output: ArrayLike, probs: ArrayLike, axis: Axes = -1, *, temperature: float = 1.0, out: Array | None = None
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
    axis : int, tuple of int or None, default -1
        The class axis, or several, whose entries are classes together; None: all of them. Axes that do not lie as one
        in memory are copied.
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


def log_softmax(
    x: ArrayLike,
    axis: Axes = -1,
    *,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
) -> Array:
    """Logarithms of the softmax of `x` along an axis.

    Every entry has full relative accuracy, also close to 0, where the logarithm of `softmax` has none left. The
    default axis is the last one; the default of `scipy.special.log_softmax` is the whole array. Rows with a NaN, with
    ``+inf`` or with nothing but ``-inf`` are NaN.

    The formula, with the temperature ``T``, in nats::

        log_softmax(x)[c] = z[c] - log sum_k exp(z[k]),  z as for `softmax`

    Parameters
    ----------
    x : array_like, (..., C, ...)
        Logits; float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists
        become float64.
    axis : int, tuple of int or None, default -1
        The class axis, or several, whose entries are classes together; None: all of them. Axes that do not lie as one
        in memory are copied.
    temperature : float or array_like, default 1.0
        Finite and > 0, or an array with one for each row, as for `softmax`. Near 0 the result may be -inf where `x` is
        not.
    softcap, logit_bias
        As for `softmax`.
    dtype : dtype, optional
        Of the result: that of `x`, which is the default, or float32 for float16 and bfloat16 `x`, whose results are
        then not rounded to three digits.
    out : ndarray, (..., C, ...), optional
        Receives the result: the shape of `x` and the dtype of the result, float32 for a half `x` too; any strides. May
        be `x` itself. A `MemoryError` or Ctrl-C may leave it partly written.

    Returns
    -------
    ndarray, (..., C, ...)
        `out` if it was given; else a new array of `dtype` in the memory order of `x`. A scalar for a number.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `softmax`.

    References
    ----------
    I. Goodfellow, Y. Bengio and A. Courville, Deep Learning, MIT Press 2016, equation 6.30.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.log_softmax([100.0, 0.0]))
    [-3.72007598e-44 -1.00000000e+02]
    """
    return _core.log_softmax(x, axis, temperature, softcap, logit_bias, dtype, out)


def log_softmax_backward(
    grad_output: ArrayLike, log_probs: ArrayLike, axis: Axes = -1, *, temperature: float = 1.0, out: Array | None = None
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
    axis : int, tuple of int or None, default -1
        The class axis, or several, whose entries are classes together; None: all of them. Axes that do not lie as one
        in memory are copied.
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


def logsumexp(
    x: ArrayLike,
    axis: Axes = -1,
    *,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    keepdims: bool = False,
    out: Array | None = None,
) -> Scalar | Array:
    """Logarithm of the sum of the exponentials of `x` along an axis.

    The default axis is the last one; the default of `scipy.special.logsumexp` is the whole array. A row of nothing but
    ``-inf``, or of nothing at all, gives ``-inf``; ``+inf`` in a row gives ``+inf``, NaN gives NaN.

    The formula, in nats::

        logsumexp(x) = log sum_c exp(z[c]),  z as for `softmax`

    Parameters
    ----------
    x : array_like, (..., C, ...)
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    axis : int, tuple of int or None, default -1
        The axis, or axes, to sum over; None: all of them. Axes that do not lie as one in memory are copied.
    temperature, softcap, logit_bias
        As for `softmax`.
    keepdims : bool, default False
        Whether these axes stay, with length 1.
    out : ndarray, optional
        Receives the result: its shape (0-d for 1-D `x`) and dtype, any strides. A `MemoryError` or Ctrl-C may leave it
        partly written.

    Returns
    -------
    ndarray or NumPy scalar
        `out` if it was given; else a new C-order array of the shape of `x` without `axis` (length 1 with `keepdims`):
        float32, or float64 for float64 `x`, as losses are. A scalar where no axis is left.

    Raises
    ------
    TypeError, numpy.exceptions.AxisError
        As `softmax`.
    ValueError
        If `axis` has an axis twice, or `out` has another shape or cannot be written apart.

    References
    ----------
    P. Blanchard, D. J. Higham and N. J. Higham, Accurately computing the log-sum-exp and softmax functions, IMA Journal
    of Numerical Analysis 41 (2021), 2311-2330, equation 1.1.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.logsumexp([[1000.0, 1000.0], [0.0, float("-inf")]]))
    [1000.69314718    0.        ]
    """
    return _core.logsumexp(x, axis, temperature, softcap, logit_bias, keepdims, out)


def logsumexp_backward(
    grad_output: ArrayLike,
    x: ArrayLike,
    axis: Axes = -1,
    *,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    keepdims: bool = False,
    out: Array | None = None,
) -> Array:
    """Gradient through `logsumexp`.

    The vector-Jacobian product of ``logsumexp(x, axis, ...)`` for an upstream gradient ``g = grad_output``, with
    respect to ``x``. A row of nothing but ``-inf`` has gradient 0.

    The formula, with the temperature ``T``; with a softcap times ``1 - tanh(x[c] / softcap)^2``::

        out[c] = g / T * softmax(x)[c]

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result of `logsumexp`, in its shape; any of those dtypes.
    x : array_like, (..., C, ...)
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    axis : int, tuple of int or None, default -1
        The axis, or axes, summed over.
    temperature, softcap, logit_bias
        As `logsumexp` was given.
    keepdims : bool, default False
        Whether `grad_output` has these axes, with length 1.
    out : ndarray, (..., C, ...), optional
        Receives the result: the shape and dtype of `x`, any strides. May be `x` itself. A `MemoryError` or Ctrl-C may
        leave it partly written.

    Returns
    -------
    ndarray, (..., C, ...)
        `out` if it was given; else a new array of the dtype and memory order of `x`. A scalar for a number.

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
    return _core.logsumexp_backward(grad_output, x, axis, temperature, softcap, logit_bias, keepdims, out)
