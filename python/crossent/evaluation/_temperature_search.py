"""The search for the temperature of the least loss, one pass over the logits for each temperature."""

from __future__ import annotations

import math
from typing import Literal

MOST_PASSES = 20
FIRST_STEP = math.log(1.25)
SMALL_STEP = 1e-6  # of log T: the last secant makes the error far smaller


class TemperatureSearch:
    """The secant method for the zero of ``log(mean_gap / target_gap)`` inside an interval of log T that holds it.

    Of the logits x of all rows, ``target_gap`` is the mean of ``max(x) - x[y]``, and ``mean_gap`` that of ``max(x)``
    less the mean of x under softmax(x / T). The loss rises with T where mean_gap is the larger. As a function of 1 / T
    the logarithm falls and is nearly straight: see docs/tutorial/3-temperature.md, whose Newton steps want the
    variance, too.
    """

    def __init__(self, low: float, high: float) -> None:
        self._bounds = low, high
        self._inside = [math.log(low), math.log(high)]
        self._last: tuple[float, float] | None = None
        self._was_secant = False
        self.temperature = min(max(1.0, low), high)
        """The one to be tried next, or in the end the result."""
        self.at_bound: Literal["lower", "upper"] | None = None
        self.is_found = False
        """Whether the temperature is the result: if `at_bound` is None, it may not have been tried."""

    def take(self, mean_gap: float, target_gap: float) -> None:
        """The gaps at `temperature`."""
        if mean_gap == target_gap:  # at a bound: both are 0, the other one of every row having underflowed
            self.is_found = True
            has_risen = self._inside[1] < math.log(self._bounds[1])
            self.at_bound = "lower" if has_risen and self.temperature == self._bounds[0] else None
            return
        rises = mean_gap > target_gap
        if self.temperature == self._bounds[0 if rises else 1]:
            self.at_bound = "lower" if rises else "upper"
            self.is_found = True
            return
        log_t = math.log(self.temperature)
        self._inside[1 if rises else 0] = log_t
        log_next = self._proposed(log_t, _log_ratio(mean_gap, target_gap))
        if abs(log_next - log_t) <= SMALL_STEP:
            self.is_found = True
            self.temperature = min(max(math.exp(log_next), self._bounds[0]), self._bounds[1])
        else:
            self.temperature = self._next(log_next, 0 if rises else 1)

    def _proposed(self, log_t: float, value: float) -> float:
        """NaN where the secant says nothing; the middle of the interval where the last one has helped little."""
        here = math.exp(-log_t), value
        last, self._last = self._last, here
        is_slow, self._was_secant = self._was_secant and last is not None and abs(value) > abs(last[1]) / 2, False
        if last is None and math.isfinite(value):
            return log_t - math.copysign(FIRST_STEP, value)
        if is_slow:
            return sum(self._inside) / 2
        if last is None or not math.isfinite(last[1] - value) or last[1] == value:
            return math.nan
        self._was_secant = True
        inverse = here[0] + value * (last[0] - here[0]) / (value - last[1])
        return -math.log(inverse) if inverse > 0 else math.inf

    def _next(self, log_t: float, towards: int) -> float:
        """`log_t` where it is inside; else a bound, to be tried once, or the middle of the interval."""
        if self._inside[0] < log_t < self._inside[1]:
            return math.exp(log_t)
        bound = self._bounds[towards]
        if self._inside[towards] == math.log(bound):
            return bound
        return math.exp(sum(self._inside) / 2)


def _log_ratio(mean_gap: float, target_gap: float) -> float:
    """Of numbers that are not negative and not both 0."""
    if target_gap == 0:
        return math.inf
    return math.log(mean_gap / target_gap) if mean_gap > 0 else -math.inf
