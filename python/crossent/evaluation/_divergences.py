"""How far the distribution of one row of classes is from that of another, where either may be stored in 16 bits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import _core
from .._kl_div_with_logits import kl_div_with_logits
from .._normalisers import logsumexp
from .._types import Array
from ._logits_file import LOG_PROB_CUT, STORED_RANGE

HUGE = 3e38  # beside which a log-probability is nothing


class Rows2D(NamedTuple):
    """A block of rows, as they were read."""

    x: Array
    """(n, C): logits, or log-probabilities as they were stored."""
    logsumexp: Array
    """(n,)"""
    is_stored: bool

    def log_probs(self) -> Array:
        return self.x if self.is_stored else self.x - self.logsumexp[:, None]

    def is_kept(self) -> Array:
        """Where a class is not clipped, that is, known to be as likely as what is stored."""
        lowest = self.x.max(axis=1, keepdims=True) - STORED_RANGE
        return self.x >= lowest if self.is_stored else np.ones(self.x.shape, bool)


def divergences(base: Rows2D, other: Rows2D) -> tuple[Array, Array, Array]:
    """KL(base || other), KL(other || base), and their Jensen-Shannon divergence, of each row."""
    b, q = unclipped(base, other) if base.is_stored or other.is_stored else (base.x, other.x)
    if b.dtype == np.float64:  # as the result is; the other one is converted as it is read
        q = q.astype(np.float64, copy=False)
    return _core.row_divergences(q, b, 1)


def unclipped(base: Rows2D, other: Rows2D) -> tuple[Array, Array]:
    """Log-probabilities, up to a constant of each row, where those that are clipped are lowered.

    A clipped class is at or below its stored value, 16 below the largest. It is taken to be as likely as in the other
    model, up to the stored value: so it adds no more to a divergence than it must. A class that is clipped in both
    models is left out.
    """
    b, q = base.log_probs(), other.log_probs()
    b_kept, q_kept = base.is_kept(), other.is_kept()
    in_none = ~(b_kept | q_kept)
    return lowered(b, q, b_kept, in_none), lowered(q, b, q_kept, in_none)


def lowered(x: Array, other: Array, kept: Array, in_none: Array) -> Array:
    """The smaller of `x` and `other` where `x` is not kept, and less than any probability where neither is."""
    bound = np.multiply(kept, HUGE, dtype=x.dtype)  # as fast as memory, which np.where is not
    bound += other
    if np.isneginf(bound).any():
        bound[kept] = HUGE
    np.minimum(x, bound, out=bound)
    bound -= np.multiply(in_none, HUGE, dtype=x.dtype)
    return bound


def divergence_of_llama(base: Rows2D, other: Rows2D) -> Array:
    """``sum_c exp(b[c]) (b[c] - log q[c])`` over the classes with ``b[c] > -16``, b as stored, q = softmax(other).

    As ``M (KL(b / M || q) + log M)`` of their sum ``M = sum_c exp(b[c])``; it may be negative.
    """
    kept = np.where(base.x > LOG_PROB_CUT, base.x, -np.inf)
    log_mass = logsumexp(kept, axis=1).astype(np.float64)
    kl = np.asarray(kl_div_with_logits(other.x, kept, axis=1, reduction="none"))
    found: Array = np.exp(log_mass) * (kl + log_mass)
    return found
