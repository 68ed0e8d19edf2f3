"""The divergence from a teacher that is known of some classes of each row: oracle/sparse.py has the derivation."""

from functools import cache, cached_property

import numpy as np

from .divergences import weights_of
from .double_double import DD, SCALE, exp, expm1, high, log, log1p, maximum, phi, sum_last, where
from .parts import Part, column, like, times
from .rows import MASKED, rows_of


def stacked(x, last):
    """The columns of x, and one more."""
    if not isinstance(x, DD):
        return np.column_stack([x, last])
    return DD(np.column_stack([x.hi, last.hi]), np.column_stack([x.lo, last.lo]))


def arrays(x):
    return (x.hi, x.lo) if isinstance(x, DD) else (x,)


def divergence_terms(p, q, log_ratio):
    """What each class adds to KL(p || q), never negative: p log(p / q) - p + q."""
    size = abs(log_ratio)
    falls, rises = phi(size, expm1(-size))
    return where(high(log_ratio) > 0, p * rises, q * falls)


class Sparse:
    """The listed classes of each row, an entry for each that is listed the first time, and one more for all others:
    `p` and `others` (what the other entries have) of the teacher, `q` and `not_q` of the student, SCALE times; d =
    log(p / q)."""

    def __init__(self, x, classes, values, values_are, tail, temperature, logsumexp):
        self.rows = rows_of(x, temperature=temperature)
        softmax, self.c = self.rows.softmax, self.rows.masked.shape[1]
        self.classes, self.tail = classes.astype(np.int64), tail
        p, self.own = self._listed(self._weights(values, values_are, temperature, logsumexp))
        self.is_listed = np.zeros(self.rows.masked.shape, bool)
        i, k = np.nonzero(self.own)
        self.is_listed[i, self.classes[i, k]] = True
        self.count = self.c - self.is_listed.sum(axis=1)
        total = sum_last(p)
        divides = values_are == "weights" or (values_are == "logits" and logsumexp is None) or tail == "renormalize"
        self.says_nothing = (high(total) == 0) & (divides or tail == "zero")
        rest = 1.0 - total
        divided = np.full(len(self.count), divides) | (((high(rest) <= 0) | (self.count == 0)) & (tail != "zero"))
        positive = where(high(total) == 0, 1.0, total)
        p = where(column(divided), p / column(positive), p)
        rest = where(divided, 0.0, rest)
        self.lacking = rest if tail == "zero" else rest * 0.0
        self.rest = rest * 0.0 if tail == "zero" else rest
        at = np.where(self.own, self.classes, 0)
        take = lambda array: where(self.own, array[self.rows.n[:, None], at], 0.0)
        self.rho, listed = (sum_last(where(mask, softmax, 0.0)) for mask in (~self.is_listed, self.is_listed))
        self.p, self.q = stacked(p, self.rest), stacked(take(softmax), self.rho)
        self.not_q = stacked(take(self.rows.one_minus_softmax), listed)
        masked = self.rows.masked[self.rows.n[:, None], at] | ~self.own
        self.hidden = np.column_stack([masked, high(self.rho) == 0])
        self.d = self._log_ratio(take(self.rows.gap * SCALE + column(self.rows.scaled_log_total)), listed)

    def _weights(self, values, values_are, temperature, logsumexp):
        listed = self.classes >= 0
        if values_are in ("probs", "weights"):
            return where(listed, values, 0.0)
        values = where(listed, values, -np.inf)
        if values_are == "logits" and logsumexp is None:  # which are divided by their sum
            top = high(values).max(axis=1, keepdims=True, initial=-np.inf)
            values = values - np.where(np.isfinite(top), top, 0.0)
        values = values * (like(values, 1.0) / like(values, temperature))
        if logsumexp is not None:
            logsumexp = like(values, logsumexp)
            values = values - (column(logsumexp) if np.ndim(high(logsumexp)) else logsumexp)
        return where(listed & (high(values) > -np.inf), exp(values) * (1 / SCALE), 0.0)

    def _listed(self, weights):
        """(the weights added up at the first place of each class, a mask of these places)"""
        (n, k), listed = self.classes.shape, self.classes >= 0
        i, place = self.rows.n[:, None], np.zeros((n, self.c + 1), np.intp)
        place[i, self.classes[:, ::-1]] = np.arange(k)[::-1]  # of equal classes the first place is written last
        first = place[i, self.classes]
        own = listed & (first == np.arange(k))
        p, again = where(own, weights, 0.0), listed & ~own
        for column_ in np.flatnonzero(again.any(axis=0)):
            rows = np.flatnonzero(again[:, column_])
            at = rows, first[rows, column_]
            for old, new in zip(arrays(p), arrays(p[at] + weights[rows, column_]), strict=True):
                old[at] = new
        return p, own

    def _log_ratio(self, minus_log_q, listed):
        largest = np.arange(high(self.p).shape[1]) == high(self.p).argmax(axis=1)[:, None]
        without = sum_last(where(largest, 0.0, self.p))
        self.others = where(largest, column(without), column(without + sum_last(where(largest, self.p, 0.0))) - self.p)
        near_1 = high(self.p) > 0.5
        log_p = where(near_1, log1p(where(near_1, -(self.others + column(self.lacking)), 0.0)),
                      log(where(near_1 | (high(self.p) == 0), 1.0, self.p)))
        rho, small = self.rho * (1 / SCALE), high(self.rho) < SCALE / 2
        log_rho = where(small, log(where(high(rho) == 0, 1.0, rho)), log1p(where(small, 0.0, -listed * (1 / SCALE))))
        self.log_rho = log_rho
        d = log_p - stacked(-minus_log_q * (1 / SCALE), log_rho)
        nothing = high(self.p) == 0
        return where(nothing & self.hidden, 0.0, where(self.hidden, MASKED, where(nothing, -MASKED, d)))

    # ---- The two kinds of divergences: (loss, its size, values, scales) of the entries

    def forward(self):
        p = self.p * SCALE
        size = sum_last(abs(p * self.d))
        loss = sum_last(p * self.d if self.tail == "zero" else divergence_terms(p, self.q, self.d))
        infinite = (self.hidden & (high(self.p) > 0)).any(axis=1)
        first, second = self.others * self.q, self.p * self.not_q
        return (where(infinite, np.inf, loss), where(infinite, np.inf, size), first - second, maximum(first, second))

    def mixed(self, divergence):
        js, p, q = divergence == "js", self.p * SCALE, self.q
        if js:
            m, rises = (p + q) * 0.5, high(self.d) > 0
            nearer = -log1p(expm1(-abs(self.d)) * 0.5)
            of_p, own = where(rises, nearer, self.d + nearer), where(rises, nearer - self.d, nearer)
            inner, other = sum_last(divergence_terms(q, m, own)), sum_last(divergence_terms(p, m, of_p))
            loss, factor = (inner + other) * 0.5, 0.5
            size = sum_last(abs(q * own))
            sizes = (size + sum_last(abs(p * of_p))) * 0.5
        else:
            own, factor = -self.d, 1.0
            loss = inner = sum_last(divergence_terms(q, p, own))
            size = sizes = sum_last(abs(q * own))
        inner, size = inner * (1 / SCALE), size * (1 / SCALE)
        values = q * (own - column(inner)) * factor
        scales = q * maximum(maximum(abs(own), column(size)), self._least()) * factor
        certain = (high(self.p) == 0) & ~self.hidden
        infinite = certain.any(axis=1)
        if not js and infinite.any():
            of_infinite = np.where(certain, np.nan, np.where(self.hidden, 0.0, -np.inf))
            values = where(column(infinite), of_infinite, values)
            loss, sizes = where(infinite, np.inf, loss), where(infinite, np.inf, sizes)
        return loss, sizes, values, scales

    def _least(self):
        """How the sum of the others moves the logarithms of the entries."""
        places = high(self.p).shape[1]
        rest = np.arange(places) == places - 1
        return where(rest, self.not_q, column(self.rho)) * (1 / SCALE)

    # ---- All classes

    def spread(self, entries):
        """(N, C) from one of each entry; those of the rest by the shares in it."""
        rho = where(high(self.rho) == 0, SCALE, self.rho)
        found = times(self.rows.softmax / column(rho), column(entries[:, -1]))
        i, k = np.nonzero(self.own)
        place = i, self.classes[i, k]
        for of_class, of_entry in zip(arrays(found), arrays(entries), strict=True):
            of_class[place] = of_entry[i, k]
        return found

    @cached_property
    def uniform(self):
        """(what the rest adds to the loss, how large its largest term is, entries and scales of its classes)"""
        n = like(self.rest, np.maximum(self.count, 1).astype(np.float64))
        minus_log_q = self.rows.minus_log_softmax + column(self.log_rho * SCALE)
        mean = sum_last(where(self.is_listed, 0.0, minus_log_q)) / n
        b = self.rest / n
        not_b = (n - 1.0 + self.others[:, -1]) / n  # 1 - b, where the rest is nearly all
        first = self.rows.softmax * column(not_b)
        second = self.rows.one_minus_softmax * column(b)
        return (times(self.rest, mean - log(n) * SCALE), times(self.rest, mean), first - second,
                maximum(first, second))


def sparse_distillation_loss(x, classes, values, *, values_are="log_probs", tail="bucket", divergence="forward",
                             temperature=1.0, teacher_logsumexp=None, scale_by_temperature=False, sample_weight=None):
    s = Sparse(x, classes, values, values_are, tail, temperature, teacher_logsumexp)
    v = weights_of(x, sample_weight)

    @cache
    def entries():
        return s.forward() if divergence == "forward" else s.mixed(divergence)

    def of_rows(loss):
        return where(s.says_nothing, 0.0, s.rows.readable(loss))

    def losses():
        loss, size, values, _ = entries()
        scale = maximum(abs(loss), abs(values[:, -1]))
        if tail == "zero":
            scale = maximum(scale, size)
        if tail == "uniform":
            more, largest, *_ = s.uniform
            counts = high(s.rest) > 0
            loss, scale = where(counts, loss + more, loss), where(counts, maximum(scale, largest), scale)
        return of_rows(loss), of_rows(scale)

    def gradients():
        found = tuple(map(s.spread, entries()[2:]))
        if tail == "uniform":
            in_rest = ~s.is_listed & (high(s.rest) > 0)[:, None]
            found = tuple(where(in_rest, of_class, other)
                          for of_class, other in zip(s.uniform[2:], found, strict=True))
        bad = s.says_nothing[:, None]
        return tuple(where(bad, 0.0, s.rows.readable(part * s.rows.per_temperature)) for part in found)

    t = like(v, temperature)
    factor = v * t * t if scale_by_temperature else v
    return [Part(losses, gradients, {"mean": sum_last(v)}, lambda: of_rows(entries()[1])).times(factor)]
