"""softmax, log_softmax, logsumexp and their backward functions against exact arithmetic.

Tolerances: 4 ulp of the exact value for every entry of softmax and log_softmax. logsumexp is max + log1p(tail): 1 ulp
of the result for the last addition, which may cancel, and 4 ulp of log1p(tail) for what is added.
"""

import distributions
import numpy as np
import oracle
import pytest
from oracle.parts import BFLOAT16, HALVES
from support import assert_same_bits

import crossent as xe

LIMIT = 4


def assert_logsumexp(actual, rows):
    for value, row in zip(actual, rows, strict=True):
        dtype = actual.dtype
        allowed = oracle.ulp(row.logsumexp(), dtype) + LIMIT * oracle.ulp(row.log_total, dtype)
        assert np.isfinite(value)
        assert abs(oracle.exact(value)[()] - row.logsumexp()) <= allowed, (value, row.logsumexp())


@pytest.mark.parametrize("draw", distributions.ALL, ids=lambda f: f.__name__)
def test_values(draw, dtype, rng):
    for n, c in distributions.SHAPES:
        x = draw(rng, n, c, dtype)
        rows = [oracle.Row(row) for row in x]
        p, log_p, lse = xe.softmax(x), xe.log_softmax(x), xe.logsumexp(x)
        assert p.dtype == log_p.dtype == lse.dtype == dtype
        for i, row in enumerate(rows):
            oracle.assert_within(LIMIT, p[i], row.softmax())
            oracle.assert_within(LIMIT, log_p[i], row.log_softmax())
        if draw is not distributions.wide:
            assert_logsumexp(lse, rows)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1 / 3, 1.0, 2.0, 3, 100.0])
def test_temperature(temperature, dtype, rng):
    """x * (1/T) alone costs hundreds of ulp: the rounding errors of x - max and of 1/T must be carried."""
    for draw in (distributions.normal, distributions.confident, distributions.large_offset):
        x = draw(rng, 12, 33, dtype)
        p, log_p = xe.softmax(x, temperature=temperature), xe.log_softmax(x, temperature=temperature)
        for i in range(12):
            row = oracle.Row(x[i], temperature)
            oracle.assert_within(LIMIT, p[i], row.softmax())
            oracle.assert_within(LIMIT, log_p[i], row.log_softmax())


@pytest.mark.parametrize("classes", [128_256, 1_000_000])
def test_many_classes(classes, dtype, rng):
    x = (rng.integers(-400, 400, classes) / 64).astype(dtype)
    row = oracle.Row(x)
    oracle.assert_within(LIMIT, xe.softmax(x), row.softmax())
    oracle.assert_within(LIMIT, xe.log_softmax(x), row.log_softmax())
    assert_logsumexp(np.array([xe.logsumexp(x)]), [row])


def test_tiny_probabilities_are_not_flushed(dtype):
    """Down to the least subnormal: 2^-149, 2^-1074."""
    gaps = np.linspace(80, 104, 300) if dtype == np.float32 else np.linspace(700, 746, 300)
    for gap in gaps.astype(dtype):
        oracle.assert_within(LIMIT, xe.softmax(np.array([gap, 0], dtype)), oracle.Row([gap, 0]).softmax())


def test_logsumexp_cancels_to_a_small_value(dtype):
    """scipy#19521: max and log1p(tail) of opposite sign."""
    x = np.full((50, 4), 0, dtype) - np.log(4) + np.linspace(-1e-3, 1e-3, 50)[:, None]
    x = x.astype(dtype)
    assert_logsumexp(xe.logsumexp(x), [oracle.Row(row) for row in x])
    assert xe.logsumexp(np.array([-np.inf, 0], dtype)) == 0


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_backward(name, dtype, rng):
    """4 ulp of the larger of the two terms, over T, whose difference may cancel: g p and p sum |g p|, or g and
    p sum |g|."""
    forward, backward, exact = getattr(xe, name), getattr(xe, f"{name}_backward"), getattr(oracle, f"{name}_backward")
    for draw in (distributions.normal, distributions.confident, distributions.masked):
        for (n, c), t in zip(((40, 2), (24, 17), (2, 1025)), (1.0, 0.7, 3.0), strict=True):
            y, g = forward(draw(rng, n, c, dtype)), rng.normal(0, 2, (n, c)).astype(dtype)
            got = backward(g, y, temperature=t)
            assert got.dtype == dtype
            for i in range(n):
                oracle.assert_within(LIMIT, got[i], *exact(g[i], y[i], t))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_backward_of_subnormal_probabilities(temperature, dtype, rng):
    """Times a large sum, and over a small T: their rounding to subnormal numbers is the last one."""
    gaps = rng.uniform(80, 115, 200) if dtype == np.float32 else rng.uniform(690, 760, 200)
    x, g = np.concatenate([[0], -gaps]).astype(dtype), np.zeros(201, dtype)
    g[:100] = rng.normal(1e3, 300, 100)
    log_p, p = xe.log_softmax(x), xe.softmax(x)
    got = xe.log_softmax_backward(g, log_p, temperature=temperature)
    oracle.assert_within(LIMIT, got, *oracle.log_softmax_backward(g, log_p, temperature))
    got = xe.softmax_backward(g, p, temperature=temperature)
    oracle.assert_within(LIMIT, got, *oracle.softmax_backward(g, p, temperature))


@pytest.mark.parametrize("draw", distributions.ALL, ids=lambda f: f.__name__)
def test_logsumexp_backward(draw, dtype, rng):
    """g softmax(x): one term, 4 ulp of the value."""
    for n, c in ((40, 1), (120, 2), (24, 17), (2, 1025)):
        x, g = draw(rng, n, c, dtype), rng.normal(0, 2, n).astype(dtype)
        got = xe.logsumexp_backward(g, x)
        for i in range(n):
            oracle.assert_within(LIMIT, got[i], oracle.Row(x[i]).softmax() * oracle.exact(g)[i])


def test_axes_and_keepdims(dtype, rng):
    x = rng.normal(0, 2, (3, 4, 5)).astype(dtype)
    for axis in (0, 1, 2, -1, -2, -3):
        last = np.ascontiguousarray(np.moveaxis(x, axis, -1))
        for function in (xe.softmax, xe.log_softmax):
            np.testing.assert_array_equal(np.moveaxis(function(x, axis), axis, -1), function(last))
        lse = xe.logsumexp(x, axis)
        np.testing.assert_array_equal(lse, xe.logsumexp(last))
        kept = xe.logsumexp(x, axis, keepdims=True)
        np.testing.assert_array_equal(kept, np.expand_dims(lse, axis))
        g = rng.normal(0, 1, lse.shape).astype(dtype)
        np.testing.assert_array_equal(
            xe.logsumexp_backward(np.expand_dims(g, axis), x, axis, keepdims=True), xe.logsumexp_backward(g, x, axis))


def test_one_dimension(dtype):
    x = np.array([0, 0], dtype)
    np.testing.assert_array_equal(xe.softmax(x), [0.5, 0.5])
    lse = xe.logsumexp(x)
    assert isinstance(lse, np.floating)
    assert lse.dtype == dtype
    assert_logsumexp(np.array([lse]), [oracle.Row(x)])
    assert xe.logsumexp(x, keepdims=True).shape == (1,)
    np.testing.assert_array_equal(xe.logsumexp_backward(dtype(2), x), [1, 1])


def test_out_is_the_result(dtype, rng):
    x = rng.normal(0, 2, (6, 5)).astype(dtype)
    g = rng.normal(0, 1, (6, 5)).astype(dtype)
    p, log_p, rows = xe.softmax(x), xe.log_softmax(x), xe.logsumexp(x)
    calls = (
        (rows, lambda out: xe.logsumexp(x, out=out)),
        (rows[:, None], lambda out: xe.logsumexp(x, keepdims=True, out=out)),
        (p, lambda out: xe.softmax(x, out=out)),
        (log_p, lambda out: xe.log_softmax(x, out=out)),
        (xe.softmax_backward(g, p), lambda out: xe.softmax_backward(g, p, out=out)),
        (xe.log_softmax_backward(g, log_p), lambda out: xe.log_softmax_backward(g, log_p, out=out)),
        (xe.logsumexp_backward(g[:, 0], x), lambda out: xe.logsumexp_backward(g[:, 0], x, out=out)),
    )
    for wanted, call in calls:
        wide = np.zeros((12, 10)[:wanted.ndim], dtype)
        strided = wide[tuple(slice(None, 2 * n, 2) for n in wanted.shape)]
        for buffer in (np.empty_like(wanted), np.empty(wanted.shape, dtype, order="F"), strided):
            assert call(buffer) is buffer
            np.testing.assert_array_equal(buffer, wanted)


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("axis", [-1, 0, None, (0, 1)], ids=str)
@pytest.mark.parametrize("function", [xe.softmax, xe.log_softmax], ids=lambda f: f.__name__)
def test_float32_results_of_half_logits(function, axis, half, rng):
    """By dtype or by out, with the bits of the widened logits; without them in the dtype of the logits."""
    for x in (rng.normal(0, 3, (30, 7)), rng.normal(0, 3, (5, 300)), rng.normal(0, 3, (2, 2000))):
        for laid_out in (x.astype(half), np.asfortranarray(x.astype(half)), x.astype(half)[::-1, ::-1]):
            wanted = function(laid_out.astype(np.float32), axis, temperature=0.7)
            for dtype in (np.float32, "float32", np.dtype("f4")):
                got = function(laid_out, axis, temperature=0.7, dtype=dtype)
                assert_same_bits(got, wanted)
                assert [abs(n) // 2 for n in got.strides] == [abs(n) for n in laid_out.strides]
            for out in (np.zeros(x.shape, np.float32), np.zeros(x.shape[::-1], np.float32).T,
                        np.zeros((*x.shape, 2), np.float32)[..., 0]):
                assert function(laid_out, axis, temperature=0.7, out=out) is out
                assert_same_bits(out, wanted)
                out[...] = 0
                assert function(laid_out, axis, temperature=0.7, dtype=np.float32, out=out) is out
                assert_same_bits(out, wanted)
            for dtype in (None, half):
                assert_same_bits(function(laid_out, axis, temperature=0.7, dtype=dtype), wanted.astype(half))


@pytest.mark.parametrize("function", [xe.softmax, xe.log_softmax], ids=lambda f: f.__name__)
@pytest.mark.parametrize("axis", [-1, None], ids=str)
def test_dtypes_that_are_refused(function, axis):
    half, single = np.zeros((2, 3), np.float16), np.zeros((2, 3), np.float32)
    for x, dtype in ((half, np.float64), (half, BFLOAT16), (single, np.float16), (single, np.float64), (single, int)):
        with pytest.raises(TypeError, match="dtype"):
            function(x, axis, dtype=dtype)
        out = np.full((2, 3), 7, dtype)
        with pytest.raises(TypeError, match="out has dtype"):
            function(x, axis, out=out)
        assert (out == 7).all()
    with pytest.raises(TypeError, match="out has dtype"):  # they contradict each other
        function(half, axis, dtype=np.float32, out=half)
    with pytest.raises(TypeError, match="out has dtype"):
        function(half, axis, dtype=np.float16, out=single)


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("axis", [-1, None, (0,)], ids=str)
def test_logsumexp_of_half_logits_is_float32(half, axis, rng):
    """As losses are: of 1,000 equal classes it has four digits before the point, of which float16 keeps three."""
    x = rng.normal(0, 3, (4, 1000)).astype(half)
    wanted = xe.logsumexp(x.astype(np.float32), axis)
    assert_same_bits(xe.logsumexp(x, axis), wanted)
    out = np.zeros(np.shape(wanted), np.float32)
    assert xe.logsumexp(x, axis, out=out) is out
    assert_same_bits(out, wanted)
    with pytest.raises(TypeError, match="out has dtype"):
        xe.logsumexp(x, axis, out=np.zeros(np.shape(wanted), half))
