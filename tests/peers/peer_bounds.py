"""How far a result may be from a float64 library's: our promise plus what that library may be wrong by.

Ours, for a result of dtype d: 4 ulp of d (losses: of the exact value; gradients: of the larger of their two terms; half
precision: 1 ulp more), KL divergences relative 1e-5 (1e-12 in float64). Sums of terms of either sign count their sizes.

The peer evaluates the textbook formula in float64 on the same numbers, widened. With u = 2^-53 and d = x - max x:
log p = d - log(sum e^d) is wrong by at most u (|d| + |log p| + log C + C + 4): the difference and the result round by
u |d| and u |log p|, the terms e^d have relative errors u (|d| + 1) of mean u (log C + 1) under p, adding them up C u.
Where x is divided by a temperature, or log p is formed as x - logsumexp(x), u (|x| + |max x|) comes on top.
Elementary functions of these libraries are good to 4 ulp, hence the factor 4 throughout. Everything else is sums and
products of such terms and spreads these bounds linearly. Confident rows, where that formula loses everything, therefore
have wide bounds: their accuracy is tested elsewhere against exact values.
"""

from dataclasses import dataclass

import numpy as np
from oracle.parts import BFLOAT16
from peer_cases import INFORMATION

U = 2.0**-53
MANTISSA = {np.dtype(np.float16): (10, -14), BFLOAT16: (7, -126), np.dtype(np.float32): (23, -126),
            np.dtype(np.float64): (52, -1022)}


@dataclass
class Bounds:
    """Allowed errors: of ours and of a peer's, for the value and the gradient."""
    value: object
    value_peer: object
    grad: object = None
    grad_peer: object = None


def wide(x):
    return np.asarray(x).astype(np.float64)


def ulp(scale, dtype):
    mantissa, least = MANTISSA[np.dtype(dtype)]
    exponent = np.frexp(np.where(np.isfinite(scale), scale, 0))[1]
    return np.ldexp(1., np.maximum(exponent - 1, least) - mantissa)


def promise(scale, dtype):
    """4 ulp; for half precision 4 ulp of float32, rounded once more: the value is at most twice the larger term."""
    own = 4 * ulp(scale, np.float32 if np.dtype(dtype).itemsize == 2 else dtype)
    return own + ulp(scale, dtype) if np.dtype(dtype).itemsize == 2 else own


def loss_dtype(case):
    return np.dtype(np.float64 if case.first.dtype == np.float64 else np.float32)


def times(a, b):
    """a * b with 0 * inf = 0."""
    with np.errstate(invalid="ignore"):
        return np.where(np.broadcast_to(a, np.broadcast_shapes(np.shape(a), np.shape(b))) == 0, 0, a * b)


def log_softmax(x, axis, temperature=1.0):
    """(log p, the bound on a peer's error)."""
    z = wide(x) / temperature
    m = z.max(axis=axis, keepdims=True, initial=-np.inf)
    d = z - m
    lp = d - np.log(np.exp(d).sum(axis=axis, keepdims=True))
    c = z.shape[axis]
    size = np.abs(z) + np.abs(m) + np.abs(d) + np.abs(lp) + np.log(max(c, 1)) + c + 4
    return lp, np.where(np.isneginf(lp), 0, 4 * U * size)


def options(case):
    o, shape, axis = case.options, case.first.shape, case.axis
    rows = shape if axis is None else shape[:axis] + shape[axis + 1:]
    v = np.broadcast_to(wide(o.get("sample_weight", 1.)), rows)
    return o, axis, rows, v


def coefficients(case):
    """(b of the logits' shape without v, the rows that count, the mean's denominator)."""
    o, axis, rows, v = options(case)
    shape = case.first.shape
    c, e = shape[axis], o.get("label_smoothing", 0.)
    column = [1] * len(shape)
    column[axis] = c
    w = np.broadcast_to(wide(o.get("weight", 1.)), (c,)).reshape(column)
    target = case.arrays["target"]
    if target.dtype.kind not in "iu":
        return w * ((1 - e) * wide(target) + e / c), np.ones(rows), v.sum()
    y = target.astype(np.int64).reshape(rows)
    kept = (y != o.get("ignore_index", -100)).astype(float)
    one_hot = np.expand_dims(y, axis) == np.arange(c).reshape(column)
    wy = (w * one_hot).sum(axis=axis)
    return np.expand_dims(kept, axis) * w * ((1 - e) * one_hot + e / c), kept, (v * kept * wy).sum()


def reduced(case, rows, denominator, dtype=None, relative=0.):
    """rows: (value size, peer's error, allowed relative error of ours) per row or element."""
    size, error, own = rows
    count = size.size
    reduction = case.reduction
    dtype = dtype or loss_dtype(case)
    if reduction != "none":
        size, error, own = size.sum(), error.sum() + 4 * U * (count + 8) * size.sum(), np.sum(own)
    if reduction in ("mean", "batchmean"):
        d = case.options.get("denominator") or denominator
        size, error, own = size / d, error / d, own / d
    return promise(size + error, dtype) + own, error + 8 * U * size


def row_factor(case, denominator):
    """|upstream / denominator| of each row's gradient."""
    g = np.abs(wide(1. if case.upstream is None else case.upstream))
    if case.reduction in ("mean", "batchmean"):
        d = case.options.get("denominator") or denominator
        return g / d if d else 0 * g
    return g


def class_loss(case, lp, error, b, v, denominator):
    """Losses sum b (-log p): the bounds of value and gradient."""
    axis, c = case.axis, case.first.shape[case.axis]
    b = np.expand_dims(v, axis) * b
    size = times(b, np.abs(lp))
    rows = size.sum(axis=axis), times(b, error).sum(axis=axis) + 4 * U * (c + 8) * size.sum(axis=axis), 0.
    value = reduced(case, rows, denominator)
    f = row_factor(case, denominator)
    f = np.expand_dims(f, axis) if f.ndim else f
    p, total = np.exp(lp), b.sum(axis=axis, keepdims=True)
    scale = f * np.maximum((total - b) * p, b * -np.expm1(lp))
    grad_error = f * (total * p + b) * (error + 4 * U * (2 * c + case.first.size + 32))
    return value, scale, grad_error


def divergence(case, v, denominator):
    o, axis = case.options, case.axis
    t_ = o.get("temperature", 1.)
    ls, es = log_softmax(case.first, axis, t_)
    lt, et = log_softmax(case.arrays["teacher_logits"], axis, t_)
    s, t, d, e = np.exp(ls), np.exp(lt), lt - ls, es + et
    kind, beta = o.get("divergence", "forward"), o.get("beta", .5)
    c = ls.shape[axis]
    if kind == "js":
        lm = np.logaddexp(lt + np.log(beta), ls + np.log1p(-beta))
        terms = beta * t * (lt - lm), (1 - beta) * s * (ls - lm)
        dm, factor = ls - lm, 1 - beta
        weight = beta * t + (1 - beta) * s
        e = e + 8 * U * (1 + np.abs(lm))
    else:
        terms = (t * d if kind == "forward" else -s * d,)
        dm, factor, weight = -d, 1., t if kind == "forward" else s
    kl = np.maximum(sum(x.sum(axis=axis) for x in terms), 0)
    size = sum(np.abs(x).sum(axis=axis) for x in terms)
    error = (weight * 2 * e * (1 + np.abs(d))).sum(axis=axis) + 4 * U * (c + 8) * size
    single = loss_dtype(case) == np.float32
    own = (kl + error) * (1e-5 if single else 1e-12) + (2e-14 if single else 1e-30)
    value = reduced(case, (v * (kl + error), v * error, v * own), denominator)
    f = row_factor(case, denominator) * v / t_
    f = np.expand_dims(f, axis)
    if kind == "forward":
        scale = np.maximum((1 - t) * s, t * -np.expm1(ls))
        grad_error = (s + t) * (e + 4 * U * (2 * c + case.first.size + 32))
    else:
        inner = np.expand_dims((s * np.abs(dm)).sum(axis=axis), axis)
        scale = factor * s * (np.maximum(np.abs(ls), np.abs(ls - dm)) + inner)  # s log s, s log m and s KL
        grad_error = 4 * s * (1 + np.abs(dm) + inner) * (
            e + (s * e).sum(axis=axis, keepdims=True) + 4 * U * (2 * c + case.first.size + 32))
    return value, f * scale, f * grad_error


def row_loss(case):
    o, axis, rows, v = options(case)
    dtype = case.first.dtype
    b, kept, d = coefficients(case) if "target" in case.arrays else (None, np.ones(rows), v.sum())
    if case.function == "nll_loss":
        lp = wide(case.first)
        value, _, _ = class_loss(case, lp, 0 * lp, b, v, d)
        f = row_factor(case, d)
        scale = b * np.expand_dims(f * v, axis)
        return Bounds(*value, promise(scale, dtype), 4 * U * (case.first.size + 16) * scale)
    if case.function in ("cross_entropy", "perplexity"):
        t = o.get("temperature", 1.)
        value, scale, error = class_loss(case, *log_softmax(case.first, axis, t), b, v, d)
        return Bounds(*value, promise((scale + error) / t, dtype), error / t)
    value, scale, error = divergence(case, v * kept, (v * kept).sum())
    if case.function == "kl_div_with_logits":
        return Bounds(*value, promise(scale + error, dtype), error)
    t2 = o.get("temperature", 1.) ** 2 if o.get("scale_by_temperature", True) else 1.
    a = o.get("alpha", .5 if b is not None else 1.) * 1.
    parts = [(a * t2, value, scale, error)]
    if b is not None:
        ce_value, ce_scale, ce_error = class_loss(case, *log_softmax(case.first, axis), b, v, d)
        parts.append((1 - a, ce_value, ce_scale, ce_error))
    parts = [part for part in parts if part[0]]
    return Bounds(sum(k * val[0] for k, val, *_ in parts), sum(2 * k * val[1] for k, val, *_ in parts),
                  promise(sum(k * (scale + error) for k, _, scale, error in parts), dtype),
                  sum(2 * k * error for k, _, _, error in parts))


def pointwise(case):
    o, axis, rows, _ = options(case)
    x, y = wide(case.first), wide(case.arrays["target"])
    size = case.first.size
    if case.function == "kl_div":
        t, lt = (np.exp(y), y) if o.get("log_target") else (y, np.log(np.where(y > 0, y, 1)))
        terms = np.abs(times(t, lt)) + np.abs(times(t, x))
        grad = t
        d = size if case.reduction == "mean" else np.prod(rows) if axis is not None else (x.shape or (1,))[0]
        if axis is not None:
            terms = terms.sum(axis=axis)
    else:
        w = np.broadcast_to(wide(o.get("weight", 1.)), x.shape)
        d = size
        if case.function == "binary_cross_entropy":
            terms = w * (times(y, np.abs(np.log(x))) + times(1 - y, np.abs(np.log1p(-x))))
            grad = w * np.maximum(times(1 - y, 1 / (1 - x)), times(y, 1 / x))
        else:
            e, pw = o.get("label_smoothing", 0.), wide(o.get("pos_weight", 1.))
            y = y * (1 - e) + e / 2
            terms = w * (pw * y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x))
            grad = w * np.maximum(pw * y / (1 + np.exp(x)), (1 - y) / (1 + np.exp(-x)))
            extra = w * (1 + pw) * (1 + np.abs(x))
    error = 32 * U * (terms if case.function != "binary_cross_entropy_with_logits" else terms + extra)
    value = reduced(case, (terms, error, 0.), d)
    f = row_factor(case, d)
    if f.ndim and axis is not None:
        f = np.expand_dims(f, axis)
    grad = f * grad
    grad_error = 32 * U * grad if case.function != "binary_cross_entropy_with_logits" else f * 32 * U * w * (1 + pw)
    return Bounds(*value, promise(grad + grad_error, case.first.dtype), grad_error)


def information(case):
    axis, base = case.axis, case.options.get("base")
    unit = 1 / abs(np.log(base)) if base else 1.
    dtype = loss_dtype(case)
    if case.function == "entropy_with_logits":
        lp, e = log_softmax(case.first, axis)
        p = np.exp(lp)
        size, error = times(p, -lp).sum(axis=axis), times(p, 2 * e * (1 + np.abs(lp))).sum(axis=axis)
    else:
        p = wide(case.arrays["p"])
        q = wide(case.arrays.get("q", p))
        lp, lq = np.log(np.where(p > 0, p, 1)), np.log(np.where(q > 0, q, 1))
        if case.function == "entropy":
            size = np.abs(p * lp)
        elif case.function == "information_cross_entropy":
            size = np.abs(p * lq)
        elif case.function == "kl_divergence":
            size = np.abs(p * lp) + np.abs(p * lq)
        else:
            size = np.abs(p) + np.abs(q)  # each |p log(p/m)| <= max(p log 2, m/e)
        size, error = size.sum(axis=axis), 0.
        # scipy.stats.entropy and jensenshannon divide by the sum of the row, which rounded rows miss.
        off = sum(np.abs(1 - x.sum(axis=axis)) for x in (p, q))
        error = np.where(off < 1e-2, 2 * off * (1 + size), 0)
    error = (error + 16 * U * (p.shape[axis] + 8) * size) * unit
    own = promise(size * unit + error, dtype)
    if case.function == "kl_divergence":  # computed as a sum of terms >= 0 plus sum p - sum q, in float64
        own = own + 4 * ulp((p + q).sum(axis=axis) * unit, np.float64)
    return Bounds(own, error)


def normaliser(case):
    axis, dtype, t = case.axis, case.first.dtype, case.options.get("temperature", 1.)
    if case.function.endswith("_backward"):
        g, p = map(wide, case.arrays.values())
        dtype = case.arrays["probs"].dtype
        if case.function == "softmax_backward":
            scale = p * np.maximum(np.abs(g), np.abs(g * p).sum(axis=axis, keepdims=True)) / t
        else:
            scale = np.maximum(np.abs(g), np.exp(p) * np.abs(g).sum(axis=axis, keepdims=True)) / t
        return Bounds(promise(scale, dtype), 8 * U * (g.shape[axis] + 8) * scale)
    lp, e = log_softmax(case.first, axis, t)
    p = np.exp(lp)
    if case.function == "softmax":
        return Bounds(promise(p * (1 + e), dtype), p * (e + 16 * U))
    if case.function == "log_softmax":
        return Bounds(promise(np.abs(lp) + e, dtype), e)
    m = wide(case.first).max(axis=axis, initial=-np.inf)
    tail = np.log(np.exp(wide(case.first) - np.expand_dims(m, axis)).sum(axis=axis))
    error = 4 * U * (np.abs(m) + np.abs(tail) + e.max(axis=axis, initial=0) / U)
    own = ulp(np.abs(m + tail) + error, loss_dtype(case)) + 4 * ulp(tail, loss_dtype(case))
    scale = p if case.upstream is None else p * np.expand_dims(np.abs(wide(case.upstream)), axis)
    return Bounds(own, error, promise(scale * (1 + e), dtype), scale * (e + 16 * U))


def bounds(case):
    with np.errstate(all="ignore"):
        if case.function == "perplexity":
            lp, _ = log_softmax(case.first, case.axis)
            b, _, d = coefficients(case)
            value = np.exp(times(b, -lp).sum() / d)
            relative = row_loss(case).value_peer + 8 * U
            return Bounds(promise(value * (1 + relative), loss_dtype(case)), value * relative)
        if case.function in INFORMATION:
            return information(case)
        if case.function in ("binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"):
            return pointwise(case)
        if "target" in case.arrays or "teacher_logits" in case.arrays:
            return row_loss(case)
        return normaliser(case)
