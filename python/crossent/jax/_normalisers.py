"""Softmax and its logarithm on JAX arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from .._arrays import like
from .._axes import Axes as ClassAxes
from ._arguments import floating, normaliser
from ._backends import normalised

if TYPE_CHECKING:
    import jax
    from numpy.typing import DTypeLike

    from .._types import Axes
    from ._arguments import Arrays


def softmax(
    x: Arrays,
    axis: Axes = -1,
    *,
    temperature: Arrays = 1.0,
    softcap: float | None = None,
    logit_bias: Arrays | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Softmax of `x` along an axis.

    The formula, with the temperature ``T``: ``out = exp(x / T) / sum_k exp(x[k] / T)``.

    Parameters
    ----------
    x : array, (..., C, ...)
        Float16, bfloat16, float32 or float64.
    axis : int, tuple of int or None, default -1
        The class axis, or several, whose entries are classes together; None: all of them.
    temperature : float or array, default 1.0
        Finite and > 0; divides `x`. An array has one for each row, as for `crossent.softmax`.
    softcap, logit_bias
        As for `crossent.softmax`.
    dtype : dtype, optional
        Of the result: that of `x`, which is the default, or float32 for float16 and bfloat16 `x`.

    Returns
    -------
    jax.Array in the shape of `x`

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        When it is traced: as `crossent.softmax`.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, equation 4.104.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import crossent.jax as xj
    >>> print(xj.softmax(jnp.array([0.0, 0.0])))
    [0.5 0.5]
    """
    return _normalised("softmax", x, axis, temperature, softcap, logit_bias, dtype)


def log_softmax(
    x: Arrays,
    axis: Axes = -1,
    *,
    temperature: Arrays = 1.0,
    softcap: float | None = None,
    logit_bias: Arrays | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Logarithm of the softmax of `x` along an axis.

    The formula, with the temperature ``T``: ``out = x / T - log(sum_k exp(x[k] / T))``.

    Parameters
    ----------
    x : array, (..., C, ...)
        Float16, bfloat16, float32 or float64.
    axis : int, tuple of int or None, default -1
        The class axis, or several, whose entries are classes together; None: all of them.
    temperature : float or array, default 1.0
        Finite and > 0; divides `x`. An array has one for each row, as for `crossent.softmax`.
    softcap, logit_bias
        As for `crossent.softmax`.
    dtype : dtype, optional
        Of the result: that of `x`, which is the default, or float32 for float16 and bfloat16 `x`.

    Returns
    -------
    jax.Array in the shape of `x`

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        When it is traced: as `crossent.log_softmax`.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, equation 4.104.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import crossent.jax as xj
    >>> print(xj.log_softmax(jnp.array([0.0, 0.0])))
    [-0.6931472 -0.6931472]
    """
    return _normalised("log_softmax", x, axis, temperature, softcap, logit_bias, dtype)


def _normalised(function: str, given: Arrays, axis: Axes, *options: Any) -> jax.Array:
    x = floating("x", given)
    if x.ndim > 0 and axis is not None and not isinstance(axis, tuple):
        return normalised(*normaliser(function, x, axis, *options))
    axes = ClassAxes("x", like(x), axis)
    last = tuple(range(len(axes.rows), x.ndim))
    moved = jnp.moveaxis(x, axes.classes, last)
    out = normalised(*normaliser(function, moved.reshape(*axes.rows, axes.count), -1, *options))
    return jnp.moveaxis(out.reshape(moved.shape), last, axes.classes)
