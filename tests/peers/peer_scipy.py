"""SciPy and scikit-learn in float64 on the widened inputs: (value, None) of a case. They have no gradients."""

import numpy as np
from peer_bounds import options, wide
from scipy import special, stats
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import log_loss

SUPPORTED = ("softmax", "log_softmax", "logsumexp", "entropy_with_logits", "entropy", "information_cross_entropy",
             "kl_divergence", "js_divergence", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div",
             "nll_loss", "cross_entropy", "kl_div_with_logits")
SKLEARN = ("cross_entropy", "perplexity", "binary_cross_entropy")


def reduced(case, rows, denominator):
    reduction, given = case.reduction, case.options.get("denominator")
    if reduction == "none":
        return rows
    if reduction == "sum":
        return rows.sum()
    d = denominator if given is None else given
    return rows.sum() / d if d else np.asarray(np.nan)


def normalised(*arrays, axis):
    return all(np.all(np.abs(x.sum(axis=axis) - 1) < 5e-3) for x in arrays)


def information(case):
    axis, base = case.axis, case.options.get("base")
    unit = np.log(base) if base else 1.0
    p = wide(case.arrays["p"])
    q = wide(case.arrays["q"]) if "q" in case.arrays else None
    usual = normalised(p, *([] if q is None else [q]), axis=axis)
    if case.function == "entropy":
        return stats.entropy(p, base=base, axis=axis) if usual else special.entr(p).sum(axis=axis) / unit
    if case.function == "information_cross_entropy":
        return -special.xlogy(p, q).sum(axis=axis) / unit
    if case.function == "kl_divergence":
        return stats.entropy(p, q, base=base, axis=axis) if usual else special.rel_entr(p, q).sum(axis=axis) / unit
    if usual:
        return jensenshannon(p, q, axis=axis) ** 2 / unit
    m = (p + q) / 2
    return (special.rel_entr(p, m) + special.rel_entr(q, m)).sum(axis=axis) / 2 / unit


def cross_entropy(case):
    o, axis, rows, v = options(case)
    x, y = wide(case.first), case.arrays["target"]
    lp = x if case.function == "nll_loss" else special.log_softmax(x / o.get("temperature", 1.0), axis)
    w = wide(o.get("weight", np.ones(x.shape[axis])))
    e, c = o.get("label_smoothing", 0.0), x.shape[axis]
    lp = np.moveaxis(lp, axis, -1)
    if y.dtype.kind == "f" or y.dtype.kind == "V":
        q = np.moveaxis(wide(y), axis, -1)
        return reduced(case, -v * (w * ((1 - e) * q + e / c) * lp).sum(-1), v.sum())
    y = y.reshape(rows).astype(int)
    v = np.where(y == o.get("ignore_index", -100), 0, v)
    picked = np.take_along_axis(lp, y[..., None], -1)[..., 0]
    losses = -(1 - e) * w[y] * picked
    if e:
        losses = losses - e / c * (w * lp).sum(-1)
    return reduced(case, np.where(v == 0, 0, v * losses), (v * w[y]).sum())


def divergence(case):
    o, axis, _, v = options(case)
    t = o.get("temperature", 1.0)
    s, q = (special.softmax(wide(x) / t, axis) for x in case.arrays.values())
    if o.get("divergence") == "js":
        b = o.get("beta", 0.5)
        m = b * q + (1 - b) * s
        terms = b * special.rel_entr(q, m) + (1 - b) * special.rel_entr(s, m)
    else:
        terms = special.rel_entr(s, q) if o.get("divergence") == "reverse" else special.rel_entr(q, s)
    return reduced(case, v * terms.sum(axis=axis), v.sum())


def pointwise(case):
    o, axis, rows, _ = options(case)
    x, y = wide(case.first), wide(case.arrays["target"])
    if case.function == "kl_div":
        t = np.exp(y) if o.get("log_target") else y
        terms = special.rel_entr(t, np.exp(x))
        terms = terms if axis is None else terms.sum(axis=axis)
        count = x.size if case.reduction == "mean" else np.prod(rows) if axis is not None else (x.shape or (1,))[0]
        return reduced(case, terms, count)
    w = wide(o.get("weight", 1.0))
    if case.function == "binary_cross_entropy":
        return reduced(case, -w * (special.xlogy(y, x) + special.xlog1py(1 - y, -x)), x.size)
    e = o.get("label_smoothing", 0.0)
    y = y * (1 - e) + e / 2
    losses = -w * (wide(o.get("pos_weight", 1.0)) * y * special.log_expit(x) + (1 - y) * special.log_expit(-x))
    return reduced(case, losses, x.size)


def evaluate(case):
    axis, t = case.axis, case.options.get("temperature", 1.0)
    if case.function in ("softmax", "log_softmax"):
        return getattr(special, case.function)(wide(case.first) / t, axis=axis), None
    if case.function == "logsumexp":
        return special.logsumexp(wide(case.first), axis=axis), None
    if case.function == "entropy_with_logits":
        return stats.entropy(special.softmax(wide(case.first), axis), axis=axis), None
    if case.function in ("nll_loss", "cross_entropy"):
        return cross_entropy(case), None
    if case.function == "kl_div_with_logits":
        return divergence(case), None
    if "target" in case.arrays:
        return pointwise(case), None
    return information(case), None


def evaluate_sklearn(case):
    """log_loss: rows of probabilities and labels, the mean or the sum over rows."""
    o = case.options
    y = np.ravel(case.arrays["target"]).astype(int)
    x = wide(case.first)
    if case.function == "binary_cross_entropy":
        p, labels, v = np.stack([1 - x.ravel(), x.ravel()], 1), [0, 1], None
        v = np.broadcast_to(wide(o.get("weight", 1.0)), x.shape).ravel()
        total = log_loss(y, p, labels=labels, sample_weight=v, normalize=False)
        denominator = x.size
    else:
        p = np.moveaxis(special.softmax(x, case.axis), case.axis, -1).reshape(y.size, -1)
        v = options(case)[3].ravel()
        v = np.where(y == o.get("ignore_index", -100), 0, v)
        total = log_loss(y, p, labels=np.arange(p.shape[1]), sample_weight=v, normalize=False)
        denominator = v.sum()
    if case.function == "perplexity":
        return np.exp(total / denominator), None
    return reduced(case, np.asarray(total), denominator), None
