"""Numbers of very many rows, put into a few bins with little memory beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .._types import Array

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
    """Of those that are finite, of which there is one."""
    parts = [(part.sum(), part.size) for part in _parts(x, False)]
    return float(sum(total for total, _ in parts) / sum(size for _, size in parts))
