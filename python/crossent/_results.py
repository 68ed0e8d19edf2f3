"""Results of several fields. Imported at the first use: to make a named tuple takes a tenth as long as the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from ._types import Array


class TemperatureFit(NamedTuple):
    """The result of `fit_temperature`."""

    temperature: float
    """The temperature found."""
    nll_before: float
    """The mean cross-entropy at temperature 1, in nats."""
    nll_after: float
    """The mean cross-entropy at the temperature found; NaN where the only pass was at 1, and 1 is out of the bounds."""
    at_bound: Literal["lower", "upper"] | None
    """The bound that the temperature is at, if the loss still falls beyond it."""
    passes: int
    """How many times the logits were read, at most `max_passes`."""
    converged: bool
    """False if that was not enough: then the temperature is the best one tried within the bounds."""


class RowStatistics(NamedTuple):
    """The result of `row_statistics`: arrays in the shape of the rows."""

    log_prob: Array | None
    """The log-probability of the target; None without targets."""
    rank: Array | None
    """How many classes have a larger logit than the target, or an equal one and a lower index; None without targets."""
    argmax: Array
    """The class of the largest logit, the first of equal ones."""
    max_log_prob: Array
    """The log-probability of that class."""
    entropy: Array
    """The entropy of the probabilities, in nats."""
    logsumexp: Array
    """``log(sum(exp(x / temperature)))``."""
    sum_of_squares: Array
    """The sum of the squares of the probabilities."""
    top_k: Array
    """The `top_k` classes of the largest logits, the largest first, along a last axis."""
    top_k_log_probs: Array
    """The log-probabilities of these classes."""
