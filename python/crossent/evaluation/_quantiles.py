"""Quantiles of sorted numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .._types import Array

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
