"""Rows of logits: what is given, x, becomes z = (softcap tanh(x / softcap) + logit_bias) / temperature, exactly.

With a softcap, a bias or a temperature of each row the library computes z in float64 and rounds it. Results are those
of logits that are a little off, by at most `eps` 2^-52 each, where eps is the sum of

    3.2 |s|     s = softcap tanh(x / softcap) = c (-e / (2 + e)), e = expm1(-2 |x| / c). In units of 2^-53: the quotient
                |x| / c 1, which tanh does not enlarge; e 1 ULP, at most 2 / (1 - |e| / 2) of the result or 2.67, at e =
                -1/2; the sum 2 + e there 0.67, the quotient 1, the product 1: 6.34. Where |x| / c is subnormal,
                c 2^-1073 more.
    |s + b| / 2 the sum with a bias
    |z| / 2     the division by the temperature of a row; that of all rows is known to twice the digits

over the temperature. A bound of a result without these options grows by what that moves the result: `moves`. So what
errors are measured at is larger by as many units of 2^-52, which a float32 result does not see: there is one rule for
all dtypes.
"""

from functools import cached_property

import mpmath
import numpy as np
from mpmath import mp, mpf

ZERO, EPS = mpf(0), mpf(2) ** -52
CAPPED = mpf("3.2")
NEAR = 745  # e^-745 is less than any number of float64
# Of 2^-52: 1 - tanh^2 = (e / (1 + e)) (4 / (1 + e)), e = exp(-2 |x| / c) with 1 ULP and two sums, two quotients, the
# product with 1/2 each, and half a unit for its product with a gradient.
SLOPE = 4
LEAST_SLOPE = mpf(2) ** -1022  # below it, the slope has an error of 4 times the least number and is multiplied as it is


def dot(coefficient, value):
    """coefficient * value with 0 * inf = 0."""
    return coefficient * value if coefficient else ZERO


def exact(array):
    """The object array of the same shape that holds `array` exactly."""
    array = np.asarray(array)
    out = np.empty(array.shape, dtype=object)
    for position in np.ndindex(array.shape):
        out[position] = mpf(float(array[position]))
    return out


def of_row(i, temperature=1.0, **options):
    """The options of row i."""
    return {"temperature": float(temperature[i]) if np.ndim(temperature) else temperature,
            "divides_rows": bool(np.ndim(temperature)), **options}


def is_rounded(temperature=1.0, softcap=None, logit_bias=None, divides_rows=False, **_others):
    """Whether logits are, with these options."""
    return softcap is not None or logit_bias is not None or divides_rows or np.ndim(temperature) > 0


class Row:
    """One row of logits z: finite or -inf entries, at least one of them finite.

    Equal logits are computed once, so a constant tail of any length costs one exponential.
    """

    def __init__(self, x, temperature=1.0, softcap=None, logit_bias=None, divides_rows=False):
        # float64 holds every entry of the other dtypes exactly.
        self.given, self.t = np.asarray(x).astype(np.float64), mpf(float(temperature))
        self.unit = mpf(1) if np.asarray(x).dtype in (np.float64, int) else mpf(2) ** -29
        self.softcap = None if softcap is None else mpf(float(softcap))
        self.bias, self.divides_rows = logit_bias, divides_rows
        self.is_rounded = is_rounded(softcap=softcap, logit_bias=logit_bias, divides_rows=divides_rows)
        pairs = np.stack([self.given, np.zeros(len(self.given)) if logit_bias is None else logit_bias])
        pairs, inverse, counts = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
        capped = [self._capped(v) for v in pairs[0].tolist()]
        logits = [s + mpf(b) for s, b in zip(capped, pairs[1].tolist(), strict=True)]
        order = sorted(range(len(logits)), key=logits.__getitem__)
        self.inverse = np.argsort(order)[inverse.ravel()]
        counts, self.capped = [int(counts[k]) for k in order], [capped[k] for k in order]
        top = logits[order[-1]]
        self.maximum = top / self.t
        self.gap = [(top - logits[k]) / self.t for k in order]  # max z - z_c >= 0
        self.e = [mp.exp(-gap) for gap in self.gap]
        self.tail = mp.fsum(n * e for n, e in zip(counts[:-1], self.e[:-1], strict=True)) + (counts[-1] - 1)
        self.total = 1 + self.tail
        self.log_total = mpmath.log1p(self.tail)

    def _capped(self, x):
        if self.softcap is None:
            return mpf(x)
        return self.softcap * (mp.tanh(mpf(x) / self.softcap) if np.isfinite(x) else mpf(np.sign(x)))

    def expand(self, distinct):
        """(C,) object array from one number per distinct logit."""
        column = np.empty(len(distinct), dtype=object)
        column[:] = distinct
        return column[self.inverse]

    def softmax(self):
        return self.expand([e / self.total for e in self.e])

    def one_minus_softmax(self):
        return self.expand([(self.total - e) / self.total for e in self.e[:-1]] + [self.tail / self.total])

    def log_softmax(self):
        return self.expand([-(gap + self.log_total) for gap in self.gap])

    def logsumexp(self):
        return self.maximum + self.log_total

    def mean_gap(self):
        """sum_c p_c gap_c: the entropy without log_total."""
        return mp.fsum(dot(p, gap) for p, gap in zip(self.softmax(), self.expand(self.gap), strict=True))

    def entropy(self):
        return self.mean_gap() + self.log_total

    def entropy_gradient(self):
        """((C,) derivatives of the entropy in z, the larger of their two terms): p_c (log p_c + H), in which the
        logarithms of the total cancel."""
        mean, gaps = self.mean_gap(), self.expand(self.gap)
        pairs = [(dot(p, gap), p * mean) for p, gap in zip(self.softmax(), gaps, strict=True)]
        return [a - b for a, b in pairs], [max(pair) for pair in pairs]

    # ---- The rounding of z

    @cached_property
    def _errors(self):
        """Of each distinct z, in units of 2^-52, over the spacing of the arithmetic at 1; of masked classes 0."""
        return [self.unit * self._error(s, self.maximum - gap) if mp.isfinite(gap) else ZERO
                for s, gap in zip(self.capped, self.gap, strict=True)]

    def _error(self, s, z):
        size = ZERO
        if self.softcap is not None:
            size += CAPPED * abs(s) + self.softcap * mpf(2) ** -1021
        if self.bias is not None:
            size += abs(z * self.t) / 2
        return size / self.t + (abs(z) / 2 if self.divides_rows else 0)

    def errors(self):
        return self.expand(self._errors)

    @cached_property
    def largest_error(self):
        """Of the classes whose probability is not 0 in float64."""
        return max(e for e, gap in zip(self._errors, self.gap, strict=True) if gap <= NEAR)

    def moves(self):
        """(C,) by how many parts of 2^-52 p, 1 - p and log p of each class may move."""
        return self.expand([e + self.largest_error for e in self._errors])

    def move_of_entropy(self):
        """By its gradient, p (-log p - H)."""
        entropy = self.entropy()
        return mp.fsum(dot(dot(e, p), abs(log_p) + entropy) for e, p, log_p in zip(
            self.errors(), self.softmax(), self.log_softmax(), strict=True))

    def moves_of_entropy_gradient(self, weight):
        """(C,) those of p (log p + H), beside those of p: log p may move by `moves`, and H as above."""
        return self.softmax() * (self.moves() + self.move_of_entropy()) * weight

    # ---- From gradients of z to those of x

    def through(self, gradients):
        """Times dz / dx."""
        if self.softcap is not None:
            slopes = [1 / mp.cosh(mpf(v) / self.softcap) ** 2 if np.isfinite(v) else ZERO for v in self.given.tolist()]
            gradients = gradients * np.array(slopes, dtype=object)
        return gradients if self.t == 1 else gradients / self.t

    def scale_through(self, scales):
        """The same of what gradients are measured at, with the roundings on the way."""
        found = self.through(scales)
        if not self.is_rounded:
            return found
        found = found * (1 + self.unit * mpf(self.divides_rows) / 2)
        if self.softcap is None:
            return found
        return found * (1 + self.unit * SLOPE) + scales * (self.unit * LEAST_SLOPE / self.t)
