"""crossent.information against exact arithmetic and known values.

4 ulp of the exact value where all terms have one sign: entropy and cross-entropy of probabilities up to 1, entropy of
logits. kl_divergence and js_divergence are differences: 4 ulp of the sum of their larger terms.
"""

import distributions
import family
import numpy as np
import oracle
import oracle_divergence
import pytest
from mpmath import mp, mpf
from oracle_parts import arithmetic
from support import assert_same_bits

from crossent import information

LIMIT = 4
OF_TWO = ("cross_entropy", "kl_divergence", "js_divergence")
BASES = (None, 2, 10, 0.5, np.e)


def exact_of(name):
    return getattr(oracle_divergence, {"cross_entropy": "information_cross_entropy"}.get(name, name))


def some(rng, dtype, n=8, c=9):
    """Rows that sum to about 1, one of them a certainty, with zeros."""
    p = np.exp(rng.normal(0, 3, (n, c)))
    p[0] = np.eye(c)[c // 2]
    p[-1, :c // 2] = 0
    return (p / p.sum(axis=1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize("base", BASES, ids=repr)
@pytest.mark.parametrize("dtype", family.FLOATS, ids=str)
@pytest.mark.parametrize("name", ("entropy", *OF_TWO))
def test_values(name, dtype, base, rng):
    for n, c in ((8, 9), (8, 2), (3, 100), *(((1, 3000),) if base is None else ())):
        p, q = some(rng, dtype, n, c), some(rng, dtype, n, c)
        given = (p,) if name == "entropy" else (p, q)
        got = getattr(information, name)(*given, base=base)
        assert got.dtype == arithmetic(dtype) and got.shape == (n,)
        for i in range(n):
            oracle.assert_within(LIMIT, got[i], *exact_of(name)(*(a[i] for a in given), base))


@pytest.mark.parametrize("first, second", [p for p in family.PAIRS if p[0] != p[1]], ids=str)
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
        oracle.assert_within(LIMIT, got, *oracle_divergence.entropy(p[i]))


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


@pytest.mark.parametrize("draw", distributions.ALL, ids=lambda f: f.__name__)
def test_entropy_with_logits(draw, dtype, rng):
    for n, c in distributions.SHAPES:
        x = draw(rng, min(n, 12), c, dtype)
        got = information.entropy_with_logits(x)
        assert got.dtype == dtype and got.shape == x.shape[:1]
        oracle.assert_within(LIMIT, got, [oracle_divergence.entropy_with_logits(row) for row in x])


@pytest.mark.parametrize("half", family.FLOATS[:2], ids=str)
def test_half_inputs_are_widened(half, rng):
    p, q, x = some(rng, half), some(rng, half), family.some_logits(rng, half)
    wide = [a.astype(np.float32) for a in (p, q, x)]
    assert_same_bits(information.entropy(p), information.entropy(wide[0]))
    assert_same_bits(information.entropy_with_logits(x), information.entropy_with_logits(wide[2]))
    for name in OF_TWO:
        assert_same_bits(getattr(information, name)(p, q), getattr(information, name)(*wide[:2]))
    target = rng.integers(0, family.CLASSES - 1, family.ROWS)
    target[3] = 0
    assert_same_bits(information.perplexity(x, target), information.perplexity(wide[2], target))


@pytest.mark.parametrize("axis", (0, 1, 2, -1, -2, -3))
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
        assert isinstance(got, np.floating) and got.dtype == dtype


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


def test_perplexity_of_equal_logits_is_their_number(dtype):
    for c in (1, 2, 10, 1000):
        oracle.assert_within(LIMIT, information.perplexity(np.zeros((5, c), dtype), [0] * 5), mpf(c))
