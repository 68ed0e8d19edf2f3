"""crossent.information against exact arithmetic and known values.

4 ulp of the exact value where all terms have one sign: entropy and cross-entropy of probabilities up to 1, entropy of
logits. kl_divergence and js_divergence are differences: 4 ulp of the sum of their larger terms.
"""

import distributions
import numpy as np
import operations
import oracle
import oracle.divergence
import pytest
from mpmath import mp, mpf
from oracle.parts import arithmetic
from support import assert_same_bits

import crossent as xe
from crossent import information

LIMIT = 4
OF_TWO = ("cross_entropy", "kl_divergence", "js_divergence")
BASES = (None, 2, 10, 0.5, np.e)


def exact_of(name):
    return getattr(oracle.divergence, {"cross_entropy": "information_cross_entropy"}.get(name, name))


def some(rng, dtype, n=8, c=9):
    """Rows that sum to about 1, one of them a certainty, with zeros."""
    p = np.exp(rng.normal(0, 3, (n, c)))
    p[0] = np.eye(c)[c // 2]
    p[-1, :c // 2] = 0
    return (p / p.sum(axis=1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize("base", BASES, ids=repr)
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize("name", ["entropy", *OF_TWO])
def test_values(name, dtype, base, rng):
    for n, c in ((8, 9), (8, 2), (3, 100), *(((1, 3000),) if base is None else ())):
        p, q = some(rng, dtype, n, c), some(rng, dtype, n, c)
        given = (p,) if name == "entropy" else (p, q)
        got = getattr(information, name)(*given, base=base)
        assert got.dtype == arithmetic(dtype)
        assert got.shape == (n,)
        for i in range(n):
            oracle.assert_within(LIMIT, got[i], *exact_of(name)(*(a[i] for a in given), base))


@pytest.mark.parametrize(("first", "second"), [p for p in operations.PAIRS if p[0] != p[1]], ids=str)
@pytest.mark.parametrize("name", OF_TWO)
def test_mixed_dtypes(name, first, second, rng):
    """q in the arithmetic dtype of p, which is that of the result."""
    p, q = some(rng, first), some(rng, second)
    got = getattr(information, name)(p, q)
    assert got.dtype == arithmetic(first)
    assert_same_bits(got, getattr(information, name)(p, q.astype(arithmetic(first))))


@pytest.mark.parametrize("name", OF_TWO)
def test_inputs_are_not_renormalised(name, dtype, rng):
    p, q = rng.uniform(0, 5, (6, 7)).astype(dtype), rng.uniform(0, 5, (6, 7)).astype(dtype)
    for i, got in enumerate(getattr(information, name)(p, q)):
        oracle.assert_within(LIMIT, got, *exact_of(name)(p[i], q[i]))
    for i, got in enumerate(information.entropy(p)):
        oracle.assert_within(LIMIT, got, *oracle.divergence.entropy(p[i]))


def test_known_values(dtype):
    fair, loaded, sure = np.array([[0.5, 0.5], [0.25, 0.75], [0, 1]], dtype)
    within = lambda got, wanted: oracle.assert_within(LIMIT, got, wanted)
    within(information.entropy(fair), mp.log(2))
    assert information.entropy(fair, base=2) == 1
    assert information.entropy(sure) == 0
    within(information.cross_entropy(fair, loaded), (mp.log(4) + mp.log(4) - mp.log(3)) / 2)
    assert information.cross_entropy(sure, sure) == 0
    within(information.kl_divergence(sure, fair), mp.log(2))
    within(information.js_divergence(sure, sure[::-1]), mp.log(2))
    assert information.js_divergence(sure, sure[::-1], base=2) == 1
    for name in ("kl_divergence", "js_divergence"):
        for p in (fair, loaded, sure):
            assert getattr(information, name)(p, p) == 0


def test_kl_where_q_is_0(dtype):
    """`p > 0` where `q = 0` is inf, 0 log 0 is 0."""
    p, q = np.array([[0.5, 0.5], [0, 1]], dtype), np.array([[0, 1], [0, 1]], dtype)
    np.testing.assert_array_equal(information.kl_divergence(p, q), [np.inf, 0])
    np.testing.assert_array_equal(information.cross_entropy(p, q), [np.inf, 0])
    assert np.isfinite(information.js_divergence(p, q)).all()
    np.testing.assert_array_equal(information.entropy(q), [0, 0])


def test_js_of_near_rows_is_not_negative(dtype, rng):
    p = some(rng, dtype, 2000, 5)
    q = (p * (1 + rng.normal(0, 1e-4, p.shape))).astype(dtype)
    assert (information.js_divergence(p, q) >= 0).all()
    assert (information.js_divergence(p, p) == 0).all()


def test_subnormal_terms_are_added_before_they_are_rounded(rng):
    """A sum of 5,000 subnormal terms that are rounded one by one is off by up to 2,500 ulp."""
    shape = 2, 5000
    p, q = 1e-320 * rng.uniform(0.5, 1.5, shape), rng.uniform(0.2, 0.9, shape)
    p[:, 0] = 2.0**-1074
    for i in range(len(p)):
        oracle.assert_within(LIMIT, information.entropy(p)[i], *oracle.divergence.entropy(p[i]))
        for name, a, b in (("cross_entropy", p, q), ("kl_divergence", p, q), ("kl_divergence", p, p[:, ::-1]),
                           ("js_divergence", p, p[:, ::-1])):
            oracle.assert_within(LIMIT, getattr(information, name)(a, b)[i], *exact_of(name)(a[i], b[i]))
    # and where some terms are subnormal and others, from 2**-400 on, are not
    p *= 2.0 ** rng.integers(0, 1000, shape)
    for i in range(len(p)):
        oracle.assert_within(LIMIT, information.entropy(p)[i], *oracle.divergence.entropy(p[i]))


@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div_of_rows_with_subnormal_terms(log_target, rng):
    """As above; exp(target) is not rounded to a subnormal before it is multiplied either."""
    target, log_p = rng.uniform(-745, -737, (2, 5000)), rng.uniform(-800, -0.01, (2, 5000))
    log_p[1] = target[1] + rng.uniform(0.1, 2, 5000)  # of one sign
    target[1, 0], log_p[1, 0] = -np.inf, -3
    if not log_target:
        target = np.exp(target)
    got = xe.kl_div(log_p, target, log_target=log_target, axis=1, reduction="none")
    for i in range(2):
        losses, scales, _ = oracle.divergence.kl_div(log_p[i], target[i], log_target)
        oracle.assert_within(LIMIT, got[i], mp.fsum(losses), mp.fsum(scales))


@pytest.mark.parametrize(("p", "q"), [
    ([5.333048745068436e-17, 1.0], [1.0, 5.333048745068436e-17]), ([0.9998382986823883, 0.0001617013176117886],
    [1.09382729822761e-07, 0.9999998906172702]), ([0.0, 1.0], [1.0, 1e-300]), ([1e-308, 1.0], [1.0, 1e-320])])
def test_js_where_one_is_far_smaller(p, q):
    """log(p/m) is not that of 1 + (p - q) / (p + q), which has lost the digits of p."""
    value, scale = oracle.divergence.js_divergence(np.array(p), np.array(q))
    oracle.assert_within(LIMIT, information.js_divergence(p, q), value, scale)
    assert information.js_divergence(p, q) == information.js_divergence(q, p)


def test_measures_of_the_largest_numbers():
    """No scale or mean of two overflows where the result does not."""
    largest = np.finfo(np.float64).max
    p = np.array([largest, 1e-310, 0.5])
    assert information.kl_divergence(p, p) == information.js_divergence(p, p) == 0
    for other in (p[::-1], p / 4):
        value, scale = oracle.divergence.kl_divergence(p / 1024, other / 1024)
        oracle.assert_within(LIMIT, information.kl_divergence(p / 1024, other / 1024), value, scale)
        value, scale = oracle.divergence.js_divergence(p, other)
        oracle.assert_within(LIMIT, information.js_divergence(p, other), value, scale)


def test_entropy_with_logits_of_a_million_classes(dtype):
    """The sums of a thousand blocks are not rounded as they are added: that was 22 ulp in float64."""
    rng = np.random.default_rng(3)
    x = rng.choice(rng.normal(0, 3, 30).astype(dtype), (1, 1_000_000))
    oracle.assert_within(2, information.entropy_with_logits(x), [oracle.divergence.entropy_with_logits(x[0])])


@pytest.mark.parametrize("row", [
    [5.119910772117347, -3.3905435966328], [-6.866685710101082, -2.3709999746901356], [1.0, -15.139623194722352],
    [-3.851013904826819, 5.4146191779904544], [-2.7676142438808133, 17.666055081452647],
    [3.3544910122122142, -1.141466398527541]])
def test_entropy_with_logits_of_two_classes(row):
    """Where the roundings of the last steps are most of the error: 4.1 to 4.5 ulp if each was a float64."""
    oracle.assert_within(LIMIT, information.entropy_with_logits(row), oracle.divergence.entropy_with_logits(row))


@pytest.mark.parametrize("draw", distributions.ALL, ids=lambda f: f.__name__)
def test_entropy_with_logits(draw, dtype, rng):
    for n, c in distributions.SHAPES:
        x = draw(rng, min(n, 12), c, dtype)
        got = information.entropy_with_logits(x)
        assert got.dtype == dtype
        assert got.shape == x.shape[:1]
        oracle.assert_within(LIMIT, got, [oracle.divergence.entropy_with_logits(row) for row in x])


@pytest.mark.parametrize("half", operations.FLOATS[:2], ids=str)
def test_half_inputs_are_widened(half, rng):
    p, q, x = some(rng, half), some(rng, half), operations.draws.some_logits(rng, half)
    wide = [a.astype(np.float32) for a in (p, q, x)]
    assert_same_bits(information.entropy(p), information.entropy(wide[0]))
    assert_same_bits(information.entropy_with_logits(x), information.entropy_with_logits(wide[2]))
    for name in OF_TWO:
        assert_same_bits(getattr(information, name)(p, q), getattr(information, name)(*wide[:2]))
    target = rng.integers(0, operations.draws.CLASSES - 1, operations.draws.ROWS)
    target[3] = 0
    assert_same_bits(information.perplexity(x, target), information.perplexity(wide[2], target))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_axes(axis, dtype, rng):
    p, q = (rng.uniform(0, 1, (3, 4, 5)).astype(dtype) for _ in range(2))
    last = [np.ascontiguousarray(np.moveaxis(a, axis, -1)) for a in (p, q)]
    assert_same_bits(information.entropy(p, axis), information.entropy(last[0]))
    assert_same_bits(information.entropy_with_logits(p, axis), information.entropy_with_logits(last[0]))
    for name in OF_TWO:
        assert_same_bits(getattr(information, name)(p, q, axis=axis), getattr(information, name)(*last))


def test_one_row_gives_a_numpy_scalar(dtype):
    p = np.array([0.25, 0.75], dtype)
    for got in (information.entropy(p), information.entropy_with_logits(p), information.perplexity(p, 0),
                *(getattr(information, name)(p, p) for name in OF_TWO)):
        assert isinstance(got, np.floating)
        assert got.dtype == dtype


def test_perplexity_is_exp_of_the_mean_cross_entropy(dtype, rng):
    """4 ulp: the mean, about 2, is not rounded before."""
    x, target = rng.normal(0, 1, (200, 7)).astype(dtype), rng.integers(0, 7, 200)
    target[::9] = -100
    exact = mp.fsum(oracle.cross_entropy_rows(x, target)) / int((target >= 0).sum())
    oracle.assert_within(LIMIT, information.perplexity(x, target), mp.exp(exact))
    moved = np.moveaxis(x.reshape(20, 10, 7), -1, 0)
    oracle.assert_within(LIMIT, information.perplexity(moved, target.reshape(20, 10), axis=0), mp.exp(exact))
    ignoring = np.where(target == 3, -100, target)
    target[target == -100] = 3
    assert information.perplexity(x, target, ignore_index=3) == information.perplexity(x, ignoring)


@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (1, 300), (7, 3), (3000, 2)])
def test_perplexity_of_large_losses(rows, classes):
    """exp(H) has |H| times the relative error of H: of a mean rounded to float64 up to 256 ulp."""
    rng = np.random.default_rng(5)
    for size in (1, 30, 709):
        x, target = rng.uniform(0, size, (rows, classes)), rng.integers(0, classes, rows)
        x[0, target[0]] = size
        x[rows // 2, target[rows // 2]] = 0
        mean = mp.fsum(oracle.cross_entropy_rows(x, target)) / rows
        oracle.assert_within(LIMIT, information.perplexity(x, target), mp.exp(mean))
    wanted = mp.exp((800 + mp.log1p(mp.exp(-800)) + mp.log(2)) / 2)  # of which exp(800) alone is infinite
    oracle.assert_within(LIMIT, information.perplexity(np.array([[0.0, -800.0], [0, 0]]), [1, 1]), wanted)
    assert information.perplexity([[0.0, -1000.0]], [1]) == information.perplexity([[0.0, -np.inf]], [1]) == np.inf


def test_perplexity_of_equal_logits_is_their_number(dtype):
    for c in (1, 2, 10, 1000):
        oracle.assert_within(LIMIT, information.perplexity(np.zeros((5, c), dtype), [0] * 5), mpf(c))
