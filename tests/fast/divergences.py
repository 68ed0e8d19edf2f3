"""Divergences of two rows of logits, and distillation with a target."""

from functools import cached_property

import numpy as np

from .classes import cross_entropy
from .double_double import PHI, SCALE, expm1, high, log1p, maximum, near_0, phi, series, sum_last, where
from .parts import Part, column, like, times
from .rows import Logits, is_counted, product, rows_of, same_kind


class Pair:
    """The softmax s of students and t of teachers, and d = log(t / s), by classes."""

    def __init__(self, student, teacher):
        self.student, self.teacher = student, teacher
        self.s, self.t = self.student.softmax, self.teacher.softmax
        # SCALE times. The differences of the gaps first: they are exact, and a factor leaves the digits.
        scaled = self.student.over_temperature(self.student.at_1 - self.teacher.at_1) * SCALE
        self.scaled_d = scaled + column(self.student.scaled_log_total - self.teacher.scaled_log_total)
        self.d = self.scaled_d * (1 / SCALE)
        self.unreadable = self.student.unreadable | self.teacher.unreadable

    @cached_property
    def rises(self):
        return high(self.d) > 0

    @cached_property
    def _phi(self):
        """(e^-|d| - 1, phi(-|d|), phi*(|d|))"""
        size = abs(self.d)
        e = expm1(-size)
        return (e, *phi(size, e))

    @cached_property
    def s_without_t(self):
        return self.teacher.masked & ~self.student.masked

    @cached_property
    def t_without_s(self):
        return self.student.masked & ~self.teacher.masked

    def nan(self, values):
        bad = self.unreadable if high(values).ndim == 1 else column(self.unreadable)
        return where(bad, np.nan, values) if bad.any() else values

    # ---- Losses, by the terms of phi, none of which is negative

    def forward(self):
        _, falls, rises = self._phi
        loss = sum_last(where(self.rises, self.t * rises, self.s * falls))
        return where(self.t_without_s.any(axis=1), np.inf, loss)

    def reverse(self):
        _, falls, rises = self._phi
        loss = sum_last(where(self.rises, self.t * falls, self.s * rises))
        return where(self.s_without_t.any(axis=1), np.inf, loss)

    def js(self, beta):
        """Each class adds beta t log(t/m) + (1 - beta) s log(s/m), which near 0 is m times a sum of phi."""
        rest, near = 1.0 - beta, near_0(self.d)
        log_t_m, log_s_m = self.to_mixture(beta)
        terms = self.t * log_t_m * beta + self.s * log_s_m * rest
        if near.any():
            m, of_t, of_s = self.t * beta + self.s * rest, where(near, log_t_m, 0.0), where(near, log_s_m, 0.0)
            terms = where(near, m * (series(PHI, of_t) * beta + series(PHI, of_s) * rest), terms)
        return sum_last(terms)

    def to_mixture(self, beta):
        """(log(t / m), log(s / m))"""
        nearer = self._nearer(beta)
        return where(self.rises, nearer, self.d + nearer), where(self.rises, nearer - self.d, nearer)

    def _nearer(self, beta):
        """log(t / m) where d > 0, log(s / m) elsewhere."""
        return -log1p(self._phi[0] * where(self.rises, 1.0 - beta, beta))

    # ---- Gradients

    def forward_gradient(self):
        """s (1 - t) - t (1 - s), and the larger of its two terms."""
        first = self.s * self.teacher.one_minus_softmax * (1 / SCALE)
        second = self.t * self.student.one_minus_softmax * (1 / SCALE)
        return first - second, maximum(first, second)

    def reverse_gradient(self):
        gradient, scale = self.centred(-self.scaled_d, 1 / SCALE)
        infinite = self.s_without_t.any(axis=1)
        if infinite.any():
            of_infinite = np.where(self.s_without_t, np.nan, np.where(self.student.masked, 0.0, -np.inf))
            gradient = where(column(infinite), of_infinite, gradient)
        return gradient, scale

    def js_gradient(self, beta):
        # log(s / m) once more, SCALE times: of a tiny d the digits are in the scaled one
        rest, size = 1.0 - beta, abs(self.scaled_d)
        tiny = high(size) < SCALE * 2.0**-200
        nearer = where(tiny, size * where(self.rises, rest, beta), self._nearer(beta) * SCALE)
        return self.centred(where(self.rises, nearer - self.scaled_d, nearer), rest * (1 / SCALE))

    def centred(self, own, factor):
        """s (own - sum s own) times a factor, of a scaled array, and the larger of its two terms."""
        weighted = self.s * own * (1 / SCALE)
        inner, size = column(sum_last(weighted)), column(sum_last(abs(weighted)))
        # The factor last: s alone may be too small without its SCALE, and so may the logarithm.
        return self.s * (own - inner) * factor, self.s * maximum(abs(own), size) * factor

    def gradient(self, divergence, beta):
        """In the logits z of the student."""
        if divergence == "js":
            return self.js_gradient(beta)
        return self.forward_gradient() if divergence == "forward" else self.reverse_gradient()

    # ---- The rounding of z: tests/oracle/divergence.py

    @property
    def is_rounded(self):
        return self.student.is_rounded or self.teacher.is_rounded

    def move(self, divergence, beta):
        """How far the divergence may move with it."""
        of_swapped = {"forward": "reverse", "reverse": "forward"}.get(divergence, divergence)
        gradients = (self.gradient(divergence, beta)[0],
                     Pair(self.teacher, self.student).gradient(of_swapped, 1.0 - beta)[0])
        found = SCALE * 2.0**-52 * (self.student.largest_error + self.teacher.largest_error) ** 2
        for rows, gradient in zip((self.student, self.teacher), gradients, strict=True):
            found = found + sum_last(times(rows.errors, abs(gradient)))
        return found

    def moves_of_gradient(self, divergence, beta, scale):
        if divergence == "forward":
            return scale * (self.student.moves + self.teacher.moves)
        both = self.student.moves + self.teacher.moves
        of_student = self.to_mixture(beta)[1] if divergence == "js" else -self.d
        inner = sum_last(product(self.s, (both + times(self.student.moves, abs(of_student))) * SCALE))
        return scale * self.student.moves + self.s * (both + column(inner) * (1 / SCALE))

    # ---- What a loss is measured at

    def sizes(self, divergence, beta):
        """The sum of |p log(p / q)| over the classes, of each divergence that is in this one with its share."""
        if divergence != "js":
            p, hidden = (self.t, self.t_without_s) if divergence == "forward" else (self.s, self.s_without_t)
            size = sum_last(product(p, abs(self.scaled_d)))
            return where(hidden.any(axis=1), np.inf, size)
        log_t_m, log_s_m = self.to_mixture(beta)
        return sum_last(self.t * abs(log_t_m)) * beta + sum_last(self.s * abs(log_s_m)) * (1.0 - beta)


def of_divergence(x, teacher, v, *, divergence="forward", beta=0.5, temperature=1.0, softcap=None, logit_bias=None,
                  teacher_softcap=None, teacher_logit_bias=None):
    """The part of it, with the weights `v` of the rows."""
    pair = Pair(rows_of(x, temperature=temperature, softcap=softcap, logit_bias=logit_bias),
                rows_of(teacher, temperature=temperature, softcap=teacher_softcap, logit_bias=teacher_logit_bias))
    beta = like(pair.s, beta)

    def losses():
        loss = pair.nan({"forward": pair.forward, "reverse": pair.reverse,
                         "js": lambda: pair.js(beta)}[divergence]())
        if not pair.is_rounded:
            return loss, loss
        return loss, where(np.isinf(high(loss)), loss, loss + pair.nan(pair.move(divergence, beta)))

    def gradients():
        gradient, scale = pair.gradient(divergence, beta)
        if pair.is_rounded:
            scale = scale + pair.moves_of_gradient(divergence, beta, scale)
        return pair.nan(pair.student.through(gradient)), pair.nan(pair.student.scale_through(scale))

    total = sum_last(v)
    return Part(losses, gradients, {"mean": total, "batchmean": total},
                lambda: pair.nan(pair.sizes(divergence, beta))).times(v)


def weights_of(x, sample_weight):
    x = x.x if isinstance(x, Logits) else x
    return like(x, np.ones(len(high(x))) if sample_weight is None else sample_weight)


def kl_div_with_logits(x, teacher, *, sample_weight=None, **options):
    return [of_divergence(x, teacher, weights_of(x, sample_weight), **options)]


def distillation_loss(x, teacher, target=None, *, alpha=None, temperature=1.0, scale_by_temperature=True,
                      divergence="forward", beta=0.5, softcap=None, logit_bias=None, teacher_softcap=None,
                      teacher_logit_bias=None, **options):
    alpha = (1.0 if target is None else 0.5) if alpha is None else float(alpha)
    v = weights_of(x, options.get("sample_weight"))
    share, parts = like(v, alpha), []
    if target is not None and np.ndim(high(target)) == 1:
        v = where(is_counted(high(target), options.get("ignore_index", -100)), v, 0.0)
    if alpha > 0:
        t = same_kind(v, temperature)
        part = of_divergence(
            x, teacher, v, temperature=temperature, divergence=divergence, beta=beta, softcap=softcap,
            logit_bias=logit_bias, teacher_softcap=teacher_softcap, teacher_logit_bias=teacher_logit_bias)
        parts.append(part.times(share * t * t if scale_by_temperature else share))
    if alpha < 1:
        parts += [part.times(1.0 - share) for part in cross_entropy(
            x, target, softcap=softcap, logit_bias=logit_bias, **options)]
    return parts
