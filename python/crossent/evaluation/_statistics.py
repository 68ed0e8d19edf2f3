"""Means with their standard errors, quantiles and histograms of very many numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
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


ROWS_AT_A_TIME = 1 << 20
MOST_POSITIONS = 64


class Binned(NamedTuple):
    """A histogram."""

    counts: Array
    edges: Array
    logarithmic: bool


class ByPosition(NamedTuple):
    """Means over the rows of each position in a window, or of a few positions that follow each other."""

    position: Array
    """The mean position, from 0."""
    mean: Array
    standard_error: Array
    """If only the rows of different windows are independent."""


def histogram(x: Array, *, bins: int = 60, logarithmic: bool = False) -> Binned | None:
    """Of the finite numbers, the positive ones if `logarithmic`; None where there is none."""
    ends = [(part.min(), part.max()) for part in _parts(x, logarithmic) if part.size]
    if not ends:
        return None
    low, high = min(a for a, _ in ends), max(b for _, b in ends)
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = np.zeros(bins, np.int64)
    for part in _parts(x, logarithmic):
        found, edges = np.histogram(part, bins, (low, high))
        counts += found
    return Binned(counts, np.exp(edges) if logarithmic else edges, logarithmic)


def _parts(x: Array, logarithmic: bool) -> Iterator[Array]:
    for first in range(0, x.size, ROWS_AT_A_TIME):
        part = x[first : first + ROWS_AT_A_TIME].astype(np.float64)
        part = part[np.isfinite(part)]
        yield np.log(part[part > 0]) if logarithmic else part


def smallest(x: Array, count: int) -> Array:
    """Where the smallest numbers are, the smallest first, of equal ones the first; NaN are none."""
    count = min(count, int(np.count_nonzero(~np.isnan(x))))
    if count == 0:
        return np.empty(0, np.intp)
    last = np.partition(x, count - 1)[count - 1]
    near = np.flatnonzero(x <= last)
    found: Array = near[np.argsort(x[near], kind="stable")[:count]]
    return found


def by_position(x: Array, window: int) -> ByPosition:
    """The means of finite numbers by their position in windows of so many rows, which follow each other."""
    window = max(1, min(window, x.size))
    groups = min(window, MOST_POSITIONS)
    group = np.arange(window) * groups // window
    sums = np.zeros((6, groups))
    at_a_time = max(1, ROWS_AT_A_TIME // window) * window
    for first in range(0, x.size, at_a_time):
        part = x[first : first + at_a_time].astype(np.float64)
        used = np.flatnonzero(np.isfinite(part))
        cell = used // window * groups + group[used % window]
        cells = -(-part.size // window) * groups
        n = np.bincount(cell, minlength=cells).reshape(-1, groups)
        s = np.bincount(cell, part[used], cells).reshape(-1, groups)
        sums += [m.sum(axis=0) for m in (n, s, n > 0, n * n, n * s, s * s)]
    return _means(sums, np.bincount(group, np.arange(window)) / np.bincount(group))


def _means(sums: Array, position: Array) -> ByPosition:
    used = sums[0] > 0
    n, s, windows, nn, ns, ss = sums[:, used]
    mean = s / n
    squares = np.maximum(ss - 2 * mean * ns + mean**2 * nn, 0)  # of the sums of deviations of each window
    factor = np.where(windows > 1, windows / np.maximum(windows - 1, 1), np.nan)
    return ByPosition(position[used], mean, np.sqrt(factor * squares) / n)


def finite_mean(x: Array) -> float:
    """The mean of the finite numbers, at least one of them."""
    parts = [(part.sum(), part.size) for part in _parts(x, False)]
    return float(sum(total for total, _ in parts) / sum(size for _, size in parts))
