"""How many digits of what a library computes are right: its largest errors on a few rows, in ULP of the exact values.

Each row is repeated so often that it goes the way of many rows, and its loss is the mean.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from arrays import Buffers, aligned_empty, softmax_in_place
from cells import SMOOTHING, TEMPERATURE, Cell, dtype_of
from peers import Peer

Exact = np.longdouble
FEW = 128  # classes; longer rows are not repeated
PRECISIONS = {"float16": (11, -24), "bfloat16": (8, -133), "float32": (24, -149), "float64": (53, -1074)}


def sample(cell: Cell) -> Cell:
    """The cell with one row, repeated."""
    if cell.loss == "binary":
        return replace(cell, shape=(1024,), mask=None)
    if len(cell.shape) > 2:
        return replace(cell, shape=(1, cell.shape[1], 16, 16), mask=None)
    return replace(cell, shape=(64 if cell.shape[1] <= FEW else 1, cell.shape[1]), mask=None)


def one_row(cell: Cell, rng: np.random.Generator, sure: bool) -> tuple[np.ndarray, np.ndarray]:
    """Logits and target, as the cell has them; `sure`: with a loss near 0."""
    dtype = dtype_of(cell)
    if cell.loss == "binary":
        x, y = rng.normal(0, 3), rng.integers(2)
        return np.array([(2 * y - 1) * rng.uniform(5, 25) if sure else x], dtype), np.array([y], dtype)
    x = rng.normal(0, 3, cell.shape[1])
    target = rng.integers(len(x))
    if cell.loss == "distillation":
        return x.astype(dtype), (x + 1e-3 * rng.normal(size=len(x)) if sure else rng.normal(0, 3, len(x))).astype(dtype)
    if sure:
        x[target] = x.max() + rng.uniform(5, 20)
    if cell.loss == "soft":
        return x.astype(dtype), softmax_in_place(x if sure else rng.normal(0, 3, len(x))).astype(dtype)
    return x.astype(dtype), np.array([target])


def repeated(shape: tuple[int, ...], x: np.ndarray, y: np.ndarray) -> Buffers:
    def over(row: np.ndarray) -> np.ndarray:
        array = aligned_empty(shape, row.dtype)
        array[...] = row.reshape(1, -1, *(1,) * (len(shape) - 2)) if len(shape) > 1 else row
        return array

    logits = over(x)
    classes = len(shape) > 1 and y.dtype == np.int64
    return Buffers(logits, np.full(shape[:1] + shape[2:], y[0]) if classes else over(y), logits.copy())


def log_softmax(x: np.ndarray) -> np.ndarray:
    """Without cancellation: the maximum is no term of the sum."""
    gap = x.max() - x
    return -(gap + np.log1p(np.exp(-np.delete(gap, gap.argmin())).sum()))


def exact(cell: Cell, logits: np.ndarray, target: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
    """The loss of a row; its gradient or the output; the numbers whose ULP counts for the latter.

    These are the entries themselves, or the larger of the two terms where an entry is a difference.
    """
    x = logits.astype(Exact)
    if cell.loss == "binary":
        sign = 1 - 2 * target.astype(Exact)
        s = sign * x
        slope = sign / (1 + np.exp(-s))
        return (np.maximum(s, 0) + np.log1p(np.exp(-np.abs(s))))[0], slope, slope
    if cell.loss == "distillation":
        log_q, log_p = log_softmax(x / Exact(TEMPERATURE)), log_softmax(target.astype(Exact) / Exact(TEMPERATURE))
        q, p = np.exp(log_q) / Exact(TEMPERATURE), np.exp(log_p) / Exact(TEMPERATURE)
        return (np.exp(log_p) * (log_p - log_q)).sum(), q - p, np.maximum(q, p)
    log_p = log_softmax(x)
    if cell.loss == "log_softmax":
        return None, log_p, log_p
    p = np.exp(log_p)
    if cell.loss == "soft":
        t = target.astype(Exact) * (1 - Exact(SMOOTHING)) + Exact(SMOOTHING) / len(x)
        p *= t.sum()
        return -(t * log_p).sum(), p - t, np.maximum(p, t)
    y = target[0]
    p[y] = -np.delete(p, y).sum()
    return -log_p[y], p, p


def ulps(values: Any, right: Any, unit: Any, dtype: str) -> float:
    """The largest difference, in units of the last place of `unit`."""
    digits, least = PRECISIONS[dtype]
    _, exponents = np.frexp(unit)
    difference = np.abs(np.asarray(values, Exact) - right)
    return float(np.max(np.ldexp(difference, -np.maximum(exponents - digits, least))))


def largest_errors(peer: Peer, cell: Cell, threads: int) -> tuple[float, float]:
    """In ULP, of rows like those that are timed, and of rows with a loss near 0."""
    small = sample(cell)
    rng = np.random.default_rng(2)
    count = 64 if np.prod(small.shape) <= 1 << 14 else 8
    rows = [one_row(small, rng, sure) for sure in (False, True) for _ in range(count)]
    sets = [repeated(small.shape, *row) for row in rows]
    errors = []
    for call, row, b in zip(peer.prepare(small, sets, threads), rows, sets, strict=True):
        call.before()
        loss, array = call.run()
        right_loss, right, unit = exact(cell, *row)
        if array is None:
            errors.append(ulps(float(loss), right_loss, right_loss, cell.dtype))
        else:
            first = np.asarray(peer.first(array, 1), np.float64).reshape(len(right), -1)[:, 0]
            scale = 1 if cell.mode == "output" else b.logits.size // len(right)  # a power of two
            errors.append(ulps(first * scale, right, unit, cell.dtype))
    return max(errors[:count]), max(errors[count:])
