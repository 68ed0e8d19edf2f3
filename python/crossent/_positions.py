"""Rows and elements of arrays, for checks and their messages."""

from __future__ import annotations

import numpy as np


def position(name: str, shape: tuple[int, ...], at: int) -> str:
    """The name of the element `at`, counted in C order: "target[3, 5]", or "target" for a 0-d array."""
    place = np.unravel_index(at, shape)
    return f"{name}[{', '.join(map(str, place))}]" if place else name


def rows_of(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The rows' shape: `shape` without the class axis."""
    return shape[:axis] + shape[axis + 1 :]
