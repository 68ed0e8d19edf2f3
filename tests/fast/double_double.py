"""Double-double arithmetic on NumPy arrays: a number is an unevaluated sum hi + lo, about 100 bits.

Float64 results are checked in it. Float32 results need plain float64 arrays, and the functions below take either kind,
so that each formula is written once. tests/oracle/test_fast.py compares all of it with mpmath.

Products are split after Dekker, sums after Knuth; no FMA is needed. Finite operands stay below 2^990 and, where they
carry digits, above 2^-900, so that nothing overflows in a split and no low part is subnormal: quantities that may be
smaller are carried times SCALE. Infinities and NaN are those of the high parts.
"""

from math import frexp

import numpy as np

SCALE = 2.0**256


class DD:
    """hi + lo with |lo| <= ulp(hi) / 2, two arrays of one shape."""

    __slots__ = ("hi", "lo")
    __array_ufunc__ = None  # array - DD is DD.__rsub__, not an array of objects

    def __init__(self, hi, lo=None):
        self.hi = hi
        self.lo = np.zeros_like(hi) if lo is None else lo

    def __getitem__(self, index):
        return DD(self.hi[index], self.lo[index])

    def ravel(self):
        return DD(self.hi.ravel(), self.lo.ravel())

    def __neg__(self):
        return DD(-self.hi, -self.lo)

    def __abs__(self):
        negative = self.hi < 0
        return DD(np.abs(self.hi), np.where(negative, -self.lo, self.lo))

    def __add__(self, other):
        if isinstance(other, DD):
            s, e = two_sum(self.hi, other.hi)
            t, f = two_sum(self.lo, other.lo)
            r, e = fast_two_sum(s, e + t)
            return normal(s, *fast_two_sum(r, e + f))
        s, e = two_sum(self.hi, other)
        return normal(s, *fast_two_sum(s, e + self.lo))

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, other):
        if isinstance(other, DD):
            p, e = two_product(self.hi, other.hi)
            return normal(p, *fast_two_sum(p, e + (self.hi * other.lo + self.lo * other.hi)))
        if isinstance(other, float) and frexp(other)[0] == 0.5:  # a power of two
            return DD(self.hi * other, self.lo * other)
        p, e = two_product(self.hi, other)
        return normal(p, *fast_two_sum(p, e + self.lo * other))

    def __truediv__(self, other):
        other = other if isinstance(other, DD) else DD(np.asarray(other, np.float64))
        first = self.hi / other.hi
        rest = self - other * first
        second = rest.hi / other.hi
        rest = rest - other * second
        near = DD(*fast_two_sum(first, second)) + rest.hi / other.hi
        return where(np.isfinite(near.hi), near, first)

    __radd__, __rmul__ = __add__, __mul__


def normal(rounded, hi, lo):
    """hi + lo, or the rounded result where that is infinite or NaN."""
    finite = np.isfinite(lo)
    return DD(hi, lo) if finite.all() else DD(np.where(finite, hi, rounded), np.where(finite, lo, 0.0))


def two_sum(a, b):
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a, b):
    """For |a| >= |b|."""
    s = a + b
    return s, b - (s - a)


def split(a):
    """Two halves of 26 bits."""
    t = 134217729.0 * a
    high = t - (t - a)
    return high, a - high


def two_product(a, b):
    p = a * b
    (ah, al), (bh, bl) = split(a), split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


# ---- What takes either kind ------------------------------------------------------------------------------------------


def where(condition, a, b):
    if isinstance(a, DD) or isinstance(b, DD):
        (a_hi, a_lo), (b_hi, b_lo) = parts(a), parts(b)
        return DD(np.where(condition, a_hi, b_hi), np.where(condition, a_lo, b_lo))
    return np.where(condition, a, b)


def parts(x):
    return (x.hi, x.lo) if isinstance(x, DD) else (x, 0.0)


def high(x):
    """The nearest float64."""
    return x.hi if isinstance(x, DD) else x


def maximum(a, b):
    """Of numbers >= 0, by their high parts: as a scale either of two that differ in the low part will do."""
    return where(high(a) >= high(b), a, b)


def sum_last(x):
    """Over the last axis, which is dropped."""
    if not isinstance(x, DD):
        return x.sum(axis=-1)
    finite = np.isfinite(x.hi)
    if not finite.all():
        return where(finite.all(axis=-1), sum_last(where(finite, x, 0.0)), x.hi.sum(axis=-1))
    hi, lo = x.hi, x.lo
    rest = DD(np.zeros(hi.shape[:-1]))
    while hi.shape[-1] > 1:
        half, odd = divmod(hi.shape[-1], 2)
        if odd:
            rest = rest + DD(hi[..., -1], lo[..., -1])
        s, e = two_sum(hi[..., :half], hi[..., half:2 * half])
        hi, lo = fast_two_sum(s, e + (lo[..., :half] + lo[..., half:2 * half]))
    return rest + DD(hi[..., 0], lo[..., 0])


def exp(x):
    """SCALE e^x for x up to 300. Finite x below -860 give e^-860, 2^-1240, which counts nowhere (float64: 0)."""
    return where(x.hi == -np.inf, 0.0, exponential(x)[0]) if isinstance(x, DD) else np.exp(x) * SCALE


def expm1(x):
    """e^x - 1 for x up to 300, with the relative accuracy of the kind also near 0."""
    if not isinstance(x, DD):
        return np.expm1(x)
    value, small, is_small = exponential(x)
    return where(is_small, small, value * (1 / SCALE) - 1.0)


def log1p(x):
    """One Newton step for log1p(x) = y + log1p((x - expm1(y)) / e^y), from the float64 y; x > -1."""
    if not isinstance(x, DD):
        return np.log1p(x)
    y = np.log1p(x.hi)
    e = expm1(DD(y))
    delta = high(x - e) / (1.0 + e.hi)  # 2^-52 of y: float64 is enough for it
    return normal(y, *fast_two_sum(y, delta - 0.5 * delta * delta))


def log(x):
    """Of x >= 0: x = m 2^k with m about 1."""
    with np.errstate(divide="ignore"):
        rounded = np.log(high(x))
    if not isinstance(x, DD):
        return rounded
    special = ~np.isfinite(rounded)
    x = where(special, 1.0, x)
    m, k = np.frexp(x.hi)
    low = m < np.sqrt(0.5)
    k = np.where(low, k - 1, k)
    power = np.ldexp(1.0, -np.clip(k, -1000, 1000)), np.ldexp(1.0, np.clip(k, -1000, 1000) - k)
    mantissa = DD((x.hi * power[0]) * power[1], (x.lo * power[0]) * power[1])
    result = log1p(mantissa - 1.0) + LOG_2 * k.astype(np.float64)
    return where(special, rounded, result)


LOG_2 = DD(np.float64(float.fromhex("0x1.62e42fefa39efp-1")), np.float64(float.fromhex("0x1.abc9e3b39803fp-56")))


# ---- The exponential -------------------------------------------------------------------------------------------------

STEPS = 256  # e^x = 2^k 2^(j / 256) e^r, |r| <= log(2) / 512


def table():
    """2^(j / 256): square roots of square roots of 2, each by a Newton step from the float64 one."""
    powers = [DD(np.float64(2.0))]
    for _ in range(8):
        root = DD(np.sqrt(powers[-1].hi))
        powers.append((root + powers[-1] / root) * 0.5)
    entries = [DD(np.float64(1.0))] * STEPS
    for j in range(1, STEPS):
        bit = j & -j
        entries[j] = entries[j - bit] * powers[9 - bit.bit_length()]
    return DD(np.array([e.hi for e in entries]), np.array([e.lo for e in entries]))


TABLE = table()
# log(2) / 256 in three parts; the products of the first two, of 33 bits, with an integer of 19 bits are exact.
STEP_1 = float.fromhex("0x1.62e42fefp-9")
STEP_2 = float.fromhex("0x1.473de6afp-42")
STEP_3 = float.fromhex("0x1.3c7673007e5edp-77")
SIXTH = DD(np.float64(1 / 6), np.float64(float.fromhex("0x1.5555555555555p-57")))


def exponential(x):
    """(SCALE e^x, r + r^2/2 + ..., whether the latter is e^x - 1)."""
    x = where(x.hi >= -860, x, -860.0)
    n = np.rint(x.hi * (STEPS / LOG_2.hi))
    r = (DD(x.hi - n * STEP_1, x.lo) - n * STEP_2) - n * STEP_3  # the first difference is exact
    h = r.hi
    third = SIXTH + h * (1 / 24 + h * (1 / 120 + h * (1 / 720 + h * (1 / 5040 + h * (1 / 40320)))))
    small = r + (r * r) * (r * third + 0.5)
    k = np.floor(n / STEPS)
    entry = TABLE[(n - STEPS * k).astype(np.intp)]
    value = entry + entry * small
    power = ((k.astype(np.int64) + (1023 + 256)) << 52).view(np.float64)
    return DD(value.hi * power, value.lo * power), small, n == 0


# ---- phi -------------------------------------------------------------------------------------------------------------

# phi(z) = e^z (z - 1) + 1 and phi*(-z) = e^z - 1 - z are z^2 times these polynomials, near 0; the constants are 1/2.
FACTORIALS = np.cumprod(np.arange(1.0, 10))
PHI, PHI_STAR = np.arange(2.0, 9) / FACTORIALS[2:], 1 / FACTORIALS[2:]
NEAR = {False: 2.0**-6, True: 2.0**-10}  # where the series serve, of float64 and of DD


def near_0(z):
    return np.abs(high(z)) < NEAR[isinstance(z, DD)]


def series(coefficients, z):
    h = high(z)
    rest = h * np.polyval(coefficients[::-1], h)
    return z * z * (DD(*fast_two_sum(0.5, rest)) if isinstance(z, DD) else 0.5 + rest)


def phi(a, e):
    """(phi(-a), phi*(a)) for a >= 0 and e = expm1(-a)."""
    falls, rises = -(e * (a + 1.0) + a), e + a
    near = near_0(a)
    if not near.any():
        return falls, rises
    z = where(near, -a, 0.0)
    return where(near, series(PHI, z), falls), where(near, series(PHI_STAR, z), rises)
