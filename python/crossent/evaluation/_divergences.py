"""How far the distribution of one row of classes is from that of another, where either may be stored in 16 bits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import _core
from .._kl_div_with_logits import kl_div_with_logits
from .._normalisers import logsumexp
from .._types import Array
from ._logits_file import LOG_PROB_CUT, STORED_RANGE


class Rows2D(NamedTuple):
    """A block of rows, as they were read."""

    x: Array
    """(n, C): logits, or log-probabilities as they were stored."""
    logsumexp: Array
    """(n,)"""
    is_stored: bool

    def log_probs(self) -> Array:
        return self.x if self.is_stored else self.x - self.logsumexp[:, None]

    def is_clipped(self) -> Array:
        """Whether a class may be less likely than what is stored."""
        lowest = self.x.max(axis=1, keepdims=True) - STORED_RANGE
        return self.x < lowest if self.is_stored else np.zeros(self.x.shape, bool)


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
    b_clipped, q_clipped = base.is_clipped(), other.is_clipped()
    smaller = np.minimum(b, q)
    smaller[b_clipped & q_clipped] = -np.inf
    return np.where(b_clipped, smaller, b), np.where(q_clipped, smaller, q)


def divergence_of_llama(base: Rows2D, other: Rows2D) -> Array:
    """``sum_c exp(b[c]) (b[c] - log q[c])`` over the classes with ``b[c] > -16``, b as stored, q = softmax(other).

    As ``M (KL(b / M || q) + log M)`` of their sum ``M = sum_c exp(b[c])``; it may be negative.
    """
    kept = np.where(base.x > LOG_PROB_CUT, base.x, -np.inf)
    log_mass = logsumexp(kept, axis=1).astype(np.float64)
    kl = np.asarray(kl_div_with_logits(other.x, kept, axis=1, reduction="none"))
    found: Array = np.exp(log_mass) * (kl + log_mass)
    return found
