"""Loops compiled by numba with the vector functions of SVML; without SVML, numba calls exp and log for each number."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from arrays import Buffers
from cells import Cell
from peers import Call

for name in ("libintlc.so.5", "libsvml.so"):  # of the package intel-cmplr-lib-rt, where the linker does not look
    if (library := Path(sys.prefix) / "lib" / name).exists():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)

import numba  # noqa: E402
from numba import njit, prange  # noqa: E402

if not numba.config.USING_SVML:
    raise ImportError("numba without SVML: pip install intel-cmplr-lib-rt")

BLOCK = 64  # rows of few classes that are transposed together
WIDTH = 256  # positions
FEW = 32  # classes
SMALL = 1 << 15  # elements for which a team of threads takes longer than the work
Kernel = Callable[..., float]


def long_rows(gradient: bool) -> Kernel:
    def kernel(x: Any, y: Any, g: Any) -> Any:
        n, classes = x.shape
        scale = x.dtype.type(1 / n)
        loss = 0.0
        for r in prange(n):
            row = x[r]
            top = row[0]
            for c in range(classes):
                top = max(top, row[c])
            total = x.dtype.type(0)
            for c in range(classes):
                total += math.exp(row[c] - top)
            loss += top + math.log(total) - row[y[r]]
            if gradient:
                factor = scale / total
                out = g[r]
                for c in range(classes):
                    out[c] = math.exp(row[c] - top) * factor
                g[r, y[r]] -= scale
        return loss / n

    return kernel


def short_rows(gradient: bool) -> Kernel:
    def kernel(x: Any, y: Any, g: Any) -> Any:
        n, classes = x.shape
        scale = x.dtype.type(1 / n)
        loss = 0.0
        for block in prange((n + BLOCK - 1) // BLOCK):
            first = block * BLOCK
            rows = min(BLOCK, n - first)
            t = np.empty((classes, BLOCK), x.dtype)
            top, total = np.empty(BLOCK, x.dtype), np.zeros(BLOCK, x.dtype)
            for r in range(rows):
                for c in range(classes):
                    t[c, r] = x[first + r, c]
            top[:] = t[0]
            for c in range(1, classes):
                line = t[c]
                for r in range(BLOCK):
                    top[r] = max(top[r], line[r])
            for c in range(classes):
                line = t[c]
                for r in range(BLOCK):
                    e = math.exp(line[r] - top[r])
                    total[r] += e
                    line[r] = e
            for r in range(rows):
                loss += top[r] + math.log(total[r]) - x[first + r, y[first + r]]
            if gradient:
                for r in range(BLOCK):
                    total[r] = scale / total[r]
                for r in range(rows):
                    for c in range(classes):
                        g[first + r, c] = t[c, r] * total[r]
                    g[first + r, y[first + r]] -= scale
        return loss / n

    return kernel


def planes(gradient: bool) -> Kernel:
    def kernel(x: Any, y: Any, g: Any) -> Any:
        n, classes, inner = x.shape
        scale = x.dtype.type(1 / (n * inner))
        blocks = (inner + WIDTH - 1) // WIDTH
        loss = 0.0
        for block in prange(n * blocks):
            i, first = block // blocks, block % blocks * WIDTH
            width = min(WIDTH, inner - first)
            e = np.empty((classes, WIDTH), x.dtype)
            top, total = x[i, 0, first : first + width].copy(), np.zeros(width, x.dtype)
            for c in range(1, classes):
                line = x[i, c, first : first + width]
                for p in range(width):
                    top[p] = max(top[p], line[p])
            for c in range(classes):
                line, terms = x[i, c, first : first + width], e[c]
                for p in range(width):
                    terms[p] = math.exp(line[p] - top[p])
                for p in range(width):
                    total[p] += terms[p]
            for p in range(width):
                loss += top[p] + math.log(total[p]) - x[i, y[i, first + p], first + p]
            if gradient:
                for p in range(width):
                    total[p] = scale / total[p]
                for c in range(classes):
                    line, terms = g[i, c, first : first + width], e[c]
                    for p in range(width):
                        line[p] = terms[p] * total[p]
                for p in range(width):
                    g[i, y[i, first + p], first + p] -= scale
        return loss / (n * inner)

    return kernel


def binary(gradient: bool) -> Kernel:
    def kernel(x: Any, y: Any, g: Any) -> Any:
        zero, one, scale = x.dtype.type(0), x.dtype.type(1), x.dtype.type(1 / len(x))
        loss = 0.0
        for block in prange((len(x) + 4095) // 4096):
            piece = slice(block * 4096, min(len(x), block * 4096 + 4096))
            row, target, out = x[piece], y[piece], g[piece]
            terms = np.empty(4096, x.dtype)
            for i in range(len(row)):
                terms[i] = math.exp(-abs(row[i]))
            part = zero
            for i in range(len(row)):
                part += max(row[i], zero) - row[i] * target[i] + math.log(one + terms[i])
            if gradient:
                for i in range(len(row)):
                    out[i] = ((terms[i] if row[i] < zero else one) / (one + terms[i]) - target[i]) * scale
            loss += part
        return loss / len(x)

    return kernel


class Numba:
    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        numba.set_num_threads(threads)
        shape = sets[0].logits.shape
        if cell.loss == "binary":
            kernel = binary
        elif len(shape) > 2:
            kernel = planes
        else:
            kernel = short_rows if shape[1] <= FEW else long_rows
        parallel = threads > 1 and sets[0].logits.size >= SMALL
        compiled = njit(parallel=parallel, fastmath=True, error_model="numpy")(kernel(cell.mode != "forward"))
        return [self.call(cell, compiled, b) for b in sets]

    def call(self, cell: Cell, compiled: Kernel, b: Buffers) -> Call:
        shape = b.logits.shape
        flat = (*shape[:2], -1) if len(shape) > 2 else shape

        target = b.target.reshape(shape[0], -1) if len(shape) > 2 else b.target

        def bound(x: np.ndarray, output: np.ndarray) -> Callable[[], tuple[float, np.ndarray | None]]:
            arrays = x.reshape(flat), target, output.reshape(flat)
            return lambda: (compiled(*arrays), output)

        if cell.mode == "forward":
            run = bound(b.logits, b.logits)
            return Call(lambda: (run()[0], None))
        if cell.mode == "in place":
            return Call(bound(b.output, b.output), before=lambda: np.copyto(b.output, b.logits))
        if cell.mode == "fresh":

            def fresh() -> tuple[float, np.ndarray]:
                out = np.empty_like(b.logits)
                return compiled(b.logits, b.target, out), out

            return Call(fresh)
        return Call(bound(b.logits, b.output))

    def first(self, array: np.ndarray, count: int) -> np.ndarray:
        return array[:count].astype(np.float64)
