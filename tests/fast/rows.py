"""The softmax of rows of logits, and the coefficients of a loss in its logarithms."""

from functools import cached_property

import numpy as np

from .double_double import DD, SCALE, exp, expm1, high, log1p, maximum, sum_last, where
from .parts import column, like

MASKED = 1e4  # in place of an infinite gap: e^-1e4 is 0 to any dtype, and 0 times it is 0


def widen(x):
    """As the kind whose results are as good as exact: double-double for float64, float64 for the others."""
    return DD(x) if x.dtype == np.float64 else x.astype(np.float64)


def product(a, b):
    """Of two numbers that are SCALE times; either may be too small without half of that."""
    return (a * SCALE**-0.5) * (b * SCALE**-0.5)


def place_of_largest(x):
    """In each row; 0 where there are no classes."""
    return x.argmax(axis=1) if x.size else np.zeros(len(x), np.intp)


class Logits:
    """Rows of logits that several functions take, so that the softmax with the same options is computed once."""

    def __init__(self, x):
        self.x, self._rows = x, {}

    def rows(self, **options):
        key = tuple((name, high(np.asarray(value) if np.isscalar(value) else value).tobytes())
                    for name, value in options.items() if value is not None)
        if key not in self._rows:
            self._rows[key] = Rows(self.x, **options)
        return self._rows[key]


def rows_of(x, **options):
    return x.rows(**options) if isinstance(x, Logits) else Rows(x, **options)


class Rows:
    """The softmax of a batch: z = (softcap tanh(x / softcap) + logit_bias) / T, gap = max z - z, e = e^-gap, tail =
    their sum without one maximum.

    Rows without a distribution, with a NaN or a +inf or nothing but -inf, are `unreadable`, and stand as zeros.
    """

    def __init__(self, x, temperature=1.0, softcap=None, logit_bias=None):
        self.divides_rows = np.ndim(high(temperature)) > 0
        self.is_rounded = self.divides_rows or softcap is not None or logit_bias is not None
        self.given, self.capped, self.softcap, self.bias = x, x, softcap, logit_bias
        if softcap is not None:
            self.capped = x = capped(x, softcap)
        if logit_bias is not None:
            x = x + same_kind(x, logit_bias)[None, :]
        temperature = same_kind(x, temperature)
        self.largest = high(x).max(axis=1, initial=-np.inf)
        self.unreadable = ~np.isfinite(self.largest)
        x = where(column(self.unreadable), 0.0, x)
        self.n, wide = np.arange(len(self.largest)), high(x)
        self.masked, self.first = np.isneginf(wide), place_of_largest(wide)
        self.maximum = x[self.n, self.first]
        # The gap without a temperature: differences of two rows' are exact.
        self.at_1 = where(self.masked, MASKED * max(1.0, np.max(high(temperature), initial=1.0)),
                          column(self.maximum) - where(self.masked, column(self.maximum), x))
        is_1 = not self.divides_rows and high(temperature) == 1
        self.per_temperature = 1.0 if is_1 else like(x, 1.0) / temperature
        self.gap = self.at_1 if is_1 else where(self.masked, MASKED, self.over_temperature(self.at_1))
        self.e = exp(-self.gap)
        self.tail = sum_last(where(self.at(self.first), 0.0, self.e))
        total = self.tail * (1 / SCALE) + 1.0
        self.inverse = like(x, 1.0) / total
        self.log_total = log1p(self.tail * (1 / SCALE))
        # of a tiny tail, whose digits are in the scaled one
        self.scaled_log_total = where(high(self.tail) < SCALE * 2.0**-200, self.tail, self.log_total * SCALE)

    def over_temperature(self, x):
        """Numbers of rows or of their classes."""
        return x * (column(self.per_temperature) if self.divides_rows and high(x).ndim == 2 else self.per_temperature)

    def at(self, classes):
        """A mask of one class of each row."""
        mask = np.zeros(self.masked.shape, bool)
        mask[self.n, classes] = True
        return mask

    @cached_property
    def softmax(self):
        return self.e * column(self.inverse)

    @cached_property
    def one_minus_softmax(self):
        return (SCALE - self.e + column(self.tail)) * column(self.inverse)

    @cached_property
    def mean_gap(self):
        return sum_last(self.e * self.gap) * self.inverse

    def entropy_gradient(self, weight):
        """Of the entropy, T times a weight of each row: (values, the larger of their two terms)."""
        first = self.softmax * self.gap * column(weight)
        second = product(self.softmax, column(self.mean_gap)) * column(weight)
        return first - second, maximum(abs(first), abs(second))

    @property
    def entropy(self):
        return self.mean_gap + self.scaled_log_total

    @property
    def minus_log_softmax(self):
        return where(self.masked, np.inf, self.gap * SCALE + column(self.scaled_log_total))

    @cached_property
    def logsumexp(self):
        return self.over_temperature(self.maximum) * SCALE + self.scaled_log_total

    def readable(self, values, read=True):
        """NaN for the unreadable rows, as far as they are read."""
        bad = self.unreadable & read
        if not bad.any():
            return values
        return where(bad if high(values).ndim == 1 else column(bad), np.nan, values)

    # ---- The rounding of z, in units of 2^-52 over the spacing of results at 1: tests/oracle/rows.py derives it

    @property
    def unit(self):
        return 1.0 if isinstance(self.given, DD) else 2.0**-29

    @cached_property
    def errors(self):
        """Of each z; of masked classes and of unreadable rows 0."""
        if not self.is_rounded:
            return np.zeros(self.masked.shape)
        size, at_1 = np.zeros(self.masked.shape), high(self.maximum)[:, None] - high(self.at_1)
        if self.softcap is not None:
            size += 3.2 * abs(high(self.capped)) + self.softcap * 2.0**-1021
        if self.bias is not None:
            size += abs(at_1) / 2
        size += abs(at_1) / 2 * self.divides_rows
        size = self.unit * size * abs(high(self.over_temperature(like(self.given, np.ones(self.masked.shape)))))
        return np.where(self.masked | self.unreadable[:, None], 0.0, size)

    @cached_property
    def largest_error(self):
        """Of the classes whose probability is not 0 in float64."""
        return np.where(high(self.gap) <= 745, self.errors, 0.0).max(axis=1, initial=0.0)

    @property
    def moves(self):
        return self.errors + self.largest_error[:, None]

    @property
    def move_of_entropy(self):
        """By its gradient, p (-log p - H)."""
        size = where(self.masked, 0.0, self.minus_log_softmax) + column(self.entropy)
        return sum_last(self.errors * product(self.softmax, size))

    def moves_of_entropy_gradient(self, weight):
        """Of p (log p + H), beside those of p: log p may move by `moves`, which are parts of 1, and H as above."""
        move = self.moves * SCALE + column(self.move_of_entropy)
        return product(self.softmax, move) * column(abs(weight)) if self.is_rounded else 0.0

    # ---- From gradients of z to those of x

    def through(self, gradients):
        if self.softcap is not None:
            gradients = where(high(gradients) == 0, 0.0, product(gradients, slope(self.given, self.softcap)))
        return self.over_temperature(gradients)

    def scale_through(self, scales):
        found = self.through(scales) * (1.0 + self.unit * 0.5 * self.divides_rows)
        if self.softcap is None:
            return found
        return found * (1.0 + self.unit * 4.0) + self.over_temperature(scales) * (self.unit * 2.0**-1022)


def same_kind(x, numbers):
    """A float64 array or a number as the kind of x."""
    return like(x, numbers) if isinstance(x, DD) else np.asarray(high(numbers), np.float64)


def share_of(x, softcap):
    """|x| / softcap, up to a thousand."""
    size = where(high(abs(x)) < softcap * 1e3, abs(x), softcap * 1e3)
    return where(np.isnan(high(x)), np.nan, size / like(x, softcap))


def capped(x, softcap):
    e = expm1(share_of(x, softcap) * -2.0)
    size = (-e / (e + 2.0)) * like(x, softcap)
    return where(np.isnan(high(x)), np.nan, where(high(x) < 0, -size, size))


def slope(x, softcap):
    """1 - tanh^2, SCALE times: 4 e / (1 + e)^2 with e = exp(-2 |x| / softcap)."""
    e = exp(share_of(x, softcap) * -2.0)
    one = e * (1 / SCALE) + 1.0
    found = e * 4.0 / (one * one)
    return where(np.isinf(high(x)), 0.0, found)


def is_counted(target, ignore_index):
    return np.full(target.shape, ignore_index is None) | (target != ignore_index)


class Coefficients:
    """Those of -log p in a loss, of each row: `of_target` of the class `y` alone if there is no other, else `b` of all
    classes, with `total` = A and `others` = A - b; `z`, that of logsumexp squared; `entropy`, that of minus
    the entropy. `v`: the weight of each row, 0 where it is ignored; `denominator`: that of the mean."""

    def __init__(self, x, target, *, weight=None, ignore_index=-100, label_smoothing=0.0, sample_weight=None,
                 z_loss=0.0, entropy_weight=0.0):
        n, c = high(x).shape
        one = like(x, 1.0)
        w = like(x, np.ones(c) if weight is None else weight)
        self.v = like(x, np.ones(n) if sample_weight is None else sample_weight)
        self.b, e = None, like(x, label_smoothing)
        self.of_rows = high(target).ndim == 2
        if self.of_rows:
            target = target if label_smoothing == 0 else target * (one - e) + e / like(x, max(c, 1))
            self.b = column(self.v) * (w[None, :] * target)
            self.counted, self.denominator = np.ones(n, bool), sum_last(self.v)
        else:
            target = high(target).ravel()
            self.counted = is_counted(target, ignore_index)
            self.y = np.where(self.counted, target, target.dtype.type(0)).astype(np.int64) if c else np.arange(n)
            self.v = where(self.counted, self.v, 0.0)
            of_y = self.v * w[self.y] if c else self.v
            self.of_target, self.denominator = of_y * (one - e), sum_last(of_y)
            if label_smoothing != 0:
                self.b = column(self.v * (e / like(x, max(c, 1)))) * w[None, :]
                self.b = where(np.arange(c) == self.y[:, None], self.b + column(self.of_target), self.b)
        self.z, self.entropy = self.v * like(x, z_loss), self.v * like(x, entropy_weight)
        if self.b is not None:
            self._sum_up()

    def _sum_up(self):
        """A difference would lose what is left without the largest of them."""
        largest = np.arange(high(self.b).shape[1]) == place_of_largest(high(abs(self.b)))[:, None]
        rest = sum_last(where(largest, 0.0, self.b))
        self.total = sum_last(where(largest, self.b, 0.0)) + rest
        self.others = where(largest, column(rest), column(self.total) - self.b)

    @property
    def read(self):
        """Whether a coefficient of a row is not 0."""
        any_b = high(self.of_target) != 0 if self.b is None else (high(self.b) != 0).any(axis=1)
        return any_b | (high(self.z) != 0) | (high(self.entropy) != 0)
