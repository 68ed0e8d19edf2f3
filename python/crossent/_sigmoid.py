"""The logistic sigmoid and its logarithm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._types import Array, Scalar


def sigmoid(x: ArrayLike, *, out: Array | None = None) -> Scalar | Array:
    """Probability of an event from its logit.

    Every element has full relative accuracy, however small, and subnormal numbers are not flushed: 0 at ``-inf``, 1 at
    ``+inf``, NaN at NaN. The derivative is ``sigmoid(x) * sigmoid(-x)``.

    The formula::

        sigmoid(x) = 1 / (1 + exp(-x))

    Parameters
    ----------
    x : array_like
        Logits; float16, bfloat16 (of ml_dtypes), float32 or float64 of any shape and strides. Integers, bool and lists
        become float64.
    out : ndarray, optional
        Receives the result: the shape and dtype of `x`, any strides. May be `x` itself. A `MemoryError` or Ctrl-C may
        leave it partly written.

    Returns
    -------
    ndarray or NumPy scalar
        `out` if it was given; else a new array of the shape, dtype and memory order of `x`. A scalar for a number.

    Raises
    ------
    TypeError
        If a dtype is not supported.
    ValueError
        If `out` has another shape or cannot be written in place or apart.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, equation 4.59.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.sigmoid([0.0, -50.0]))
    [5.00000000e-01 1.92874985e-22]
    """
    return _core.sigmoid(x, out)


def log_sigmoid(x: ArrayLike, *, out: Array | None = None) -> Scalar | Array:
    """Log-probability of an event from its logit.

    Every element has full relative accuracy, near 0 too: ``-inf`` at ``-inf``, 0 at ``+inf``, NaN at NaN. The
    derivative is ``sigmoid(-x)``; ``-log_sigmoid(-x)`` is the softplus, ``log(1 + exp(x))``.

    The formula, in nats::

        log_sigmoid(x) = -log(1 + exp(-x))

    Parameters
    ----------
    x : array_like
        Logits; float16, bfloat16 (of ml_dtypes), float32 or float64 of any shape and strides. Integers, bool and lists
        become float64.
    out : ndarray, optional
        Receives the result: the shape and dtype of `x`, any strides. May be `x` itself. A `MemoryError` or Ctrl-C may
        leave it partly written.

    Returns
    -------
    ndarray or NumPy scalar
        `out` if it was given; else a new array of the shape, dtype and memory order of `x`. A scalar for a number.

    Raises
    ------
    TypeError, ValueError
        As `sigmoid`.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006: the logarithm of equation 4.59.

    Examples
    --------
    >>> import crossent as xe
    >>> print(xe.log_sigmoid([50.0, -1000.0]))
    [-1.92874985e-22 -1.00000000e+03]
    """
    return _core.log_sigmoid(x, out)
