"""Exact diagonals of Hessians, and the absolute values of gradients that stand for them."""

import numpy as np
from mpmath import mp, mpf

import oracle
import oracle.binary
from oracle import ZERO, Row


def cross_entropy(logits, target, hessian="diagonal", hessian_scale=1.0, hessian_floor=0.0, **options):
    """(hessian, scale): (N, C) exact entries, and what their errors are measured at."""
    n, c = logits.shape
    coefficients = oracle.coefficients(n, c, target, **options)
    counts = np.array([bool(entry and (entry[0] or (entry[1] and any(entry[1])))) for entry in coefficients])
    if hessian == "absolute":
        gradient, scale = oracle.cross_entropy_grad(logits, target, **options)
        return finished(abs(gradient), abs(scale), counts[:, None], hessian_scale, hessian_floor)
    diagonal = np.full((n, c), ZERO, dtype=object)
    for i, entry in enumerate(coefficients):
        if not counts[i]:
            continue
        row = Row(logits[i])
        a = entry[0] + mp.fsum(entry[1] or [])
        diagonal[i] = a * row.softmax() * row.one_minus_softmax()
    return finished(diagonal, diagonal, counts[:, None], hessian_scale, hessian_floor)


def binary_cross_entropy_with_logits(logits, target, weight=None, pos_weight=None, label_smoothing=0.0,
                                     hessian="diagonal", hessian_scale=1.0, hessian_floor=0.0):
    e = mpf(float(label_smoothing))

    def one(x, y, w, pw):
        coefficient = w * (pw * (y * (1 - e) + e / 2) + (1 - y) * (1 - e) + e / 2)
        return coefficient, coefficient * oracle.binary.sigmoid(x) * oracle.binary.sigmoid(-x)

    coefficients, diagonal = oracle.binary.elementwise(one, logits, target, weight, pos_weight)
    scale = diagonal
    if hessian == "absolute":
        _, gradient, scale = oracle.binary.binary_cross_entropy_with_logits(
            logits, target, weight, pos_weight, label_smoothing)
        diagonal = abs(gradient)
    return finished(diagonal, scale, coefficients.astype(bool), hessian_scale, hessian_floor)


def finished(values, scales, counts, scale, floor):
    """max(scale h, floor) where there is a coefficient."""
    s, least = mpf(float(scale)), mpf(float(floor))
    counts = np.broadcast_to(counts, values.shape)
    result, size = np.full(values.shape, ZERO, dtype=object), np.full(values.shape, ZERO, dtype=object)
    for k in np.ndindex(values.shape):
        if counts[k]:
            result[k], size[k] = max(s * values[k], least), max(s * scales[k], least)
    return result, size

