"""Exact results of whole batches, fast: the formulas of tests/oracle in double-double or, for results of at most
float32, in float64. test_reference.py proves on every distribution that both differ by less than 2^-9 ULP.

A family is a function from a batch to {operation: Exact}. Values are times SCALE, so that none is too small for its
digits; `1 - p` is taken from the other classes, as in the oracles.
"""

from functools import cached_property

import numpy as np
from double_double import DD, SCALE, exp, high, log1p, maximum, sum_last, where
from measure import Exact, Sum
from operations import ACCURACY

MASKED = 1e4  # in place of an infinite gap: e^-1e4 is 0 to any dtype, and 0 times it is 0


def widen(x):
    return DD(x) if x.dtype == np.float64 else x.astype(np.float64)


def exactly(number, like):
    """A python float or an array of floats, as the kind of `like`."""
    number = np.asarray(number, np.float64)
    return DD(number) if isinstance(like, DD) else number


def column(x):
    return x[:, None]


class Rows:
    """The softmax of a batch: gap = (max - x) / T, e = e^-gap, tail = their sum without one maximum."""

    def __init__(self, x, temperature=1.0):
        n = np.arange(len(x))
        wide = x.astype(np.float64)
        self.masked, first = np.isneginf(wide), wide.argmax(axis=1)
        self.maximum = widen(x[n, first])
        filled = widen(np.where(self.masked, x[n, first][:, None], x))
        self.at_1 = where(self.masked, MASKED, column(self.maximum) - filled)  # the gap without a temperature
        self.per_temperature = 1.0 if temperature == 1 else exactly(1.0, filled) / exactly(temperature, filled)
        self.gap = self.at_1 if temperature == 1 else where(self.masked, MASKED, self.at_1 * self.per_temperature)
        self.e = exp(-self.gap)
        others = np.ones(x.shape, bool)
        others[n, first] = False
        self.tail = sum_last(where(others, self.e, 0.0))
        total = self.tail * (1 / SCALE) + 1.0
        self.inverse = exactly(1.0, total) / total
        self.log_total = log1p(self.tail * (1 / SCALE))
        # of a tiny tail, whose digits are in the scaled one
        self.scaled_log_total = where(high(self.tail) < SCALE * 2.0**-200, self.tail, self.log_total * SCALE)

    @cached_property
    def softmax(self):
        return self.e * column(self.inverse)

    @cached_property
    def one_minus_softmax(self):
        return (SCALE - self.e + column(self.tail)) * column(self.inverse)

    @property
    def minus_log_softmax(self):
        return where(self.masked, np.inf, self.gap * SCALE + column(self.scaled_log_total))

    def entropy(self):
        return sum_last(self.e * self.gap) * self.inverse + self.scaled_log_total


def cross_entropy(rows, y):
    """(losses, gradients) of class indices."""
    n = np.arange(len(y))
    loss = where(rows.masked[n, y], np.inf, rows.gap[n, y] * SCALE + rows.scaled_log_total)
    true = np.zeros(rows.masked.shape, bool)
    true[n, y] = True
    return loss, where(true, -rows.one_minus_softmax, rows.softmax)


def two_terms(rows, b, total):
    """(gradient, scale): (A - b) p - b (1 - p) of the coefficients b of -log p, and the larger of its two terms."""
    first, second = rows.softmax * (column(total) - b), rows.one_minus_softmax * b
    return first - second, maximum(abs(first), abs(second))


def of_probabilities(rows, q):
    """(losses, gradients, scales) of class probabilities, which are 0 where a class is masked."""
    q = widen(q)
    total = sum_last(q)
    loss = sum_last(rows.gap * q) * SCALE + rows.scaled_log_total * total
    return loss, *two_terms(rows, q, total)


SMOOTHING = ACCURACY["cross_entropy smoothed"][1]["label_smoothing"]
HESSIAN_SCALE = 1.7  # as LightGBM's C / (C - 1) is one


def smoothed_targets(y, w, v):
    """Of class indices with weights and label smoothing, the coefficients of -log p: (that of y alone, what each class
    has for every unit of its weight, the weights)."""
    w, v = widen(w), widen(v)
    e = exactly(SMOOTHING, w)
    return v * w[y] * (1.0 - e), v * (e / exactly(len(high(w)), e)), w


def smoothed(rows, y, w, v):
    """(losses, gradients, scales) of class indices with class and sample weights and label smoothing."""
    n, (true, spread, w) = np.arange(len(y)), smoothed_targets(y, w, v)
    b = column(spread) * w[None, :]
    loss = true * (rows.gap[n, y] * SCALE + rows.scaled_log_total)
    loss = loss + spread * (sum_last(rows.gap * w[None, :]) * SCALE + rows.scaled_log_total * sum_last(w))
    loss = where(rows.masked.any(axis=1), np.inf, loss)
    is_true = np.zeros(rows.masked.shape, bool)
    is_true[n, y] = True
    b = where(is_true, b + column(true), b)
    return loss, *two_terms(rows, b, true + spread * sum_last(w))


def logits(batch):
    x, y, temperature = batch.rows["x"], batch.rows["y"], batch.shared["temperature"]
    rows = Rows(x, temperature)
    out = {"softmax": Exact(rows.softmax), "log_softmax": Exact(-rows.minus_log_softmax)}
    if temperature == 1:  # these have none
        out["logsumexp"] = Sum(rows.maximum * SCALE + rows.scaled_log_total, rows.scaled_log_total)
        out["logsumexp_backward"] = Exact(rows.softmax * column(widen(batch.rows["g"])))
        out["entropy_with_logits"] = Exact(rows.entropy())
    loss, gradient = cross_entropy(rows, y)
    suffix = "" if temperature == 1 else " temperature"
    out[f"cross_entropy{suffix}"] = Exact(loss)
    out[f"cross_entropy{suffix} gradient"] = Exact(gradient * rows.per_temperature)
    for name, (loss, gradient, scale) in (
            ("probabilities", of_probabilities(rows, batch.rows["q"])),
            ("smoothed", smoothed(rows, y, batch.shared["w"], batch.rows["v"]))):
        out[f"cross_entropy {name}{suffix}"] = Exact(loss)
        out[f"cross_entropy {name}{suffix} gradient"] = Exact(
            gradient * rows.per_temperature, scale * rows.per_temperature)
    return out


def hessians(batch):
    """A p (1 - p), A being the sum of the coefficients of -log p."""
    y, q, v, w, rows = *(batch.rows[name] for name in "yqv"), batch.shared["w"], Rows(batch.rows["x"])
    of_one = product(rows.softmax, rows.one_minus_softmax)
    true, spread, w = smoothed_targets(y, w, v)
    name = "cross_entropy_gradient_hessian"
    return {name: Exact(of_one), f"{name} probabilities": Exact(of_one * column(sum_last(widen(q)))),
            f"{name} smoothed": Exact(of_one * column(true + spread * sum_last(w))),
            f"{name} scaled": Exact(of_one * exactly(HESSIAN_SCALE, of_one))}


def product(a, b):
    """Of two numbers that are SCALE times; either may be too small without half of that."""
    return (a * SCALE**-0.5) * (b * SCALE**-0.5)
