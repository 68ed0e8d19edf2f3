"""Arrays by integer arithmetic and powers of two: the same on every machine and with every NumPy."""

import copy
from collections import Counter

import numpy as np
from operations import kinds


def integers(shape, seed):
    """Uniform 32-bit integers by the splitmix64 finaliser of a counter."""
    z = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(32)).astype(np.int64).reshape(shape)


def reals(shape, dtype, seed, exponent=4):
    """Multiples of a power of two in +-2^exponent, with all the digits the dtype has room for."""
    digits = 24 if dtype == np.float32 else 53
    high, low = integers(shape, seed), integers(shape, seed + 1)
    signed = (((high << 21) ^ low) & ((1 << digits) - 1)) - (1 << (digits - 1))
    return np.ldexp(signed.astype(dtype), exponent - digits + 1)


def corpus(shape, dtype, seed=7):
    """Ordinary logits, then one row each: confident, equal, offset, masked, all masked, +inf, NaN, extreme."""
    x = reals(shape, dtype, seed)
    if shape[0] >= 9:
        x[1, 0] = 90
        x[2] = 0.5
        x[3] += 2.0**20
        x[4, 1:] = np.where(integers(shape[1:], 3)[1:] % 2, x[4, 1:], -np.inf)
        x[5] = -np.inf
        x[6, -1] = np.inf
        x[7, 0] = np.nan
        x[8, 0], x[8, -1] = np.finfo(dtype).max, np.finfo(dtype).min
    return x


def probabilities(shape, dtype, seed):
    """Multiples of a power of two that need not add to 1."""
    return (integers(shape, seed) % 257 / 512).astype(dtype)


def listed_classes(shape, seed):
    """A few of each row, some of them twice; -1 for the others."""
    classes = integers(shape, seed) % shape[1]
    return np.where(integers(shape, seed + 1) % shape[1] < 12, classes, -1)


def listed_log_probabilities(shape, dtype, seed):
    """Of as many classes as there are, which add up to less than 1: multiples of 1/8."""
    return (-0.75 * shape[1].bit_length() - integers(shape, seed) % 64 / 8).astype(dtype)


class Batch:
    """Rows for every loss, of every bad kind too: x and t are logits, q probabilities, y class indices, g an upstream
    gradient, v and w weights per row and per class, temperature of each row, k listed classes and l
    their log-probabilities."""

    def __init__(self, shape, first, second=None):
        n, c = shape
        second = first if second is None else second
        single = np.float64 if first == np.float64 else np.float32
        with np.errstate(all="ignore"):
            self.x, self.t = corpus(shape, single).astype(first), corpus(shape, single, 77)[::-1].astype(second)
        self.q, self.y = probabilities(shape, second, 41), integers((n,), 11) % c
        self.k, self.l = listed_classes(shape, 53), listed_log_probabilities(shape, second, 59)
        self.v, self.g = abs(reals((n,), single, 19, 1)), reals((n,), single, 13, 1)
        self.w, self.temperature = abs(reals((c,), single, 17, 1)), 0.25 + abs(reals((n,), single, 61, 1))

    def changed(self, change):
        """With `change(name, array)` in place of each array."""
        other = copy.copy(self)
        for name, array in vars(self).items():
            setattr(other, name, change(name, array))
        return other

    def rows(self, rows):
        """Those rows alone."""
        return self.changed(lambda name, array: array if name == "w" else array[rows])

    def arrays(self, form):
        """The arguments of a form; where two are alike, the second is other rows or classes."""
        found = {kinds.CLASS_INDICES: [self.y], kinds.LISTED_CLASSES: [self.k],
                 kinds.LISTED_LOG_PROBABILITIES: [self.l], kinds.LISTED_LOGITS: [self.l],
                 kinds.LOGITS: [self.x, self.t], kinds.LOG_PROBABILITIES: [self.x, self.t],
                 kinds.PROBABILITIES: [self.q], kinds.FRACTIONS: [self.q, self.q[:, ::-1]]}
        seen = Counter()
        arrays = []
        for kind in form.arrays.values():
            arrays.append(found[kind][seen[kind]])
            seen[kind] += 1
        return arrays

    def weights(self, kind):
        return {kinds.PER_CLASS: self.w, kinds.PER_ROW: self.v, kinds.PER_ELEMENT: self.q[:, ::-1],
                kinds.TEMPERATURES: self.temperature}[kind]

    def upstream(self, form):
        return self.t if form.per_element else self.g
