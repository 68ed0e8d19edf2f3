"""Exact references of the binary losses. Everything is elementwise: arrays of one shape in, object arrays out.

The gradient of either loss is the difference of two terms of one sign, the weight's, at the larger of which it is
measured.
"""

import mpmath
import numpy as np
from mpmath import mp, mpf

from oracle import ZERO, dot, exact


def elementwise(function, *arrays):
    """As many object arrays as `function` returns numbers, None standing for an array of ones."""
    shape = arrays[0].shape
    given = [np.full(shape, mpf(1), dtype=object) if a is None else exact(np.broadcast_to(a, shape)) for a in arrays]
    results = None
    for k in np.ndindex(shape):
        numbers = function(*(a[k] for a in given))
        results = results or [np.empty(shape, dtype=object) for _ in numbers]
        for array, number in zip(results, numbers, strict=True):
            array[k] = number
    return results or [np.empty(shape, dtype=object) for _ in range(3)]


def binary_cross_entropy(probs, target, weight=None, log_floor=-100.0):
    """(losses, gradients, scales): the floor bounds the logarithms of the value, not the gradient."""
    floor = -mp.inf if log_floor is None else mpf(float(log_floor))

    def one(p, y, w):
        log_p = max(mp.log(p) if p else -mp.inf, floor)
        log_q = max(mpmath.log1p(-p) if p < 1 else -mp.inf, floor)
        loss = dot(w, dot(y, -log_p) + dot(1 - y, -log_q))
        below, above = dot(w, quotient(1 - y, 1 - p)), dot(w, quotient(y, p))
        return loss, below - above, max(abs(below), abs(above))

    return elementwise(one, probs, target, weight)


def quotient(a, b):
    return ZERO if not a else a / b if b else mp.inf


def binary_cross_entropy_with_logits(logits, target, weight=None, pos_weight=None, label_smoothing=0.0):
    """(losses, gradients, scales): w (pw y softplus(-x) + (1 - y) softplus(x)) and its derivative."""
    e = mpf(float(label_smoothing))

    def one(x, y, w, pw):
        y, rest = y * (1 - e) + e / 2, (1 - y) * (1 - e) + e / 2
        loss = dot(w, dot(pw * y, softplus(-x)) + dot(rest, softplus(x)))
        up, down = w * rest * sigmoid(x), w * pw * y * sigmoid(-x)
        return loss, up - down, max(abs(up), abs(down))

    return elementwise(one, logits, target, weight, pos_weight)


def softplus(x):
    return mpmath.log1p(mp.exp(-abs(x))) + max(x, ZERO) if mp.isfinite(x) else max(x, ZERO)


def sigmoid(x):
    e = mp.exp(-abs(x))
    return 1 / (1 + e) if x >= 0 else e / (1 + e)
