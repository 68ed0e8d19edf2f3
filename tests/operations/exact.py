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
    own = oracle.denominator(*x.shape, target, **options)
    losses, sizes = oracle.cross_entropy_terms(x, target, **options)
    return Part(share * losses, share * gradients, share * scales, {"mean": own}, share * sizes)


def cross_entropy(x, target, **options):
    return [cross_entropy_part(x, target, **options)]


def nll_loss(x, target, **options):
    gradients, scales = oracle.nll_loss_grad(x, target, **options)
    return [Part(oracle.nll_loss_rows(x, target, **options), gradients, scales,
                 {"mean": oracle.denominator(*x.shape, target, **options)})]


def kl_part(x, teacher, v, share=ONE, **options):
    """`v`: the weight of each row, None where the row is ignored."""
    counted = [bool(w) for w in v]
    losses, gradients, scales = oracle.divergence.kl_div_rows(x, teacher, counted, **options)
    factor = np.array([share * w if w else oracle.ZERO for w in v], dtype=object)
    total = sum(w for w in v if w)
    return Part(factor * losses, factor[:, None] * gradients, factor[:, None] * scales,
                {"mean": total, "batchmean": total}, sizes=lambda: np.abs(factor) * np.array(
                    [oracle.divergence.sizes_of_terms(x[i], teacher[i], **options) if read else oracle.ZERO
                     for i, read in enumerate(counted)], dtype=object))


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
                      divergence="forward", beta=0.5, **options):
    alpha = mpf(float((1.0 if target is None else 0.5) if alpha is None else alpha))
    v = options.get("sample_weight")
    v = [mpf(1)] * len(x) if v is None else list(oracle.exact(v))
    if target is not None and np.ndim(target) == 1:
        v = [None if y == options.get("ignore_index", -100) else w for y, w in zip(target, v, strict=True)]
    parts = []
    if alpha:
        share = alpha * (mpf(float(temperature)) ** 2 if scale_by_temperature else 1)
        parts.append(kl_part(x, teacher, v, share, temperature=temperature, divergence=divergence, beta=beta))
    if alpha < 1:
        parts.append(cross_entropy_part(x, target, 1 - alpha, **options))
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


def of_rows(function):
    """Measured at the values themselves, from a function of an oracle.Row."""
    def values(x, temperature=1.0):
        found = stacked(function(oracle.Row(row, temperature)) for row in x)
        return found, found
    return values


def by_row(function):
    """From a function of a row of each array, which returns a value or values and a scale or scales."""
    def both(*arrays, **options):
        pairs = [function(*row, **options) for row in zip(*arrays, strict=True)]
        return tuple(map(stacked, zip(*pairs, strict=True)))
    return both


softmax = of_rows(oracle.Row.softmax)
log_softmax = of_rows(oracle.Row.log_softmax)
entropy_with_logits = of_rows(lambda row: mp.fsum(oracle.dot(p, -log_p) for p, log_p in zip(
    row.softmax(), row.log_softmax(), strict=True)))
sum_of_squares = of_rows(lambda row: mp.fsum(p * p for p in row.softmax()))


def logsumexp(x, temperature=1.0):
    """(values, log(total)), of which one may cancel with the maximum."""
    rows = [oracle.Row(row, temperature) for row in x]
    return stacked(row.logsumexp() for row in rows), stacked(row.log_total for row in rows)


def logsumexp_backward(grad_output, x):
    values = softmax(x)[0] * oracle.exact(grad_output)[:, None]
    return values, values


def row_statistics_backward(x, target, log_prob, entropy, logsumexp, temperature=1.0, ignore_index=-100):
    """(gradients, the largest of their terms and of themselves)."""
    values, sizes, t = *(np.full(x.shape, oracle.ZERO, dtype=object) for _ in range(2)), mpf(float(temperature))
    for i, y in enumerate(target):
        g = [mpf(float(a[i])) for a in (log_prob, entropy, logsumexp)]
        if not any(g) or y == ignore_index:
            continue
        row = oracle.Row(x[i], temperature)
        p, others, of_entropy = row.softmax(), row.one_minus_softmax(), row.entropy_gradient()
        for c in range(len(p)):
            terms = [g[0] * (others[c] if c == y else -p[c]), g[1] * of_entropy[0][c], g[2] * p[c]]
            values[i, c] = mp.fsum(terms) / t
            sizes[i, c] = max(abs(terms[0]), abs(terms[2]), abs(g[1]) * of_entropy[1][c], abs(values[i, c] * t)) / t
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
