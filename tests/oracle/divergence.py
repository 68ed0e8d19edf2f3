"""Exact references of the losses between two distributions: from logits, on (log-)probabilities, and of information.

With d = log t - log s every formula is written in d, log1p and expm1: 60 digits do not hold 1 - 1e-3000, and a class
whose probabilities are both that close to 1 counts as much as all the others together.
"""

import mpmath
import numpy as np
from mpmath import mp, mpf

from oracle import ZERO, Row, dot, exact

DIVERGENCES = ("forward", "reverse", "js")

def log_ratio(numerator, denominator):
    """log t - log s of one class; where both probabilities are 0 nothing is said about it."""
    return ZERO if mp.isinf(numerator) and mp.isinf(denominator) else numerator - denominator


def to_mixture(d, share):
    """log(p / m) with m = share q + (1 - share) p and d = log q - log p."""
    if mp.isinf(d):
        return -mp.inf if d > 0 else -mpmath.log1p(-share)
    return -mpmath.log1p(share * mpmath.expm1(d))


def unreadable(x):
    """A row without a distribution: all -inf, a +inf, or NaN."""
    x = np.asarray(x).astype(np.float64)
    return bool(np.isnan(x).any() or (x == np.inf).any() or (x == -np.inf).all())


def kl_row(logits, teacher_logits, temperature=1.0, divergence="forward", beta=0.5):
    """(divergence, gradient, scale) of one row, the gradient with respect to `logits`.

    A gradient entry is (s - t) / T, s (log(s/t) - KL) / T or (1 - beta) s (log(s/m) - KL(s||m)) / T. It is measured at
    the larger of its two terms: (1 - t) s and t (1 - s), s |log(s/t)| and s sum s |log(s/t)|, and the same with m.
    """
    if unreadable(logits) or unreadable(teacher_logits):
        nan = np.full(len(logits), mp.nan, dtype=object)
        return mp.nan, nan, nan
    student, teacher = Row(logits, temperature), Row(teacher_logits, temperature)
    t_inverse = 1 / mpf(float(temperature))
    s, t, log_s = student.softmax(), teacher.softmax(), student.log_softmax()
    d = [log_ratio(a, b) for a, b in zip(teacher.log_softmax(), log_s, strict=True)]
    if divergence == "forward":
        value = mp.fsum(dot(a, b) for a, b in zip(t, d, strict=True))
        first = s * teacher.one_minus_softmax() * t_inverse
        second = t * student.one_minus_softmax() * t_inverse
        return value, first - second, np.maximum(first, second)
    share = mpf(1) if divergence == "reverse" else mpf(float(beta))
    own = [-v for v in d] if divergence == "reverse" else [to_mixture(v, share) for v in d]
    inner = mp.fsum(dot(a, b) for a, b in zip(s, own, strict=True))  # KL(s||t) or KL(s||m)
    value, factor = inner, t_inverse
    if divergence == "js":
        other = mp.fsum(dot(a, to_mixture(-v, 1 - share)) for a, v in zip(t, d, strict=True))
        value, factor = share * other + (1 - share) * inner, (1 - share) * t_inverse
    gradient = [factor * dot(a, b - inner) for a, b in zip(s, own, strict=True)]
    size = mp.fsum(dot(a, abs(b)) for a, b in zip(s, own, strict=True))
    scale = [factor * dot(a, max(abs(b), size)) for a, b in zip(s, own, strict=True)]
    return value, np.array(gradient, dtype=object), np.array(scale, dtype=object)


def kl_div_rows(logits, teacher, counted=None, **options):
    """(losses, gradients, scales) of the rows; those that do not count are 0 and never read."""
    n, c = logits.shape
    losses = np.full(n, ZERO, dtype=object)
    gradients, scales = np.full((n, c), ZERO, dtype=object), np.full((n, c), ZERO, dtype=object)
    for i in range(n):
        if counted is None or counted[i]:
            losses[i], gradients[i], scales[i] = kl_row(logits[i], teacher[i], **options)
    return losses, gradients, scales


def sizes_of_terms(x, t, divergence="forward", temperature=1.0, beta=0.5):
    """The sum of |p log(p / q)| over the classes, of each divergence that is in this one with its share."""
    student, teacher = Row(x, temperature), Row(t, temperature)
    d = [log_ratio(a, b) for a, b in zip(teacher.log_softmax(), student.log_softmax(), strict=True)]
    of_student, of_teacher = [-v for v in d], d
    beta = {"forward": mpf(1), "reverse": mpf(0)}.get(divergence, mpf(beta))
    if divergence == "js":
        of_student = [to_mixture(v, beta) for v in d]
        of_teacher = [to_mixture(-v, 1 - beta) for v in d]
    sizes = [mp.fsum(dot(p, abs(v)) for p, v in zip(row.softmax(), ratios, strict=True))
             for row, ratios in ((teacher, of_teacher), (student, of_student))]
    return dot(beta, sizes[0]) + dot(1 - beta, sizes[1])


# ---- kl_div on log-probabilities -------------------------------------------------------------------------------------


def kl_div(log_probs, target, log_target=False):
    """(losses, scales of the losses, gradients), elementwise: t (log t - log_p), which may cancel, is measured at the
    larger of |t log t| and |t log_p|; the gradient is -t."""
    log_p, given = exact(log_probs), exact(target)
    losses, scales, gradients = (np.empty(log_p.shape, dtype=object) for _ in range(3))
    for k in np.ndindex(log_p.shape):
        if log_target:
            t, log_t = mp.exp(given[k]), given[k]
        else:
            t, log_t = given[k], mp.log(given[k]) if given[k] else -mp.inf
        losses[k] = dot(t, log_t - log_p[k]) if t else ZERO
        scales[k] = max(abs(dot(t, log_t)), abs(dot(t, log_p[k])))
        gradients[k] = -t
    return losses, scales, gradients


# ---- Information measures of one row ---------------------------------------------------------------------------------


def nats(base):
    """What a number in nats is divided by."""
    return mpf(1) if base is None else mp.log(mpf(float(base)))


def log(x):
    return mp.log(x) if x else -mp.inf


def entropy(p, base=None):
    """(value, scale): -sum p log p and the sum of the terms' sizes, for p that exceeds 1."""
    terms = [dot(v, -log(v)) for v in exact(p)]
    return mp.fsum(terms) / nats(base), mp.fsum(map(abs, terms)) / abs(nats(base))


def information_cross_entropy(p, q, base=None):
    terms = [dot(a, -log(b)) for a, b in zip(exact(p), exact(q), strict=True)]
    return mp.fsum(terms) / nats(base), mp.fsum(map(abs, terms)) / abs(nats(base))


def kl_divergence(p, q, base=None):
    """Measured at the sum of the larger of |p log p| and |p log q|."""
    pairs = [(dot(a, log(a)), dot(a, log(b))) for a, b in zip(exact(p), exact(q), strict=True)]
    return (mp.fsum(a - b for a, b in pairs) / nats(base),
            mp.fsum(max(abs(a), abs(b)) for a, b in pairs) / abs(nats(base)))


def js_divergence(p, q, base=None):
    """Half of KL(p||m) + KL(q||m), m = (p + q) / 2: measured as they are."""
    m = [(a + b) / 2 for a, b in zip(exact(p), exact(q), strict=True)]
    value, scale = ZERO, ZERO
    for row in (exact(p), exact(q)):
        pairs = [(dot(a, log(a)), dot(a, log(b))) for a, b in zip(row, m, strict=True)]
        value += mp.fsum(a - b for a, b in pairs) / 2
        scale += mp.fsum(max(abs(a), abs(b)) for a, b in pairs) / 2
    return value / nats(base), scale / abs(nats(base))


def entropy_with_logits(logits):
    if unreadable(logits):
        return mp.nan
    row = Row(logits)
    return mp.fsum(dot(a, -b) for a, b in zip(row.softmax(), row.log_softmax(), strict=True))
