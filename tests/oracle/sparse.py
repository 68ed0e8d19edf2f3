"""Exact references of the divergence from a teacher that is known of some classes of each row alone."""

import mpmath
import numpy as np
from mpmath import mp, mpf

from oracle import ZERO, Row, dot, exact
from oracle.divergence import log, log_ratio, to_mixture, unreadable

TAILS = ("bucket", "zero", "renormalize", "uniform")


def probabilities(classes, values, values_are, temperature, logsumexp):
    """{class: probability} of the classes that are listed, and whether they are to be divided by their sum."""
    t = mpf(float(temperature))
    found = {}
    for c, v in zip(classes, exact(values), strict=True):
        if c >= 0:
            w = v if values_are in ("probs", "weights") else mp.exp(v / t - (logsumexp or 0))
            found[int(c)] = found.get(int(c), ZERO) + w
    return found, values_are == "weights" or (values_are == "logits" and logsumexp is None)


class SparseRow:
    """The distributions of one row: `p`, {class: probability} of the listed ones, their sum `total`, and `rest`."""

    def __init__(self, x, classes, values, *, values_are="log_probs", tail="bucket", temperature=1.0, logsumexp=None):
        self.row, self.t = Row(x, temperature), mpf(float(temperature))
        self.q, self.log_q = self.row.softmax(), self.row.log_softmax()
        self.p, divides = probabilities(classes, values, values_are, temperature, logsumexp)
        self.others = [c for c in range(len(x)) if c not in self.p]
        self.total = mp.fsum(self.p.values())
        self.rest = 1 - self.total
        self.says_nothing = not self.total and (divides or tail in ("renormalize", "zero"))
        has_no_rest = self.rest <= 0 or not self.others
        if divides or tail == "renormalize" or (has_no_rest and tail != "zero"):
            self.p = {c: w / self.total for c, w in self.p.items()} if self.total else {}
            self.total, self.rest = mpf(1), ZERO
        self.lacking, self.sum = ZERO, mpf(1)  # of p to 1, where that is not the rest
        if tail == "zero":
            self.lacking, self.sum, self.rest = 1 - self.total, self.total, ZERO
        self.rho = mp.fsum(self.q[c] for c in self.others) if self.p else mpf(1)
        listed = mp.fsum(self.q[c] for c in self.p)
        self.log_rho = log(self.rho) if self.rho < 0.5 else mpmath.log1p(-listed)

    def categories(self):
        """(p, q, log p - log q) of the listed classes, then of the rest."""
        pairs = [(w, self.q[c], log(w), self.log_q[c]) for c, w in self.p.items()]
        pairs.append((self.rest, self.rho, log(self.rest), self.log_rho))
        return [(p, q, log_ratio(log_p, log_q)) for p, q, log_p, log_q in pairs]

    def uniform(self):
        """(divergence of a uniform rest from the student's, what its largest term is)."""
        n = len(self.others)
        terms = [-self.log_q[c] + self.log_rho for c in self.others]
        return mp.fsum(terms) / n - mp.log(n), mp.fsum(terms) / n

    def entries(self, values, rest):
        """(C,) numbers from one of each listed class, and that of the rest by the shares in it."""
        out = np.empty(len(self.q), dtype=object)
        for c, v in zip(self.p, values, strict=True):
            out[c] = v
        for c in self.others:
            out[c] = dot(self.q[c] / self.rho, rest) if self.rho else ZERO
        return out


def sparse_row(x, classes, values, *, divergence="forward", tail="bucket", **options):
    """(loss, its scale, gradient, its scale) of one row, the gradient with respect to `x`.

    The sum over the rest is one of rounded exponentials. A relative error of it moves the loss by that error times the
    derivative in its logarithm, which is the sum of the gradient over the rest: the loss is measured at the larger of
    both. It moves the logarithms of the student's probabilities too, at which the other gradients than the forward one
    are measured. Where terms have both signs, with the tails "zero" and "uniform", the loss is measured at these.
    """
    if unreadable(x):
        nan = np.full(len(x), mp.nan, dtype=object)
        return mp.nan, mp.nan, nan, nan
    row = SparseRow(x, classes, values, tail=tail, **options)
    if row.says_nothing:
        zeros = np.full(len(x), ZERO, dtype=object)
        return ZERO, ZERO, zeros, zeros
    found = row.categories()
    if divergence == "forward":
        terms = [dot(p, d) - p + q if p else q for p, q, d in found]
        loss = mp.fsum(terms) - row.lacking
        size = mp.fsum(abs(dot(p, d)) for p, _, d in found) if tail == "zero" else ZERO
        first, second = ([f(p, q) / row.t for p, q, _ in found] for f in (
            lambda p, q: abs(row.sum - p) * q, lambda p, q: p * (1 - q)))
        gradient = [(row.sum * q - p) / row.t for p, q, _ in found]
        scale = [max(a, b) for a, b in zip(first, second, strict=True)]
    else:
        share, factor = (mpf(1), mpf(1)) if divergence == "reverse" else (mpf("0.5"), mpf("0.5"))
        own = [-d if divergence == "reverse" else to_mixture(d, share) for _, _, d in found]
        inner = mp.fsum(dot(q, v) for (_, q, _), v in zip(found, own, strict=True))
        loss = inner
        if divergence == "js":
            loss = (inner + mp.fsum(dot(p, to_mixture(-d, share)) for p, _, d in found)) / 2
        size = mp.fsum(dot(q, abs(v)) for (_, q, _), v in zip(found, own, strict=True))
        gradient = [factor * dot(q, v - inner) / row.t for (_, q, _), v in zip(found, own, strict=True)]
        least = [row.rho] * len(row.p) + [1 - row.rho]  # how the sum of the rest moves their logarithms
        scale = [factor * dot(q, max(abs(v), size, a)) / row.t
                 for (_, q, _), v, a in zip(found, own, least, strict=True)]
        size = ZERO
    loss_scale = max(abs(loss), size, abs(gradient[-1]) * row.t)
    entries, scales = row.entries(gradient[:-1], gradient[-1]), row.entries(scale[:-1], scale[-1])
    if tail == "uniform" and row.rest:
        more, largest = row.uniform()
        loss, loss_scale = loss + row.rest * more, max(loss_scale, row.rest * largest)
        b = row.rest / len(row.others)
        for c in row.others:
            entries[c] = (row.q[c] - b) / row.t
            scales[c] = max((1 - b) * row.q[c], b * (1 - row.q[c])) / row.t
    return loss, loss_scale, entries, scales


def sizes_of_terms(x, classes, values, *, divergence="forward", tail="bucket", **options):
    """The sum of |p log(p / q)| over the classes, of the divergences that are in this one."""
    row, half = SparseRow(x, classes, values, tail=tail, **options), mpf(0.5)
    mixed = {"forward": lambda p, q, d: dot(p, abs(d)), "reverse": lambda p, q, d: dot(q, abs(d)),
             "js": lambda p, q, d: (dot(q, abs(to_mixture(d, half))) + dot(p, abs(to_mixture(-d, half)))) / 2}
    return mp.fsum(mixed[divergence](*category) for category in row.categories()) if row.p else ZERO


def sparse_rows(logits, classes, values, counted=None, teacher_logsumexp=None, **options):
    """(losses, their scales, gradients, their scales) of the rows; those that do not count are 0 and never read."""
    n, c = logits.shape
    losses, loss_scales = np.full(n, ZERO, dtype=object), np.full(n, ZERO, dtype=object)
    gradients, scales = np.full((n, c), ZERO, dtype=object), np.full((n, c), ZERO, dtype=object)
    for i in range(n):
        if counted is None or counted[i]:
            of_row = None if teacher_logsumexp is None else mpf(float(np.broadcast_to(teacher_logsumexp, n)[i]))
            losses[i], loss_scales[i], gradients[i], scales[i] = sparse_row(
                logits[i], classes[i], values[i], logsumexp=of_row, **options)
    return losses, loss_scales, gradients, scales
