"""Losses and functions of rows of logits or log-probabilities."""

import numpy as np

from .double_double import SCALE, exp, high, maximum, sum_last, where
from .parts import Part, column, like, times
from .rows import Coefficients, Logits, is_counted, product, rows_of

# ---- Cross-entropy ---------------------------------------------------------------------------------------------------


def cross_entropy(x, target, *, temperature=1.0, softcap=None, logit_bias=None, **options):
    rows = rows_of(x, temperature=temperature, softcap=softcap, logit_bias=logit_bias)
    k = Coefficients(x.x if isinstance(x, Logits) else x, target, **options)
    return [Part(lambda: cross_entropy_losses(rows, k), lambda: cross_entropy_gradients(rows, k),
                 {"mean": k.denominator})]


def cross_entropy_losses(rows, k):
    sizes = times(rows.moves, rows.minus_log_softmax)  # what -log p may move by
    if k.b is None:
        infinite = rows.masked[rows.n, k.y]
        loss = times(k.of_target, where(infinite, np.inf, rows.gap[rows.n, k.y] * SCALE + rows.scaled_log_total))
        move = times(abs(k.of_target), sizes[rows.n, k.y])
    else:
        infinite = (rows.masked & (high(k.b) != 0)).any(axis=1)
        loss = sum_last(rows.gap * k.b) * SCALE + rows.scaled_log_total * k.total
        loss = where(infinite, np.copysign(np.inf, high(loss)), loss)
        move = sum_last(times(abs(k.b), sizes))
    if high(k.z).any():
        loss = loss + k.z * product(rows.logsumexp, rows.logsumexp)
        e = rows.largest_error
        move = move + abs(k.z) * (abs(rows.logsumexp) * (2.0 * e) + SCALE * 2.0**-52 * e * e)
    loss = size = rows.readable(loss, k.read)
    if high(k.entropy).any():
        of_entropy = k.entropy * rows.entropy
        loss = loss - of_entropy
        size = maximum(abs(size), abs(of_entropy))
        move = move + abs(k.entropy) * rows.move_of_entropy
    return rows.readable(loss, k.read), rows.readable(abs(size) + move, k.read)


def cross_entropy_gradients(rows, k):
    """(A - b) p - b (1 - p), and the larger of its two terms; with one coefficient there is one term in each entry. A
    has 2 z logsumexp in it, whose error is that of log(total) where max + log(total) cancels."""
    if k.b is None and not high(k.z).any() and not high(k.entropy).any():
        of_one = where(rows.at(k.y), -rows.one_minus_softmax, rows.softmax)
        gradient = times(column(k.of_target), of_one)
        scale = abs(gradient)
    else:
        if k.b is None:
            k.b = where(rows.at(k.y), column(k.of_target), 0.0)
            k._sum_up()
        slope = k.z * (rows.logsumexp * (2 / SCALE))
        first = rows.softmax * (k.others + column(slope))
        second = rows.one_minus_softmax * k.b
        carried = abs(k.z * (rows.scaled_log_total * (2 / SCALE)))
        gradient = first - second
        scale = maximum(maximum(abs(first), abs(second)), rows.softmax * column(carried))
        if high(k.entropy).any():
            of_entropy, size = rows.entropy_gradient(k.entropy)
            gradient = gradient - of_entropy
            scale = maximum(maximum(scale, size), abs(gradient))
            scale = scale + rows.moves_of_entropy_gradient(k.entropy)
    scale = scale * (1.0 + rows.moves) + rows.softmax * column(abs(k.z) * (2.0 * rows.largest_error))
    return rows.readable(rows.through(gradient), k.read), rows.readable(rows.scale_through(scale), k.read)


def cross_entropy_gradient_hessian(x, target, hessian_scale=1.0, **options):
    """(A p (1 - p), the same), A being the sum of the coefficients of -log p."""
    rows, k = rows_of(x), Coefficients(x.x if isinstance(x, Logits) else x, target, **options)
    total = k.of_target if k.b is None else k.total
    hessian = product(rows.softmax, rows.one_minus_softmax) * column(total * like(total, hessian_scale))
    return hessian, hessian


def nll_loss(log_probs, target, **options):
    k = Coefficients(log_probs, target, **options)
    n = np.arange(len(k.y))

    def losses():
        loss = times(k.of_target, -log_probs[n, k.y]) * SCALE
        return loss, loss

    def gradients():
        gradient = where(np.arange(high(log_probs).shape[1]) == k.y[:, None], -column(k.of_target) * SCALE, 0.0)
        return gradient, gradient
    return [Part(losses, gradients, {"mean": k.denominator})]


# ---- Functions: (values, scales) -------------------------------------------------------------------------------------


def softmax(x, **options):
    rows = rows_of(x, **options)
    return rows.readable(rows.softmax), rows.readable(rows.softmax * (1.0 + rows.moves))


def log_softmax(x, **options):
    rows = rows_of(x, **options)
    size = rows.minus_log_softmax
    return rows.readable(-size), rows.readable(size + times(rows.moves, size))


def logsumexp(x, **options):
    """(values, log(total) and what they move by): of the first, one may cancel with the maximum."""
    rows = rows_of(x, **options)
    return (where(rows.unreadable, rows.largest, rows.logsumexp),
            rows.scaled_log_total + rows.largest_error * SCALE)


def logsumexp_backward(grad_output, x, **options):
    """Of rows of nothing but -inf 0."""
    rows = rows_of(x, **options)
    p = where(column(rows.largest == -np.inf), 0.0, rows.readable(rows.softmax))
    values = times(column(grad_output), p)
    return rows.through(values), abs(rows.scale_through(values * (1.0 + rows.moves)))


def softmax_backward(grad_output, probs, temperature=1.0):
    g, p = grad_output, probs * (like(probs, SCALE) / like(probs, temperature))
    inner, size = sum_last(g * probs), sum_last(abs(g * probs))
    return p * (g - column(inner)), p * maximum(abs(g), column(size))


def log_softmax_backward(grad_output, log_probs, temperature=1.0):
    g, p, per_t = grad_output, exp(log_probs), like(log_probs, 1.0) / like(log_probs, temperature)
    total, size = times(p, column(sum_last(g))), times(p, column(sum_last(abs(g))))
    return (g * SCALE - total) * per_t, maximum(abs(g) * SCALE, size) * per_t


def entropy_with_logits(x, **options):
    rows = rows_of(x, **options)
    values = rows.readable(rows.entropy)
    return values, values + rows.move_of_entropy


def row_statistics_backward(x, target, log_prob, entropy, logsumexp, ignore_index=-100, **options):
    rows, counted = rows_of(x, **options), is_counted(target, ignore_index)
    y = np.where(counted, target, target.dtype.type(0)).astype(np.int64)
    of_target = where(rows.at(y), rows.one_minus_softmax, -rows.softmax) * column(log_prob)
    of_entropy, size = rows.entropy_gradient(entropy)
    of_logsumexp = rows.softmax * column(logsumexp)
    values = of_target + of_entropy + of_logsumexp
    size = maximum(maximum(abs(of_target), abs(of_logsumexp)), maximum(size, abs(values)))
    size = (size + rows.moves_of_entropy_gradient(entropy)) * (1.0 + rows.moves)
    read = counted & ((high(log_prob) != 0) | (high(entropy) != 0) | (high(logsumexp) != 0))
    values, size = rows.readable(rows.through(values), read), rows.readable(rows.scale_through(size), read)
    return where(column(read), values, 0.0), where(column(read), size, 0.0)


def sum_of_squares(x, **options):
    rows = rows_of(x, **options)
    p = rows.readable(rows.softmax)
    values = product(p, p)
    return sum_last(values), sum_last(values * (1.0 + 2.0 * rows.moves))
