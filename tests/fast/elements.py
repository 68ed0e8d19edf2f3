"""Losses and functions of single elements."""

import numpy as np

from .double_double import SCALE, exp, high, log, log1p, maximum, where
from .parts import Part, like, times
from .rows import product


class Sigmoid:
    """softplus and sigmoid of x and of -x."""

    def __init__(self, x):
        self.infinite, self.nan = np.abs(high(x)) == np.inf, np.isnan(high(x))
        x = where(self.infinite, np.sign(high(x)) * 1e4, where(self.nan, 0.0, x))
        self.positive, size = high(x) >= 0, abs(x)
        e = exp(-size)
        tail = where(high(e) < SCALE * 2.0**-200, e, log1p(e * (1 / SCALE)) * SCALE)
        inverse = like(x, 1.0) / (e * (1 / SCALE) + 1.0)
        self.large, self.small = inverse * SCALE, e * inverse
        self.high, self.low = where(self.infinite, np.inf, size * SCALE + tail), where(self.infinite, 0.0, tail)

    def softplus(self, sign):
        return where(self.nan, np.nan, where(self.positive == (sign > 0), self.high, self.low))

    def sigmoid(self, sign):
        return where(self.nan, np.nan, where(self.positive == (sign > 0), self.large, self.small))


def sigmoid(x):
    values = Sigmoid(x).sigmoid(1)
    return values, values


def log_sigmoid(x):
    values = -Sigmoid(x).softplus(-1)
    return values, values


def broadcast(x, number):
    """A weight, 1 where there is none, for each element of x."""
    return like(x, np.ones(high(x).shape)) * (1.0 if number is None else like(x, number))


def of_logits(x, target, weight, pos_weight, label_smoothing):
    """(the coefficient of softplus(-x), that of softplus(x))"""
    w, e = broadcast(x, weight), like(x, label_smoothing)
    y, rest = target, 1.0 - target
    if label_smoothing != 0:
        y, rest = (part * (1.0 - e) + e * 0.5 for part in (y, rest))
    return w * broadcast(x, pos_weight) * y, w * rest


def binary_cross_entropy_with_logits(x, target, *, weight=None, pos_weight=None, label_smoothing=0.0):
    s, (positive, negative) = Sigmoid(x), of_logits(x, target, weight, pos_weight, label_smoothing)

    def losses():
        loss = times(positive, s.softplus(-1)) + times(negative, s.softplus(1))
        return loss, loss

    def gradients():
        up, down = times(negative, s.sigmoid(1)), times(positive, s.sigmoid(-1))
        return up - down, maximum(abs(up), abs(down))
    return [Part(losses, gradients, {"mean": like(x, float(high(x).size))})]


def binary_cross_entropy_with_logits_gradient_hessian(x, target, *, weight=None, pos_weight=None, label_smoothing=0.0):
    """(second derivatives, the same)"""
    s, (positive, negative) = Sigmoid(x), of_logits(x, target, weight, pos_weight, label_smoothing)
    hessian = times(positive + negative, product(s.sigmoid(1), s.sigmoid(-1)))
    return hessian, hessian


def binary_cross_entropy(probs, target, *, weight=None, log_floor=-100.0):
    p, w, rest, not_p = probs, broadcast(probs, weight), 1.0 - target, 1.0 - probs

    def losses():
        least = -np.inf if log_floor is None else log_floor
        floored = [-where(high(v) < least, least, v) for v in (log(p), log1p(-p))]
        loss = times(w, times(target, floored[0]) + times(rest, floored[1])) * SCALE
        return loss, loss

    def gradients():
        one = like(p, 1.0)
        below = times(w, times(rest, where(high(not_p) == 0, np.inf, one / where(high(not_p) == 0, 1.0, not_p))))
        above = times(w, times(target, where(high(p) == 0, np.inf, one / where(high(p) == 0, 1.0, p))))
        return (below - above) * SCALE, maximum(abs(below), abs(above)) * SCALE
    return [Part(losses, gradients, {"mean": like(p, float(high(p).size))})]


def kl_div(log_probs, target, *, log_target=False, axis=None):
    """t (log t - log_p), at the larger of its two terms; of elements, whatever the axis."""
    scaled = exp(target) if log_target else target * SCALE

    def losses():
        log_t = target if log_target else log(target)
        scale = maximum(abs(times(scaled, log_t)), abs(times(scaled, log_probs)))
        return times(scaled, log_t - log_probs), scale

    def gradients():
        return -scaled, -scaled
    x = high(log_probs)
    return [Part(losses, gradients, {"mean": like(log_probs, float(x.size)),
                                     "batchmean": like(log_probs, float(x.shape[0] if x.ndim else 1))})]
