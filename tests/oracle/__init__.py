"""Exact references: the formulas of the documentation at 60 digits in mpmath, and the error measure in ULP.

Everything here works on rows of classes, (N, C) arrays; tests bring other layouts into that form first. Exact values
are mpmath numbers in object arrays. No term is dropped and nothing is shifted for safety: mpmath has no overflow, so
the only care needed is that `1 - p` of the likeliest class is taken from the other classes (`tail`), because 60 digits
do not hold 1 - 1e-300.
"""

import ml_dtypes
import numpy as np
from mpmath import mp, mpf

from .rows import EPS, ZERO, Row, dot, exact, is_rounded, of_row

mp.dps = 60

# ---- Cross-entropy ---------------------------------------------------------------------------------------------------


LOGIT_OPTIONS = ("temperature", "softcap", "logit_bias")


def coefficients(n, c, target, *, weight=None, ignore_index=-100, label_smoothing=0.0, sample_weight=None, z_loss=0.0,
                 entropy_weight=0.0, **_of_logits):
    """Per row: (a, b, v * w[y], v * z, v * h), with a the coefficient of -log p[y] alone, b (C,) the smoothing part of
    each class, v * z that of logsumexp**2 and v * h that of minus the entropy; None for an ignored row. With class
    probabilities, an (N, C) target, b is all there is of a: (0, b, v, v * z, v * h)."""
    w = [mpf(1)] * c if weight is None else exact(weight)
    v = [mpf(1)] * n if sample_weight is None else exact(sample_weight)
    e, z, h = mpf(float(label_smoothing)), mpf(float(z_loss)), mpf(float(entropy_weight))
    spread = [e / c * w_c for w_c in w] if e else None
    rows = []
    for i in range(n):
        if np.ndim(target) == 2:
            q = exact(target[i])
            rows.append((ZERO, [v[i] * w_c * ((1 - e) * q_c + e / c) for w_c, q_c in zip(w, q, strict=True)], v[i],
                         v[i] * z, v[i] * h))
            continue
        y = int(target[i])
        if ignore_index is not None and y == ignore_index:
            rows.append(None)
        else:
            rows.append((v[i] * (1 - e) * w[y], [v[i] * s for s in spread] if spread else None, v[i] * w[y],
                         v[i] * z, v[i] * h))
    return rows


def is_read(entry):
    """Whether any coefficient of a row is not 0."""
    return entry is not None and bool(entry[0] or entry[3] or entry[4] or (entry[1] and any(entry[1])))


def class_of(target, i):
    """Where the first coefficient of row i belongs; with class probabilities it is 0, and so is the class."""
    return 0 if np.ndim(target) == 2 else int(target[i])


def rows_that_count(logits, target, **options):
    """(i, its coefficients, its softmax as a Row) of the rows that are read."""
    of_logits = {name: value for name, value in options.items() if name in LOGIT_OPTIONS}
    for i, entry in enumerate(coefficients(*logits.shape, target, **options)):
        if is_read(entry):
            yield i, entry, Row(logits[i], **of_row(i, **of_logits))


def cross_entropy_rows(logits, target, **options):
    """(N,) exact losses of the rows."""
    return cross_entropy_terms(logits, target, **options)[0]


def cross_entropy_terms(logits, target, **options):
    """(N,) exact losses of the rows, and the larger of what each is without the entropy and of that alone."""
    losses, sizes = (np.full(len(logits), ZERO, dtype=object) for _ in range(2))
    for i, (a, b, _, z, h), row in rows_that_count(logits, target, **options):
        log_p = row.log_softmax()
        losses[i] = dot(a, -log_p[class_of(target, i)])
        if b:
            losses[i] += mp.fsum(dot(b_c, -lp) for b_c, lp in zip(b, log_p, strict=True))
        losses[i] += z * row.logsumexp() ** 2
        of_entropy = dot(h, row.entropy())
        sizes[i] = max(abs(losses[i]), abs(of_entropy))
        losses[i] -= of_entropy
    return losses, sizes


def moves_of_cross_entropy(logits, target, **options):
    """(N,) how far losses may move with the rounding of the logits."""
    found = np.full(len(logits), ZERO, dtype=object)
    if not is_rounded(**options):
        return found
    for i, (a, b, _, z, h), row in rows_that_count(logits, target, **options):
        sizes = [dot(m, -lp) for m, lp in zip(row.moves(), row.log_softmax(), strict=True)]
        found[i] = dot(abs(a), sizes[class_of(target, i)]) + mp.fsum(map(dot, map(abs, b or []), sizes))
        found[i] += abs(z) * row.largest_error * (2 * abs(row.logsumexp()) + EPS * row.largest_error)
        found[i] += dot(abs(h), row.move_of_entropy())
    return found


def nll_loss_rows(log_probs, target, **options):
    n, c = log_probs.shape
    losses = np.empty(n, dtype=object)
    for i, entry in enumerate(coefficients(n, c, target, **options)):
        losses[i] = ZERO if entry is None else dot(entry[0], -mpf(float(log_probs[i, int(target[i])])))
    return losses


def denominator(n, c, target, **options):
    """The mean's own denominator: the sum of v * w[y] over the rows that are not ignored; of v with probabilities."""
    return mp.fsum(entry[2] for entry in coefficients(n, c, target, **options) if entry is not None)


def scales(n, c, target, reduction, grad_output=1.0, mean_denominator=None, **options):
    """(N,) exact factor of each row's loss in the differentiated scalar."""
    upstream = exact(np.broadcast_to(np.asarray(grad_output, dtype=np.float64), (n,)))
    if reduction != "mean":
        return upstream
    d = denominator(n, c, target, **options) if mean_denominator is None else mpf(float(mean_denominator))
    return np.array([u / d if d else ZERO for u in upstream], dtype=object)


def cross_entropy_grad(logits, target, reduction="sum", grad_output=1.0, mean_denominator=None, **options):
    """(gradient, scale): the exact (N, C) gradient (A - b_c) p_c - b_c (1 - p_c) in z and the larger of its two terms,
    at which a result's spacing is measured, times dz / dx. A has 2 v z logsumexp in it, and v h (log p_c + H), whose
    two terms count."""
    n, c = logits.shape
    factor = scales(n, c, target, reduction, grad_output, mean_denominator, **options)
    grad, scale = np.full((n, c), ZERO, dtype=object), np.full((n, c), ZERO, dtype=object)
    for i, entry, row in rows_that_count(logits, target, **options):
        if not factor[i]:
            continue
        y = class_of(target, i)
        p, q = row.softmax(), row.one_minus_softmax()
        b = [s * factor[i] for s in entry[1]] if entry[1] else [ZERO] * c
        b[y] += entry[0] * factor[i]
        total, slope = mp.fsum(b), 2 * entry[3] * row.logsumexp() * factor[i]
        if entry[1] or entry[3] or entry[4]:
            first = [((total - b[k]) + slope) * p[k] for k in range(c)]  # 60 digits do not hold 1 + slope
            second = [b[k] * q[k] for k in range(c)]
            grad[i] = [f - s for f, s in zip(first, second, strict=True)]
            scale[i] = [max(abs(f), abs(s)) for f, s in zip(first, second, strict=True)]
            if entry[3]:  # where logsumexp = max + log_total cancels, its error is that of log_total
                error = abs(2 * entry[3] * factor[i] * row.log_total)
                scale[i] = [max(a, error * p_c) for a, p_c in zip(scale[i], p, strict=True)]
            if entry[4]:
                h = entry[4] * factor[i]
                grad[i] = [g - h * d for g, d in zip(grad[i], row.entropy_gradient()[0], strict=True)]
                scale[i] = row.moves_of_entropy_gradient(abs(h)) + [max(a, abs(h) * s, abs(g)) for a, s, g in zip(
                    scale[i], row.entropy_gradient()[1], grad[i], strict=True)]
        else:  # one term each: computed per distinct logit
            grad[i] = row.expand([total * e / row.total for e in row.e])
            grad[i, y] = -total * q[y]
            scale[i] = abs(grad[i])
        if row.is_rounded:
            scale[i] = scale[i] * (1 + row.moves()) + p * abs(2 * entry[3] * factor[i] * row.largest_error)
        grad[i], scale[i] = row.through(grad[i]), row.scale_through(scale[i])
    return grad, scale


def nll_loss_grad(log_probs, target, reduction="sum", grad_output=1.0, mean_denominator=None, **options):
    n, c = log_probs.shape
    factor = scales(n, c, target, reduction, grad_output, mean_denominator, **options)
    grad = np.full((n, c), ZERO, dtype=object)
    for i, entry in enumerate(coefficients(n, c, target, **options)):
        if entry is not None:
            grad[i, int(target[i])] = -entry[0] * factor[i]
    return grad, grad


def reduce(losses, reduction, mean_denominator):
    total = mp.fsum(losses)
    return total if reduction == "sum" else total / mpf(mean_denominator)


# ---- Normalisers -----------------------------------------------------------------------------------------------------


def softmax_backward(grad_output, probs, temperature=1.0):
    """(gradient, scale) of one row: p (g - sum g p) / T. The sum may cancel, so a result is measured at the larger of
    |g| and sum |g p|, times p / T."""
    g, p, t = exact(grad_output), exact(probs), mpf(float(temperature))
    inner, size = mp.fsum(g * p), mp.fsum(abs(a * b) for a, b in zip(g, p, strict=True))
    return p * (g - inner) / t, np.array([b * max(abs(a), size) / t for a, b in zip(g, p, strict=True)], dtype=object)


def log_softmax_backward(grad_output, log_probs, temperature=1.0):
    """(gradient, scale) of one row: (g - exp(log_p) sum g) / T, measured at the larger of |g| and p sum |g|."""
    g, t = exact(grad_output), mpf(float(temperature))
    p = [mp.exp(v) for v in exact(log_probs)]
    total, size = mp.fsum(g), mp.fsum(abs(a) for a in g)
    gradient = np.array([(a - b * total) / t for a, b in zip(g, p, strict=True)], dtype=object)
    return gradient, np.array([max(abs(a), b * size) / t for a, b in zip(g, p, strict=True)], dtype=object)


# ---- Error measure ---------------------------------------------------------------------------------------------------


def format_of(dtype):
    return ml_dtypes.finfo(dtype) if dtype == ml_dtypes.bfloat16 else np.finfo(dtype)


def ulp(z, dtype):
    """Spacing of `dtype` at the exact z, never below its least subnormal (2^-149, 2^-1074; halves 2^-24, 2^-133)."""
    info = format_of(dtype)
    least = int(info.minexp) - int(info.nmant)
    exponent = int(mp.frexp(z)[1]) - int(info.nmant) - 1 if z else least
    return mp.ldexp(mpf(1), max(exponent, least))


def error(actual, wanted, dtype, scale=None):
    """|actual - wanted| in units of ulp(scale), scale being the exact value unless given."""
    info = format_of(dtype)
    largest = mpf(float(info.max))
    if mp.isnan(wanted):
        return ZERO if np.isnan(actual) else mp.inf
    if abs(wanted) >= largest + ulp(largest, dtype) / 2:  # rounds to an infinity
        return ZERO if actual == np.copysign(np.inf, float(mp.sign(wanted))) else mp.inf
    if not np.isfinite(actual):
        return mp.inf
    return abs(mpf(float(actual)) - wanted) / ulp(wanted if scale is None else scale, dtype)


def surely_within(limit, actual, wanted, scale):
    """For each entry whether it is within `limit` ULP beyond doubt, in float64: a tenth of the time of `error`.

    The exact value is rounded to half a unit of float64, the difference to a few of 2^-53 of itself, and the unit at
    what was rounded to a power of two may be half as large. False for what is infinite or NaN.
    """
    info = format_of(actual.dtype)
    wanted, scale = wanted.astype(np.float64), scale.astype(np.float64)
    with np.errstate(all="ignore"):
        below, least = np.nextafter(abs(scale), 0), int(info.minexp) - int(info.nmant)
        exponents = np.where(below == 0, least, np.frexp(below)[1] - (int(info.nmant) + 1))
        unit = np.ldexp(1.0, np.maximum(exponents, least))
        half_unit = np.maximum(np.spacing(abs(wanted)) / 2, 2.0**-1074)
        difference = abs(actual.astype(np.float64) - wanted) * (1 + 2.0**-50) + half_unit
        return (difference <= limit * unit) & np.isfinite(wanted) & (abs(wanted) <= float(info.max))


def assert_within(limit, actual, wanted, scale=None):
    """Every entry of `actual` is within `limit` ULP of its dtype; equal cases are measured once."""
    actual = np.asarray(actual)
    wanted = np.asarray(wanted, dtype=object)
    scale = wanted if scale is None else np.asarray(scale, dtype=object)
    assert actual.shape == wanted.shape == scale.shape
    distinct = {}
    for i, (a, w, s) in enumerate(zip(actual.ravel().tolist(), wanted.ravel(), scale.ravel(), strict=True)):
        distinct.setdefault((a, id(w), id(s)), i)
    cases = np.fromiter(distinct.values(), np.intp, len(distinct))
    sure = surely_within(float(limit), *(array.ravel()[cases] for array in (actual, wanted, scale)))
    worst, where = mpf(-1), 0
    for i in cases[~sure]:
        size = error(actual.ravel()[i], wanted.ravel()[i], actual.dtype, scale.ravel()[i])
        if size > worst:
            worst, where = size, i
    if worst > limit:
        raise AssertionError(
            f"{mp.nstr(worst, 4)} ulp, more than {limit}, at {np.unravel_index(where, actual.shape)}: "
            f"{actual.ravel()[where]!r} instead of {mp.nstr(wanted.ravel()[where], 20)}")
