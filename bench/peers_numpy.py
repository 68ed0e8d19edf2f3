"""NumPy by hand, SciPy and scikit-learn's private `_loss`. README.md says what is called.

The formulas write into arrays that exist: `out`, the gradient or the output, and scratch of the same shape. NumPy's
and SciPy's run on one thread, whatever is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from arrays import Buffers
from cells import SMOOTHING, TEMPERATURE, Cell
from peers import Call

Array = np.ndarray
# log_softmax(x, axis, out): SciPy's, which ignores `out`, or the one below. The result is the caller's to overwrite.
LogSoftmax = Callable[[Array, int, Array | None], Array]


def log_softmax(x: Array, axis: int, out: Array | None = None) -> Array:
    shifted = np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
    shifted -= np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return shifted


def cross_entropy(x: Array, y: Array, axis: int, out: Array, gradient: bool) -> float:
    top = x.max(axis=axis, keepdims=True)
    index = np.expand_dims(y, axis)
    picked = np.take_along_axis(x, index, axis) - top  # before `out`, which may be `x`
    np.subtract(x, top, out=out)
    np.exp(out, out=out)
    total = out.sum(axis=axis, keepdims=True)
    if gradient:
        out *= 1 / (total * total.size)
        np.put_along_axis(out, index, np.take_along_axis(out, index, axis) - x.dtype.type(1 / total.size), axis)
    return float((np.log(total) - picked).mean())


def sum_of_products(a: Array, b: Array) -> float:
    """Row by row: one sum of 65 million products in float32, as of np.vdot, is wrong in its third digit."""
    return float(np.einsum("ij,ij->i", a, b).sum())


def soft(x: Array, q: Array, out: Array, scratch: Array, log_softmax: LogSoftmax) -> float:
    n, classes = x.shape
    log_p = log_softmax(x, 1, out)
    smoothed = np.multiply(q, 1 - SMOOTHING, out=scratch)
    smoothed += SMOOTHING / classes
    loss = -sum_of_products(smoothed, log_p) / n
    np.exp(log_p, out=out)
    out -= smoothed
    out /= n
    return loss


def binary(x: Array, y: Array, out: Array, gradient: bool) -> float:
    np.abs(x, out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.log1p(out, out=out)
    total = out.sum() + np.maximum(x, 0, out=out).sum() - np.vdot(x, y)
    if gradient:
        np.negative(x, out=out)
        np.exp(out, out=out)
        out += 1
        np.reciprocal(out, out=out)
        out -= y
        out /= x.size
    return float(total) / x.size


def distillation(x: Array, z: Array, out: Array, scratch: Array, log_softmax: LogSoftmax) -> float:
    student = log_softmax(np.divide(x, TEMPERATURE, out=out), 1, out)
    teacher = log_softmax(np.divide(z, TEMPERATURE, out=scratch), 1, scratch)
    probs = np.exp(teacher)
    teacher -= student
    loss = sum_of_products(probs, teacher) / len(x)
    np.exp(student, out=out)
    out -= probs
    out /= len(x) * TEMPERATURE
    return loss


class NumPy:
    """Half types are converted to float32 first, into scratch, and the result back."""

    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        logits = sets[0].logits
        half = logits.dtype.itemsize < 4
        needed = half or cell.mode == "forward" or cell.two_inputs
        scratch = np.empty(logits.shape if needed else 0, np.float32 if half else logits.dtype)
        scratch.fill(0)  # touches the pages
        return [self.call(cell, b, scratch) for b in sets]

    def call(self, cell: Cell, b: Buffers, scratch: Array) -> Call:
        if b.logits.dtype != scratch.dtype:
            return Call(lambda: self.through_float32(cell, b, scratch))
        if cell.mode == "in place":
            return Call(
                lambda: (self.value(cell, b.output, b.target, b.output, scratch), b.output),
                before=lambda: np.copyto(b.output, b.logits),
            )
        if cell.mode == "output":
            return Call(lambda: (None, self.log_softmax(b.logits, cell.axis, b.output)))
        if cell.mode == "forward":
            return Call(lambda: (self.value(cell, b.logits, b.target, scratch, scratch), None))

        def run() -> tuple[float, Array]:
            out = np.empty_like(b.logits) if cell.mode == "fresh" else b.output
            return self.value(cell, b.logits, b.target, out, scratch), out

        return Call(run)

    def through_float32(self, cell: Cell, b: Buffers, scratch: Array) -> tuple[float, Array | None]:
        np.copyto(scratch, b.logits)
        loss = self.value(cell, scratch, b.target, scratch, scratch)
        if cell.mode == "forward":
            return loss, None
        np.copyto(b.output, scratch, casting="unsafe")
        return loss, b.output

    def log_softmax(self, x: Array, axis: int, out: Array | None) -> Array:
        return log_softmax(x, axis, out)

    def value(self, cell: Cell, x: Array, target: Array, out: Array, scratch: Array) -> float:
        """The loss; the gradient, unless the cell is without, in `out`."""
        gradient = cell.mode != "forward"
        if cell.loss == "soft":
            return soft(x, target, out, scratch, self.log_softmax)
        if cell.loss == "distillation":
            return distillation(x, target, out, scratch, self.log_softmax)
        if cell.loss == "binary":
            return binary(x, target, out, gradient)
        return cross_entropy(x, target, cell.axis, out, gradient)

    def first(self, array: Array, count: int) -> Array:
        return array[:count].astype(np.float64)


class SciPy(NumPy):
    """`scipy.special` for what it has of the formula, the rest as above."""

    def __init__(self) -> None:
        from scipy import special

        self.special: Any = special

    def log_softmax(self, x: Array, axis: int, out: Array | None) -> Array:
        result: Array = self.special.log_softmax(x, axis)
        return result

    def value(self, cell: Cell, x: Array, target: Array, out: Array, scratch: Array) -> float:
        if cell.two_inputs and cell.loss != "binary":
            return super().value(cell, x, target, out, scratch)
        if cell.loss == "binary":
            loss = float(self.special.softplus(x, out=out).sum() - np.vdot(x, target)) / x.size
            if cell.mode != "forward":
                self.special.expit(x, out=out)
                out -= target
                out /= x.size
            return loss
        index = np.expand_dims(target, cell.axis)
        picked = np.take_along_axis(x, index, cell.axis)
        if cell.mode == "forward":
            return float((self.special.logsumexp(x, axis=cell.axis, keepdims=True) - picked).mean())
        log_p = self.special.log_softmax(x, cell.axis)
        loss = -float(np.take_along_axis(log_p, index, cell.axis).mean())
        np.exp(log_p, out=out)
        np.put_along_axis(out, index, np.take_along_axis(out, index, cell.axis) - x.dtype.type(1), cell.axis)
        out /= target.size
        return loss


class ScikitLearn:
    """Losses per row, weighted by 1/N so that the gradient is that of the mean; it has the threads it is given."""

    def __init__(self) -> None:
        from sklearn import _loss

        self.losses: Any = _loss

    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        binary = cell.loss == "binary"
        loss = self.losses.HalfBinomialLoss() if binary else self.losses.HalfMultinomialLoss(n_classes=cell.shape[1])
        few = sets[0].logits.size < 1 << 15  # a team of threads takes longer than the work
        return [self.call(cell, loss, b, 1 if few else threads) for b in sets]

    def call(self, cell: Cell, loss: Any, b: Buffers, threads: int) -> Call:
        y = b.target.astype(b.logits.dtype)
        weight = np.full_like(y, 1 / y.size)
        rows = np.empty_like(y)
        if cell.mode == "forward":

            def forward() -> tuple[float, None]:
                loss.loss(y, b.logits, sample_weight=weight, loss_out=rows, n_threads=threads)
                return float(rows.sum()), None

            return Call(forward)

        def gradient() -> tuple[float, Array]:
            out = np.empty_like(b.logits) if cell.mode == "fresh" else b.output
            loss.loss_gradient(y, b.logits, weight, loss_out=rows, gradient_out=out, n_threads=threads)
            return float(rows.sum()), out

        return Call(gradient)

    def first(self, array: Array, count: int) -> Array:
        return array[:count].astype(np.float64)
