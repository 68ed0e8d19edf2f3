"""Softmax and its logarithm on JAX arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arguments import normaliser
from ._derivatives import normalised

if TYPE_CHECKING:
    import jax

    from ._arguments import Arrays


def softmax(x: Arrays, axis: int = -1, *, temperature: float = 1.0) -> jax.Array:
    """Softmax of `x` along an axis.

    The formula, with the temperature ``T``: ``out = exp(x / T) / sum_k exp(x[k] / T)``.

    Parameters
    ----------
    x : array with at least one axis
        Float16, bfloat16, float32 or float64.
    axis : int, default -1
        The class axis.
    temperature : float, default 1.0
        Finite and > 0; divides `x`.

    Returns
    -------
    jax.Array in the shape and dtype of `x`

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
    return normalised(*normaliser("softmax", x, axis, temperature))


def log_softmax(x: Arrays, axis: int = -1, *, temperature: float = 1.0) -> jax.Array:
    """Logarithm of the softmax of `x` along an axis.

    The formula, with the temperature ``T``: ``out = x / T - log(sum_k exp(x[k] / T))``.

    Parameters
    ----------
    x : array with at least one axis
        Float16, bfloat16, float32 or float64.
    axis : int, default -1
        The class axis.
    temperature : float, default 1.0
        Finite and > 0; divides `x`.

    Returns
    -------
    jax.Array in the shape and dtype of `x`

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
    return normalised(*normaliser("log_softmax", x, axis, temperature))
