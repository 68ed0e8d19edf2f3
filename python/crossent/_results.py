"""Results of several fields. Imported at the first use: to make a named tuple takes a tenth as long as the package."""

from __future__ import annotations

from typing import Literal, NamedTuple


class TemperatureFit(NamedTuple):
    """The result of `fit_temperature`."""

    temperature: float
    """The temperature found."""
    nll_before: float
    """The mean cross-entropy at temperature 1, in nats."""
    nll_after: float
    """The mean cross-entropy at the temperature found."""
    at_bound: Literal["lower", "upper"] | None
    """Which of the bounds the temperature is, where the loss falls still beyond it."""
    passes: int
    """How many times the logits were read, at most 6."""
    converged: bool
    """False if that was not enough: then the temperature is the best one tried."""
