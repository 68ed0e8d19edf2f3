"""The fast formulas of tests/fast against mpmath: the arithmetic on its own, then every case of the registry.

accuracy/test_reference.py compares them on the rows of the report.
"""

import fast
import fast.double_double as dd
import mpmath
import numpy as np
import pytest
from fast.double_double import DD, SCALE
from fast.information import log_of_half
from mpmath import mp, mpf
from operations import CASES

import oracle.parts
from oracle.agreement import assert_agrees, number
from oracle.parts import arithmetic

# ---- The arithmetic --------------------------------------------------------------------------------------------------


def pair(rng, hi):
    return DD(hi, hi * 2.0**-54 * rng.uniform(-1, 1, hi.shape))


def assert_relative(actual, wanted, bits):
    for a, w in zip(number(actual).ravel(), np.ravel(wanted), strict=True):
        assert abs(a - w) <= abs(w) * mpf(2) ** -bits, (a, w)


@pytest.mark.parametrize("size", [1e-12, 1e-6, 2**-10, 1e-3, 2**-6, 0.5, 5, 80, 290])
def test_exponentials(size, rng):
    h = rng.uniform(-size, size, 100)
    x = pair(rng, h)
    exact = number(x)
    assert_relative(dd.exp(x), [mp.exp(v) * SCALE for v in exact], 94)
    assert_relative(dd.expm1(x), [mpmath.expm1(v) for v in exact], 84)
    for a, bits in ((abs(x), 61), (abs(h), 38)):
        exact = number(a)
        falls, rises = dd.phi(a, dd.expm1(-a))
        assert_relative(falls, [1 - mp.exp(-v) * (1 + v) for v in exact], bits)
        assert_relative(rises, [mp.exp(-v) - 1 + v for v in exact], bits)
        z = -a if size < 2**-10 else -a * 1e-6
        assert_relative(dd.series(dd.PHI, z), [mp.exp(v) * (v - 1) + 1 for v in number(z)], bits)
    positive = pair(rng, np.exp(h) * size)
    assert_relative(dd.log(positive), [mp.log(v) for v in number(positive)], 84)
    assert_relative(dd.log1p(positive), [mpmath.log1p(v) for v in number(positive)], 84)
    negative = pair(rng, -rng.uniform(0, min(size, 0.99), 100))
    assert_relative(dd.log1p(negative), [mpmath.log1p(v) for v in number(negative)], 84)


def test_exponentials_keep_their_digits_where_float64_has_none(rng):
    x = pair(rng, rng.uniform(-855, -700, 100))
    assert_relative(dd.exp(x), [mp.exp(v) * SCALE for v in number(x)], 94)
    assert dd.exp(DD(np.array([-np.inf, -1e5]))).hi.max() < SCALE * 2.0**-1074 * 2.0**-160
    assert dd.log(DD(np.array([0.0]))).hi == -np.inf
    least = DD(np.array([5e-324, 1e-310]))
    assert_relative(dd.log(least), [mp.log(v) for v in number(least)], 84)


def test_products_quotients_and_sums(rng):
    a, b = (pair(rng, rng.normal(0, 1, 200)) for _ in range(2))
    assert_relative(a * b, number(a) * number(b), 104)
    assert_relative(a / b, number(a) / number(b), 102)
    assert_relative(a + b, number(a) + number(b), 100)
    assert_relative(3.0 - a, 3 - number(a), 100)
    for c in (1, 2, 7, 1000):
        many = pair(rng, rng.uniform(0, 1, (3, c)))
        assert_relative(dd.sum_last(many), [mp.fsum(row) for row in number(many)], 100)


# ---- The formulas ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "case"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses(form, case, dtype, rng):
    """Every row or element, and its gradient; the sizes of terms, which are estimates, to a thousandth."""
    arrays, options = form.arguments(rng, (np.dtype(dtype),) * 2, case)
    dtype = arithmetic(arrays[0].dtype)
    with np.errstate(all="ignore"):
        fast_parts = form.fast(arrays, options)
        found = fast.value(fast_parts), fast.gradient(fast_parts)
    with mp.workdps(340):  # 60 digits do not hold 1 - 1e-300
        exact_parts = form.exact(arrays, options)
        values, gradients = oracle.parts.value(exact_parts, "none"), oracle.parts.gradient(exact_parts, "none")
        if form.loss.name == "kl_div" and "axis" in options:  # whose elements are added up by who asks for rows
            found = tuple(dd.sum_last(part) for part in found[0]), found[1]
        for (fast_value, fast_scale), (value, scale) in zip(found, (values, gradients), strict=True):
            assert_agrees(fast_value, value, scale, dtype)
            assert_close(fast_scale, scale)
        for fast_part, part in zip(fast_parts, exact_parts, strict=True):
            if form.loss.name != "kl_div":
                assert_close(fast_part.sizes, part.sizes)
            for reduction, denominator in part.denominators.items():
                if (form.loss.name, reduction) != ("kl_div", "batchmean"):
                    assert_close(fast_part.denominators[reduction] * SCALE, [denominator])


def assert_close(sizes, exact):
    sizes, exact = (np.ravel(np.array(x, dtype=object)) for x in (number(sizes), exact))
    for f, e in zip(sizes / SCALE, exact, strict=True):
        assert f == e or mp.isnan(e) or abs(f - e) <= abs(e) / 1000 + mpf(2) ** -1070


def test_half_of_a_subnormal_number():
    """(p + q) / 2 of js_divergence has a bit more than p + q has room for."""
    least = 2.0**-1074
    for x in (3 * least, 8001 * least, 2.0**-950, 0.75):
        got = log_of_half(DD(np.array([x])))
        assert_relative(got, [mp.log(mpf(x) / 2)], 90)


# ---- The error measure -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_beyond_their_limit_are_seen(dtype):
    exact = fast.widen(np.array([1.5, -1.5, 3.0], dtype)) * SCALE
    for place in range(3):
        for units in (3, 4, 5, -5):
            actual = np.array([1.5, -1.5, 3.0], dtype)
            actual[place] += units * np.spacing(abs(actual[place]))
            if units == 3:  # 4 is not less than 4 beyond doubt
                fast.assert_within(4, actual, exact)
            else:
                with pytest.raises(AssertionError, match="ulp, more than 4"):
                    fast.assert_within(4, actual, exact)
    with pytest.raises(AssertionError, match="nan"):
        fast.assert_within(4, dtype(np.nan), exact[0])
    with pytest.raises(AssertionError, match="infinite scale"):
        fast.assert_within(4, actual, exact, fast.like(exact, np.full(3, np.inf)))
