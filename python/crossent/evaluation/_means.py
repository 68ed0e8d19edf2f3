"""Means with their standard errors, and quantiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .._types import Array


CHUNK = 1 << 14  # float64 numbers that stay in the cache


def ordered_sum(x: Array) -> float:
    """The sum of float64 numbers within 1 ULP, in a fixed order: halves are added to halves, with the rounding errors.

    math.fsum of all of them is exact, and takes five times as long.
    """
    if not np.isfinite(x).all():
        return float(np.sum(x))
    return math.fsum(part for first in range(0, x.size, CHUNK) for part in _two_sum(x[first : first + CHUNK]))


def _two_sum(x: Array) -> tuple[float, float]:
    """The sum and its rounding error."""
    error = 0.0
    while x.size > 1:
        if x.size % 2:
            x = np.append(x, 0.0)
        a, b = x[: x.size // 2], x[x.size // 2 :]
        x = a + b
        b_rounded = x - a
        error += float(np.sum((a - (x - b_rounded)) + (b - b_rounded)))
    return float(x[0]), error


class Blocks(NamedTuple):
    """Rows that belong together: windows or documents."""

    of_row: Array
    """The block of each row, counted from 0."""
    total: int
    """How many blocks there are."""

    @classmethod
    def of(cls, ids: Array | None) -> Blocks | None:
        """Of the numbers of the blocks of some rows: blocks without any of them do not count."""
        if ids is None:
            return None
        used, index = np.unique(ids, return_inverse=True)
        return cls(index, used.size)


class Mean(NamedTuple):
    """A mean with its standard errors."""

    value: float
    standard_error: float
    block_standard_error: float | None

    def transformed(self, value: float, derivative: float) -> Mean:
        """A function of the mean, of this value and derivative, by the delta method."""
        block = self.block_standard_error
        return Mean(value, derivative * self.standard_error, None if block is None else derivative * block)


def mean_of(x: Array, blocks: Blocks | None) -> Mean:
    """The mean of float64 numbers, its standard error if they are independent, and if only blocks of them are."""
    n = x.size
    mean = ordered_sum(x) / n
    if not math.isfinite(mean):
        return Mean(mean, math.nan, None if blocks is None else math.nan)
    deviations = x - mean
    error = _root(ordered_sum(deviations * deviations), n) / n
    if blocks is None:
        return Mean(mean, error, None)
    sums = np.bincount(blocks.of_row, weights=deviations, minlength=blocks.total)
    return Mean(mean, error, _root(ordered_sum(sums * sums), blocks.total) / n)


def _root(squares: float, count: int) -> float:
    """Of the squares of independent deviations from the mean: of one nothing follows."""
    return math.sqrt(count / (count - 1) * squares) if count > 1 else math.nan


def errors_of(means: dict[str, Mean]) -> tuple[dict[str, float], dict[str, float] | None]:
    """The standard errors by token, and by block where there are blocks."""
    by_block = {name: m.block_standard_error for name, m in means.items() if m.block_standard_error is not None}
    return {name: mean.standard_error for name, mean in means.items()}, by_block or None


LEVELS = {
    "max": 1.0,
    "99.9 %": 0.999,
    "99 %": 0.99,
    "95 %": 0.95,
    "90 %": 0.9,
    "75 %": 0.75,
    "median": 0.5,
    "25 %": 0.25,
    "10 %": 0.1,
    "5 %": 0.05,
    "1 %": 0.01,
    "0.1 %": 0.001,
    "min": 0.0,
}


def quantile(ordered: Array, level: float, dtype: type[np.floating] = np.float64) -> float:
    """Of ascending numbers, at the position ``level * (n - 1)``, which is computed in `dtype`; between two, linear."""
    position = dtype(level) * dtype(ordered.size - 1)
    below = min(int(position), ordered.size - 1)
    a, b = float(ordered[below]), float(ordered[min(below + 1, ordered.size - 1)])
    share = float(position - dtype(below))
    return a if share == 0 or a == b else (1 - share) * a + share * b


def quantiles(x: Array) -> dict[str, float]:
    """By the names of LEVELS."""
    ordered = np.sort(x)
    return {name: quantile(ordered, level) for name, level in LEVELS.items()}
