"""The exact losses as sums of parts: one function for each loss, from its arrays and options. The formulas: oracle/."""

import numpy as np
import oracle
import oracle.binary
import oracle.divergence
import oracle.sparse
from mpmath import mp, mpf
from oracle.parts import Part

ONE = mpf(1)


def cross_entropy_part(x, target, share=ONE, **options):
    gradients, scales = oracle.cross_entropy_grad(x, target, **options)
    own = oracle.denominator(*x.shape, target, **options)
    return Part(share * oracle.cross_entropy_rows(x, target, **options), share * gradients, share * scales,
                {"mean": own})


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
                {"mean": total, "batchmean": total})


def kl_div_with_logits(x, teacher, sample_weight=None, **options):
    v = [mpf(1)] * len(x) if sample_weight is None else list(oracle.exact(sample_weight))
    return [kl_part(x, teacher, v, **options)]


def sparse_distillation_loss(x, classes, values, sample_weight=None, **options):
    v = [mpf(1)] * len(x) if sample_weight is None else list(oracle.exact(sample_weight))
    counted = [bool(w) for w in v]
    losses, loss_scales, gradients, scales = oracle.sparse.sparse_rows(x, classes, values, counted, **options)
    factor, size = np.array(v, dtype=object), np.array([abs(w) for w in v], dtype=object)
    return [Part(factor * losses, factor[:, None] * gradients, size[:, None] * scales, {"mean": mp.fsum(v)},
                 size * loss_scales)]


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


def binary(function):
    def parts(x, target, **options):
        return [Part(*function(x, target, **options), {"mean": mpf(x.size)})]
    return parts


def kl_div(x, target, log_target=False, axis=None):
    losses, loss_scales, gradients = oracle.divergence.kl_div(x, target, log_target)
    if axis is not None:
        losses, loss_scales = losses.sum(axis=1), loss_scales.sum(axis=1)
    return [Part(losses, gradients, gradients, {"mean": mpf(x.size), "batchmean": mpf(len(x))}, loss_scales)]
