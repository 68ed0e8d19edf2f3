"""Measures of information: entropy, cross-entropy, divergences and perplexity, along one axis.

In nats unless a base is given. They take probabilities as they are, without renormalising them; what ends in
``_with_logits``, and `perplexity`, take logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._types import Array, Number, Scalar

__all__ = ["cross_entropy", "entropy", "entropy_with_logits", "js_divergence", "kl_divergence", "perplexity"]


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]


def entropy(p: ArrayLike, axis: int = -1, *, base: float | None = None) -> Scalar | Array:
    """Entropy of the probabilities `p` along an axis, in nats unless `base` is given.

    The default axis is the last one; that of `scipy.stats.entropy` is the first one. `p` is not renormalised, as it is
    there. A class of probability 0 adds 0.

    The formula::

        entropy(p) = -sum_c p[c] * log p[c]

    Parameters
    ----------
    p : array_like, (..., C, ...)
        Probabilities, finite and >= 0. Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers,
        bool and lists become float64.
    axis : int, default -1
        The class axis.
    base : float, optional
        The base of the logarithm, finite, > 0 and not 1: 2 for bits. The default is e, for nats.

    Returns
    -------
    NumPy scalar, or ndarray in the shape of `p` without `axis`
        Float32, or float64 for float64 `p`.

    Raises
    ------
    TypeError
        If a dtype is not supported, `axis` is not one int, or `base` is not a number.
    ValueError
        If a probability is negative or not finite, C is 0, or `base` is out of range.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    References
    ----------
    C. E. Shannon, A Mathematical Theory of Communication, Bell System Technical Journal 27 (1948), section 6.
    T. M. Cover and J. A. Thomas, Elements of Information Theory, 2nd edition, Wiley 2006, equation 2.1.

    Examples
    --------
    >>> import crossent as xe
    >>> print(f"{xe.information.entropy([0.25, 0.25, 0.5, 0.0], base=2):.6f}")
    1.500000
    """
    return _core.entropy(p, axis, base)


def cross_entropy(p: ArrayLike, q: ArrayLike, axis: int = -1, *, base: float | None = None) -> Scalar | Array:
    """Cross-entropy of the probabilities `q` under `p` along an axis, in nats unless `base` is given.

    The mean length of a code for `q` where `p` is the truth. Neither is renormalised. A class with ``p = 0`` adds 0,
    whatever `q` is; one with ``p > 0`` where ``q = 0`` makes it ``inf``. The loss of logits is
    `crossent.cross_entropy`.

    The formula::

        cross_entropy(p, q) = -sum_c p[c] * log q[c]

    Parameters
    ----------
    p : array_like, (..., C, ...)
        Probabilities, finite and >= 0. Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers,
        bool and lists become float64.
    q : array_like in the shape of `p`
        Probabilities, finite and >= 0; any of the dtypes of `p`.
    axis : int, default -1
        The class axis.
    base : float, optional
        The base of the logarithm, finite, > 0 and not 1: 2 for bits. The default is e, for nats.

    Returns
    -------
    NumPy scalar, or ndarray in the shape of `p` without `axis`
        Float32, or float64 for float64 `p`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `entropy`; ValueError also if the shapes differ.

    References
    ----------
    I. Goodfellow, Y. Bengio and A. Courville, Deep Learning, MIT Press 2016, equation 3.51.

    Examples
    --------
    >>> import crossent as xe
    >>> print(f"{xe.information.cross_entropy([0.5, 0.5], [0.25, 0.75]):.6f}")
    0.836988
    """
    return _core.information_cross_entropy(p, q, axis, base)


def kl_divergence(p: ArrayLike, q: ArrayLike, axis: int = -1, *, base: float | None = None) -> Scalar | Array:
    """Kullback-Leibler divergence of `p` from `q` along an axis, in nats unless `base` is given.

    Also called relative entropy. The default axis is the last one; that of `scipy.stats.entropy`, which computes this
    where it is given two arguments, is the first one. Neither argument is renormalised, as they are there; for what
    is not a distribution the result may be negative. A class with ``p = 0`` adds 0; one with ``p > 0`` where
    ``q = 0`` makes it ``inf``.

    The formula::

        kl_divergence(p, q) = sum_c p[c] * log(p[c] / q[c])

    Parameters
    ----------
    p : array_like, (..., C, ...)
        Probabilities, finite and >= 0. Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers,
        bool and lists become float64.
    q : array_like in the shape of `p`
        Probabilities, finite and >= 0; any of the dtypes of `p`.
    axis : int, default -1
        The class axis.
    base : float, optional
        The base of the logarithm, finite, > 0 and not 1: 2 for bits. The default is e, for nats.

    Returns
    -------
    NumPy scalar, or ndarray in the shape of `p` without `axis`
        Float32, or float64 for float64 `p`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `entropy`; ValueError also if the shapes differ.

    References
    ----------
    S. Kullback and R. A. Leibler, On Information and Sufficiency, Annals of Mathematical Statistics 22 (1951), 79-86.
    T. M. Cover and J. A. Thomas, Elements of Information Theory, 2nd edition, Wiley 2006, equation 2.26.

    Examples
    --------
    >>> import crossent as xe
    >>> print(f"{xe.information.kl_divergence([0.5, 0.5], [0.25, 0.75]):.6f}")
    0.143841
    """
    return _core.kl_divergence(p, q, axis, base)


def js_divergence(p: ArrayLike, q: ArrayLike, axis: int = -1, *, base: float | None = None) -> Scalar | Array:
    """Jensen-Shannon divergence of `p` and `q` along an axis, in nats unless `base` is given.

    Symmetric, finite, and at most ``log 2`` for distributions. The divergence itself:
    `scipy.spatial.distance.jensenshannon` is its square root, and its default axis is the first one. Neither argument
    is renormalised, as they are there.

    The formula, with ``m = (p + q) / 2``::

        js_divergence(p, q) = 1/2 * sum_c p[c] * log(p[c] / m[c])  +  1/2 * sum_c q[c] * log(q[c] / m[c])

    Parameters
    ----------
    p : array_like, (..., C, ...)
        Probabilities, finite and >= 0. Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers,
        bool and lists become float64.
    q : array_like in the shape of `p`
        Probabilities, finite and >= 0; any of the dtypes of `p`.
    axis : int, default -1
        The class axis.
    base : float, optional
        The base of the logarithm, finite, > 0 and not 1: 2 for bits. The default is e, for nats.

    Returns
    -------
    NumPy scalar, or ndarray in the shape of `p` without `axis`
        Float32, or float64 for float64 `p`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `entropy`; ValueError also if the shapes differ.

    References
    ----------
    J. Lin, Divergence Measures Based on the Shannon Entropy, IEEE Transactions on Information Theory 37 (1991),
    145-151.

    Examples
    --------
    >>> import crossent as xe
    >>> print(f"{xe.information.js_divergence([1.0, 0.0], [0.0, 1.0], base=2):.6f}")
    1.000000
    """
    return _core.js_divergence(p, q, axis, base)


def entropy_with_logits(logits: ArrayLike, axis: int = -1) -> Scalar | Array:
    """Entropy of the softmax of `logits` along an axis, in nats.

    The relative accuracy is full also for confident rows, whose entropy is tiny. The default axis is the last one.

    The formula, with ``p = softmax(logits)``::

        entropy_with_logits(logits) = -sum_c p[c] * log p[c]

    Parameters
    ----------
    logits : array_like, (..., C, ...)
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    axis : int, default -1
        The class axis.

    Returns
    -------
    NumPy scalar, or ndarray in the shape of `logits` without `axis`
        Float32, or float64 for float64 `logits`. Rows with a NaN, with ``+inf`` or with nothing but ``-inf`` are NaN.

    Raises
    ------
    TypeError
        If a dtype is not supported, or `axis` is not one int.
    ValueError
        If C is 0.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    References
    ----------
    T. M. Cover and J. A. Thomas, Elements of Information Theory, 2nd edition, Wiley 2006, equation 2.1.

    Examples
    --------
    >>> import crossent as xe
    >>> print(f"{xe.information.entropy_with_logits([0.0, 0.0, float('-inf')]):.6f}")
    0.693147
    """
    return _core.entropy_with_logits(logits, axis)


def perplexity(
    logits: ArrayLike, target: ArrayLike, *, axis: int | None = None, ignore_index: int | None = -100
) -> Number:
    """Perplexity of `target` under the softmax of `logits`: the exponential of their mean cross-entropy.

    Between 1 and ``inf``; C for a model that knows nothing. Of several batches, average the losses and not this.

    The formula::

        perplexity(logits, target) = exp(cross_entropy(logits, target, reduction="mean"))

    Parameters
    ----------
    logits, target, axis, ignore_index
        As for `crossent.cross_entropy`: the default of `axis` is 1, or 0 for 1-D logits.

    Returns
    -------
    NumPy scalar
        Float32, or float64 for float64 `logits`. NaN where no row counts, as for an empty batch.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `crossent.cross_entropy`.

    References
    ----------
    F. Jelinek et al., Perplexity: a measure of the difficulty of speech recognition tasks, Journal of the Acoustical
    Society of America 62 (1977), S63.

    Examples
    --------
    >>> import crossent as xe
    >>> print(f"{xe.information.perplexity([[0.0, 0.0, 0.0, 0.0]], [2]):.6f}")
    4.000000
    """
    return _core.perplexity(logits, target, axis, ignore_index)
