"""The formulas of the documentation in float64, each result with its size: what its error is measured at.

A size is the sum of the magnitudes of the terms that a result is made of; it exceeds the result where these cancel.
Losses of rows take (N, C) arrays. A term whose coefficient is 0 is 0, whatever it is multiplied with.
"""

from dataclasses import dataclass

import numpy as np


def times(a, b):
    """a * b with 0 * anything = 0."""
    return np.where(a == 0, 0.0, a * b)


def finite(x):
    """|x|, and 0 where it is not a number that sizes could be made of."""
    return np.where(np.isfinite(x), np.abs(x), 0.0)


def column(x):
    return x[:, None]


@dataclass
class Term:
    """What a loss is the sum of. `grads` and their sizes have the shape of the first argument."""

    losses: np.ndarray
    sizes: np.ndarray
    grads: np.ndarray
    grad_sizes: np.ndarray
    denominator: float

    def times(self, factor):
        return Term(*(times(np.asarray(factor), a) for a in (self.losses, self.sizes, self.grads, self.grad_sizes)),
                    self.denominator)


def log_softmax(x, temperature=1.0):
    """Logarithms of the softmax of rows: the likeliest class by the others, so that it keeps its digits near 0."""
    if not x.size:
        return x
    top = x.max(axis=1, keepdims=True)
    gap = (top - x) / temperature
    e = np.exp(-gap)
    np.put_along_axis(e, x.argmax(axis=1, keepdims=True), 0.0, axis=1)
    log_p = -(gap + np.log1p(e.sum(axis=1, keepdims=True)))
    return np.where(np.isfinite(top), log_p, np.nan)  # nothing but -inf, a +inf or a NaN


# ---- Losses: the arrays `a` and the options `o` of a call to the terms that the loss is the sum of -------------------


def row_weights(a, rows):
    return np.broadcast_to(a.get("sample_weight", 1.0), rows).ravel()


def coefficients(a, o, x, rows):
    """(those of -log p, the mean's denominator, whether a row is not ignored)"""
    n, c = x.shape
    w, v, e = a.get("weight", np.ones(c)), row_weights(a, rows), o.get("label_smoothing", 0.0)
    target = a["target"]
    if target.dtype.kind == "f":
        spread = (1 - e) * target + e / max(c, 1)
        return column(v) * w * spread, v.sum(), np.ones(n, bool)
    target = target.ravel()
    ignore = o.get("ignore_index", -100)
    counted = np.array([ignore is None or int(y) != ignore for y in target], bool)
    y = np.where(counted, target, target.dtype.type(0)).astype(np.int64)
    v = np.where(counted, v, 0.0)
    if not c:
        return np.zeros((n, 0)), 0.0, counted
    b = column(v) * w * (e / c)
    b[np.arange(n), y] += v * (1 - e) * w[y]
    return b, (v * w[y]).sum(), counted


def cross_entropy(a, o, rows):
    x = a["logits"]
    b, denominator, counted = coefficients(a, o, x, rows)
    t = o.get("temperature", 1.0)
    log_p = log_softmax(x, t)
    losses = times(b, -log_p).sum(axis=1)
    total, p = b.sum(axis=1, keepdims=True), np.exp(log_p)
    grads, sizes = times(total, p - b / total), np.abs(times(total, p + b / total))
    z = np.where(counted, row_weights(a, rows), 0.0) * o.get("z_loss", 0.0)
    if z.any() and x.size:
        lse = x.max(axis=1) / t - log_p.max(axis=1)
        losses = losses + times(z, lse**2)
        of_z = times(column(z), 2 * column(lse) * p)
        grads, sizes = grads + of_z, sizes + np.abs(of_z)
    return [Term(losses, np.abs(losses), grads / t, sizes / t, denominator)]


def nll_loss(a, o, rows):
    x = a["log_probs"]
    b, denominator, _ = coefficients(a, o, x, rows)
    losses = times(b, -x)
    return [Term(losses.sum(axis=1), finite(losses).sum(axis=1), -b, np.abs(b), denominator)]


def divergence(x, z, o):
    """(losses, sizes, gradients, sizes of the gradients)"""
    temperature, kind, beta = o.get("temperature", 1.0), o.get("divergence", "forward"), o.get("beta", 0.5)
    log_s, log_t = log_softmax(x, temperature), log_softmax(z, temperature)
    s, t = np.exp(log_s), np.exp(log_t)
    d = np.where(np.isneginf(log_s) & np.isneginf(log_t), 0.0, log_t - log_s)
    logs = finite(log_s) + finite(log_t)
    size = ((s + t) * logs).sum(axis=1)
    if kind == "forward":
        values, grads, grad_sizes = times(t, d).sum(axis=1), s - t, s + t
    else:
        share = 1.0 if kind == "reverse" else beta
        own = -d if kind == "reverse" else -np.log1p(share * np.expm1(d))  # log(s / t) or log(s / m)
        values = inner = times(s, own).sum(axis=1)
        grads, grad_sizes = times(s, own - column(inner)), s * (logs + column(size))
        if kind == "js":
            other = times(t, -np.log1p((1 - share) * np.expm1(-d))).sum(axis=1)
            values = share * other + (1 - share) * inner
            grads, grad_sizes = (1 - share) * grads, (1 - share) * grad_sizes
    size = np.maximum(size, finite(values))  # of log 2, where either is certain of what the other rules out
    bad = np.isnan(log_s).any(axis=1) | np.isnan(log_t).any(axis=1)
    return (np.where(bad, np.nan, values), size, np.where(column(bad), np.nan, grads / temperature),
            grad_sizes / temperature)


def divergence_term(a, o, v):
    """`v`: the weight of each row, 0 where it is ignored."""
    values, sizes, grads, grad_sizes = divergence(a["logits"], a["teacher_logits"], o)
    size = np.abs(v)
    return Term(times(v, values), times(size, sizes), times(column(v), grads), times(column(size), grad_sizes), v.sum())


def kl_div_with_logits(a, o, rows):
    return [divergence_term(a, o, row_weights(a, rows))]


def distillation_loss(a, o, rows):
    with_target = "target" in a
    alpha = o.get("alpha")
    if alpha is None:
        alpha = 0.5 if with_target else 1.0
    v, terms = row_weights(a, rows), []
    if with_target:
        v = np.where(coefficients(a, o, a["logits"], rows)[2], v, 0.0)
        if alpha < 1:
            terms += [term.times(1 - alpha) for term in cross_entropy(a, {**o, "temperature": 1.0}, rows)]
    if alpha > 0:
        scale = o.get("temperature", 1.0)**2 if o.get("scale_by_temperature", True) else 1.0
        terms.append(divergence_term(a, o, v).times(alpha * scale))
    return terms


def listed_probabilities(a, o, classes):
    """(N, C): the teacher's probabilities of listed classes, not divided by their sum; and which are listed."""
    k, values = a["classes"].astype(np.int64), a["values"]
    rows = np.broadcast_to(np.arange(len(k))[:, None], k.shape)[k >= 0]
    p, is_listed = np.zeros((len(k), classes)), np.zeros((len(k), classes), bool)
    if o.get("values_are") == "logits":
        values = values - np.where(k >= 0, values, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    np.add.at(p, (rows, k[k >= 0]), np.exp(values)[k >= 0])
    is_listed[rows, k[k >= 0]] = True
    return p, is_listed


def sparse_distillation_loss(a, o, rows):
    """Two distributions of C + 1 categories: the listed classes, and the rest as the last. Other classes have 0."""
    x, v = a["logits"], row_weights(a, rows)
    tail, kind, c = o.get("tail", "bucket"), o.get("divergence", "forward"), x.shape[1]
    p, is_listed = listed_probabilities(a, o, c)
    total, others = p.sum(axis=1), c - is_listed.sum(axis=1)
    divides = (total >= 1) | (others == 0) | (tail == "renormalize")
    p = np.where(column(divides), p / column(total), p)
    rest = np.where(divides, 0.0, 1 - total)
    log_q = log_softmax(x)
    q = np.exp(log_q)
    rho = np.where(is_listed, 0.0, q).sum(axis=1)
    t, s = np.column_stack([p, rest]), np.column_stack([np.where(is_listed, q, 0.0), rho])
    log_t, log_s = np.log(t), np.column_stack([np.where(is_listed, log_q, -np.inf), np.log(rho)])
    d = np.where((t == 0) & (s == 0), 0.0, log_t - log_s)
    logs = finite(log_t) + finite(log_s) + 1
    size = ((s + t) * logs).sum(axis=1)
    if kind == "forward":
        losses, grads, sizes = times(t, d).sum(axis=1), s - t, s + t
    else:
        own = -d if kind == "reverse" else -np.log1p(0.5 * np.expm1(d))
        inner = times(s, own).sum(axis=1)
        share = 1.0 if kind == "reverse" else 0.5
        losses = inner if kind == "reverse" else (inner + times(t, -np.log1p(0.5 * np.expm1(-d))).sum(axis=1)) / 2
        grads, sizes = share * times(s, own - column(inner)), share * s * (logs + column(size))
    in_rest = np.where(is_listed, 0.0, q / column(np.where(rho > 0, rho, 1.0)))
    spread = lambda g: np.where(is_listed, g[:, :-1], times(in_rest, g[:, -1:]))
    grads, sizes = spread(grads), spread(sizes)
    if tail == "uniform":
        b = np.where(is_listed, 0.0, column(rest / np.maximum(others, 1)))
        more = times(b, np.log(column(np.maximum(others, 1))) * -1 - np.log(in_rest)).sum(axis=1)
        losses, size = losses + more, size + finite(more) + rest * np.log(np.maximum(others, 2))
        grads, sizes = np.where(is_listed, grads, q - b), np.where(is_listed, sizes, q + b)
    says_nothing = (total == 0) & (divides | (tail == "renormalize"))
    of_rows = lambda values: times(np.where(says_nothing, 0.0, v), values)
    return [Term(of_rows(losses), np.abs(of_rows(size)), times(column(np.where(says_nothing, 0.0, v)), grads),
                 times(column(np.where(says_nothing, 0.0, np.abs(v))), sizes), v.sum())]


def binary_cross_entropy(a, o, _):
    p, y, w = a["probs"], a["target"], np.broadcast_to(a.get("weight", 1.0), a["probs"].shape)
    floor = o.get("log_floor", -100.0)
    floor = -np.inf if floor is None else floor
    losses = times(y, -np.maximum(np.log(p), floor)) + times(1 - y, -np.maximum(np.log1p(-p), floor))
    below, above = times(1 - y, 1 / (1 - p)), times(y, 1 / p)
    losses = times(w, losses)
    return [Term(losses, np.abs(losses), times(w, below - above), times(np.abs(w), below + above), p.size)]


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0.0)


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1 + e)


def binary_cross_entropy_with_logits(a, o, _):
    x, y, e = a["logits"], a["target"], o.get("label_smoothing", 0.0)
    w, pos_weight = (np.broadcast_to(a.get(name, 1.0), x.shape) for name in ("weight", "pos_weight"))
    positive, negative = pos_weight * (y * (1 - e) + e / 2), (1 - y) * (1 - e) + e / 2
    losses = times(w, times(positive, softplus(-x)) + times(negative, softplus(x)))
    up, down = times(negative, sigmoid(x)), times(positive, sigmoid(-x))
    return [Term(losses, np.abs(losses), times(w, up - down), times(np.abs(w), up + down), x.size)]


def kl_div(a, o, _):
    """Of elements; the sum over the classes is taken later."""
    x, given = a["log_probs"], a["target"]
    t, log_t = (np.exp(given), given) if o.get("log_target") else (given, np.log(given))
    sizes = times(t, finite(log_t) + finite(x))
    return [Term(times(t, log_t - x), sizes, -t, np.abs(t), x.size)]
