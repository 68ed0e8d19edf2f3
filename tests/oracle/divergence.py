"""Exact references of the losses between two distributions: from logits, on (log-)probabilities, and of information.

With d = log t - log s every formula is written in d, log1p and expm1: 60 digits do not hold 1 - 1e-3000, and a class
whose probabilities are both that close to 1 counts as much as all the others together.
"""

import mpmath
import numpy as np
from mpmath import mp, mpf

from oracle.rows import EPS, ZERO, Row, dot, exact, of_row

DIVERGENCES = ("forward", "reverse", "js")


def log_ratio(numerator, denominator):
    """log t - log s of one class; where both probabilities are 0 nothing is said about it."""
    return ZERO if mp.isinf(numerator) and mp.isinf(denominator) else numerator - denominator


def to_mixture(d, share):
    """log(p / m) with m = share q + (1 - share) p and d = log q - log p."""
    if mp.isinf(d):
        return -mp.inf if d > 0 else -mpmath.log1p(-share)
    return -mpmath.log1p(share * mpmath.expm1(d))


def unreadable(x, softcap=None, logit_bias=None, **_temperature):
    """A row without a distribution: all -inf, a +inf, or NaN."""
    x = np.asarray(x).astype(np.float64)
    if softcap is not None:
        x = np.where(np.isinf(x), np.copysign(softcap, x), x)
    if logit_bias is not None:
        with np.errstate(invalid="ignore"):
            x = x + np.asarray(logit_bias, np.float64)
    return bool(np.isnan(x).any() or (x == np.inf).any() or (x == -np.inf).all())


class Divergence:
    """Of one row of a student and one of a teacher, whose options begin with `teacher_`."""

    def __init__(self, logits, teacher_logits, kind="forward", beta=0.5, teacher_softcap=None, teacher_logit_bias=None,
                 **options):
        self.kind, self.beta = kind, beta
        of_teacher = {**options, "softcap": teacher_softcap, "logit_bias": teacher_logit_bias}
        self.is_readable = not (unreadable(logits, **options) or unreadable(teacher_logits, **of_teacher))
        if not self.is_readable:
            return
        self.student, self.teacher = Row(logits, **options), Row(teacher_logits, **of_teacher)
        self.s, self.t = self.student.softmax(), self.teacher.softmax()
        self.d = [log_ratio(a, b) for a, b in zip(
            self.teacher.log_softmax(), self.student.log_softmax(), strict=True)]

    def swapped(self):
        """The same number with student and teacher in each other's place."""
        other = object.__new__(Divergence)
        other.kind = {"forward": "reverse", "reverse": "forward"}.get(self.kind, self.kind)
        other.beta, other.is_readable = 1 - self.beta, self.is_readable
        other.student, other.teacher, other.s, other.t = self.teacher, self.student, self.t, self.s
        other.d = [-v for v in self.d]
        return other

    def own(self):
        """log(s / t) or log(s / m) of each class."""
        return [-v for v in self.d] if self.kind == "reverse" else [to_mixture(v, self.beta) for v in self.d]

    def value(self):
        if self.kind == "reverse":
            return self.swapped().value()
        if self.kind == "forward":
            return mp.fsum(map(dot, self.t, self.d))
        of_teacher = mp.fsum(map(dot, self.t, self.swapped().own()))
        return self.beta * of_teacher + (1 - self.beta) * mp.fsum(map(dot, self.s, self.own()))

    def gradient(self):
        """(gradient, scale) in the logits z of the student: s - t, s (log(s/t) - KL) or (1 - beta) s (log(s/m) -
        KL(s||m)). It is measured at the larger of its two terms: (1 - t) s and t (1 - s), s |log(s/t)| and s sum s
        |log(s/t)|, and the same with m."""
        if self.kind == "forward":
            first, second = self.s * self.teacher.one_minus_softmax(), self.t * self.student.one_minus_softmax()
            return first - second, np.maximum(first, second)
        own, factor = self.own(), mpf(1) if self.kind == "reverse" else 1 - self.beta
        inner, size = mp.fsum(map(dot, self.s, own)), mp.fsum(dot(a, abs(b)) for a, b in zip(self.s, own, strict=True))
        gradient = [factor * dot(a, b - inner) for a, b in zip(self.s, own, strict=True)]
        scale = [factor * dot(a, max(abs(b), size)) for a, b in zip(self.s, own, strict=True)]
        return np.array(gradient, dtype=object), np.array(scale, dtype=object)

    def move(self):
        """How far the value may move with the rounding of both rows of logits: by the gradient and by half the second
        derivative, which is at most 1."""
        found = EPS * (self.student.largest_error + self.teacher.largest_error) ** 2
        for side in (self, self.swapped()):
            if side.student.largest_error:
                found += mp.fsum(dot(e, abs(g)) for e, g in zip(
                    side.student.errors(), side.gradient()[0], strict=True))
        return found

    def moves_of_gradient(self, scale):
        """By its terms, and for the log-ratios beside their mean by what these move."""
        of_student, of_teacher = self.student.moves(), self.teacher.moves()
        if self.kind == "forward":
            return scale * (of_student + of_teacher)
        both = of_student + of_teacher
        inner = mp.fsum(dot(a, m + dot(n, abs(b))) for a, m, n, b in zip(
            self.s, both, of_student, self.own(), strict=True))
        return scale * of_student + self.s * (both + inner)


def kl_row(logits, teacher_logits, temperature=1.0, divergence="forward", beta=0.5, **options):
    """(divergence, gradient, scale) of one row, the gradient with respect to `logits`."""
    return measured_row(logits, teacher_logits, divergence, beta, temperature=temperature, **options)[:3]


def measured_row(logits, teacher_logits, divergence="forward", beta=0.5, **options):
    """The same, and what the divergence is measured at beside itself."""
    both = Divergence(logits, teacher_logits, divergence, mpf(float(beta)), **options)
    if not both.is_readable:
        nan = np.full(len(logits), mp.nan, dtype=object)
        return mp.nan, nan, nan, mp.nan
    gradient, scale = both.gradient()
    value, move = both.value(), ZERO
    if both.student.is_rounded or both.teacher.is_rounded:
        scale = scale + both.moves_of_gradient(scale)
        move = both.move() if mp.isfinite(value) else mp.inf
    return value, both.student.through(gradient), both.student.scale_through(scale), move


def kl_div_rows(logits, teacher, counted=None, **options):
    """(losses, gradients, scales) of the rows; those that do not count are 0 and never read."""
    return measured_rows(logits, teacher, counted, **options)[:3]


def measured_rows(logits, teacher, counted=None, **options):
    n, c = logits.shape
    losses, moves = np.full(n, ZERO, dtype=object), np.full(n, ZERO, dtype=object)
    gradients, scales = np.full((n, c), ZERO, dtype=object), np.full((n, c), ZERO, dtype=object)
    for i in range(n):
        if counted is None or counted[i]:
            losses[i], gradients[i], scales[i], moves[i] = measured_row(logits[i], teacher[i], **of_row(i, **options))
    return losses, gradients, scales, moves


def sizes_of_terms(x, t, divergence="forward", beta=0.5, **options):
    """The sum of |p log(p / q)| over the classes, of each divergence that is in this one with its share."""
    both = Divergence(x, t, divergence, mpf(float(beta)), **options)
    of_student, of_teacher = [-v for v in both.d], both.d
    beta = {"forward": mpf(1), "reverse": mpf(0)}.get(divergence, both.beta)
    if divergence == "js":
        of_student = [to_mixture(v, beta) for v in both.d]
        of_teacher = [to_mixture(-v, 1 - beta) for v in both.d]
    sizes = [mp.fsum(dot(p, abs(v)) for p, v in zip(row.softmax(), ratios, strict=True))
             for row, ratios in ((both.teacher, of_teacher), (both.student, of_student))]
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
