"""The exact results of every function, from its arrays (N, C) and options, by the formulas of oracle/.

A loss is a sum of parts; everything else is (values, what their errors are measured at).
"""

import numpy as np
import oracle
import oracle.binary
import oracle.divergence
import oracle.hessian
import oracle.sparse
from mpmath import mp, mpf
from oracle.parts import Part

import crossent as xe

ONE = mpf(1)


def cross_entropy_part(x, target, share=ONE, **options):
    gradients, scales = oracle.cross_entropy_grad(x, target, **options)
    losses, sizes = oracle.cross_entropy_terms(x, target, **options)
    return Part(losses * share, gradients * share, scales * share,
                {"mean": oracle.denominator(*x.shape, target, **options)},
                (sizes + oracle.moves_of_cross_entropy(x, target, **options)) * share)


def cross_entropy(x, target, **options):
    return [cross_entropy_part(x, target, **options)]


def nll_loss(x, target, **options):
    gradients, scales = oracle.nll_loss_grad(x, target, **options)
    return [Part(oracle.nll_loss_rows(x, target, **options), gradients, scales,
                 {"mean": oracle.denominator(*x.shape, target, **options)})]


def kl_part(x, teacher, v, share=ONE, **options):
    """`v`: the weight of each row, None where the row is ignored; `share`: a number, or one of each row."""
    counted = [bool(w) for w in v]
    losses, gradients, scales, moves = oracle.divergence.measured_rows(x, teacher, counted, **options)
    share = np.broadcast_to(np.array(share, dtype=object), len(v))
    factor = np.array([s * w if w else oracle.ZERO for s, w in zip(share, v, strict=True)], dtype=object)
    total = sum(w for w in v if w)
    sizes = lambda: abs(factor) * np.array([
        oracle.divergence.sizes_of_terms(x[i], teacher[i], **oracle.of_row(i, **options)) if read else oracle.ZERO
        for i, read in enumerate(counted)], dtype=object)
    return Part(factor * losses, factor[:, None] * gradients, factor[:, None] * scales,
                {"mean": total, "batchmean": total}, abs(factor) * (abs(losses) + moves), sizes)


def kl_div_with_logits(x, teacher, sample_weight=None, **options):
    v = [mpf(1)] * len(x) if sample_weight is None else list(oracle.exact(sample_weight))
    return [kl_part(x, teacher, v, **options)]


def sparse_distillation_loss(x, classes, values, sample_weight=None, **options):
    v = [mpf(1)] * len(x) if sample_weight is None else list(oracle.exact(sample_weight))
    counted = [bool(w) for w in v]
    losses, loss_scales, gradients, scales = oracle.sparse.sparse_rows(x, classes, values, counted, **options)
    factor, size = np.array(v, dtype=object), np.array([abs(w) for w in v], dtype=object)
    return [Part(factor * losses, factor[:, None] * gradients, size[:, None] * scales, {"mean": mp.fsum(v)},
                 size * loss_scales, lambda: size * np.array(
                     [oracle.sparse.sizes_of_terms(*row, **options) if read else oracle.ZERO
                      for *row, read in zip(x, classes, values, counted, strict=True)], dtype=object))]


def distillation_loss(x, teacher, target=None, *, alpha=None, temperature=1.0, scale_by_temperature=True,
                      divergence="forward", beta=0.5, softcap=None, logit_bias=None, teacher_softcap=None,
                      teacher_logit_bias=None, **options):
    alpha = mpf(float((1.0 if target is None else 0.5) if alpha is None else alpha))
    v = options.get("sample_weight")
    v = [mpf(1)] * len(x) if v is None else list(oracle.exact(v))
    if target is not None and np.ndim(target) == 1:
        v = [None if y == options.get("ignore_index", -100) else w for y, w in zip(target, v, strict=True)]
    parts = []
    if alpha:
        share = alpha * (oracle.exact(temperature)[()] ** 2 if scale_by_temperature else 1)
        parts.append(kl_part(
            x, teacher, v, share, temperature=temperature, divergence=divergence, beta=beta, softcap=softcap,
            logit_bias=logit_bias, teacher_softcap=teacher_softcap, teacher_logit_bias=teacher_logit_bias))
    if alpha < 1:
        parts.append(cross_entropy_part(x, target, 1 - alpha, softcap=softcap, logit_bias=logit_bias, **options))
    return parts


def binary_cross_entropy(p, target, **options):
    return [Part(*oracle.binary.binary_cross_entropy(p, target, **options), {"mean": mpf(p.size)})]


def binary_cross_entropy_with_logits(x, target, **options):
    return [Part(*oracle.binary.binary_cross_entropy_with_logits(x, target, **options), {"mean": mpf(x.size)})]


def kl_div(x, target, log_target=False, axis=None):
    losses, loss_scales, gradients = oracle.divergence.kl_div(x, target, log_target)
    if axis is not None:
        losses, loss_scales = losses.sum(axis=1), loss_scales.sum(axis=1)
    return [Part(losses, gradients, gradients, {"mean": mpf(x.size), "batchmean": mpf(len(x))}, loss_scales)]


# ---- Functions: (values, scales) -------------------------------------------------------------------------------------


def stacked(rows):
    """An array of objects, of numbers or of rows of them."""
    rows = list(rows)
    return np.array(rows, dtype=object).reshape(len(rows), *np.shape(rows[0]))


def rows_of(x, **options):
    return [oracle.Row(row, **oracle.of_row(i, **options)) for i, row in enumerate(x)]


def of_rows(function, move):
    """Measured at the values themselves and what they move by, from functions of an oracle.Row."""
    def values(x, **options):
        rows = rows_of(x, **options)
        found = stacked(map(function, rows))
        return found, abs(found) + stacked(map(move, rows))
    return values


def by_row(function):
    """From a function of a row of each array, which returns a value or values and a scale or scales."""
    def both(*arrays, **options):
        pairs = [function(*row, **options) for row in zip(*arrays, strict=True)]
        return tuple(map(stacked, zip(*pairs, strict=True)))
    return both


softmax = of_rows(oracle.Row.softmax, lambda row: row.softmax() * row.moves())
log_softmax = of_rows(oracle.Row.log_softmax, lambda row: np.array(
    [oracle.dot(m, abs(v)) for m, v in zip(row.moves(), row.log_softmax(), strict=True)], dtype=object))
entropy_with_logits = of_rows(oracle.Row.entropy, oracle.Row.move_of_entropy)
sum_of_squares = of_rows(lambda row: mp.fsum(p * p for p in row.softmax()),
                         lambda row: mp.fsum(2 * p * p * m for p, m in zip(row.softmax(), row.moves(), strict=True)))


def logsumexp(x, **options):
    """(values, log(total) and what they move by): of the first, one may cancel with the maximum."""
    rows = rows_of(x, **options)
    return stacked(row.logsumexp() for row in rows), stacked(row.log_total + row.largest_error for row in rows)


def logsumexp_backward(grad_output, x, **options):
    g, rows = oracle.exact(grad_output), rows_of(x, **options)
    values, scales = (
        stacked(through(p * g_i) for through, g_i, p in zip(how, g, probabilities, strict=True))
        for how, probabilities in (
            ([row.through for row in rows], [row.softmax() for row in rows]),
            ([row.scale_through for row in rows], [row.softmax() * (1 + row.moves()) for row in rows])))
    return values, abs(scales)


def row_statistics_backward(x, target, log_prob, entropy, logsumexp, ignore_index=-100, **options):
    """(gradients, the largest of their terms and of themselves)."""
    values, sizes = (np.full(x.shape, oracle.ZERO, dtype=object) for _ in range(2))
    for i, y in enumerate(target):
        g = [mpf(float(a[i])) for a in (log_prob, entropy, logsumexp)]
        if not any(g) or y == ignore_index:
            continue
        row = oracle.Row(x[i], **oracle.of_row(i, **options))
        p, others, of_entropy = row.softmax(), row.one_minus_softmax(), row.entropy_gradient()
        for c in range(len(p)):
            terms = [g[0] * (others[c] if c == y else -p[c]), g[1] * of_entropy[0][c], g[2] * p[c]]
            values[i, c] = mp.fsum(terms)
            sizes[i, c] = max(abs(terms[0]), abs(terms[2]), abs(g[1]) * of_entropy[1][c], abs(values[i, c]))
        sizes[i] = (sizes[i] + row.moves_of_entropy_gradient(abs(g[1]))) * (1 + row.moves())
        values[i], sizes[i] = row.through(values[i]), row.scale_through(sizes[i])
    return values, sizes


def of_elements(function):
    def values(x):
        found = oracle.exact(x)
        for k in np.ndindex(x.shape):
            found[k] = function(found[k])
        return found, found
    return values


FORMULAS = {
    **{name: globals()[name] for name in xe.__all__ if name in globals()},
    "softmax_backward": by_row(oracle.softmax_backward),
    "log_softmax_backward": by_row(oracle.log_softmax_backward),
    "sigmoid": of_elements(oracle.binary.sigmoid),
    "log_sigmoid": of_elements(lambda x: -oracle.binary.softplus(-x)),
    "cross_entropy_gradient_hessian": oracle.hessian.cross_entropy,
    "binary_cross_entropy_with_logits_gradient_hessian": oracle.hessian.binary_cross_entropy_with_logits,
    "information.entropy": by_row(oracle.divergence.entropy),
    "information.cross_entropy": by_row(oracle.divergence.information_cross_entropy),
    "information.kl_divergence": by_row(oracle.divergence.kl_divergence),
    "information.js_divergence": by_row(oracle.divergence.js_divergence),
    "information.entropy_with_logits": entropy_with_logits,
    "sum_of_squares": sum_of_squares,
}
