"""sigmoid and log_sigmoid against exact arithmetic: 4 ulp of every element. (Every float: cpp/tests/test_vmath.cpp.)"""

import mpmath
import numpy as np
import operations
import oracle
import pytest
from mpmath import mp
from oracle.binary import sigmoid, softplus
from oracle.parts import HALVES
from support import assert_same_bits, at_offset

import crossent as xe

FUNCTIONS = pytest.mark.parametrize("function", [xe.sigmoid, xe.log_sigmoid], ids=lambda f: f.__name__)
LIMIT = 4


def exact_of(function, x):
    one = sigmoid if function is xe.sigmoid else lambda v: -softplus(-v)
    return np.array([one(v) for v in oracle.exact(x)], dtype=object)


def draws(rng, dtype):
    """Ordinary numbers, all sizes, and results that are subnormal."""
    edge = {2: 12, 4: 95, 8: 720}[np.dtype(dtype).itemsize]
    with np.errstate(all="ignore"):
        return np.concatenate([
            rng.normal(0, 5, 300), rng.choice([-1, 1], 300) * np.exp(rng.uniform(-40, 6, 300)),
            rng.choice([-1, 1], 300) * rng.uniform(0.9 * edge, 1.05 * edge, 300), [0.0, -0.0, 1.0, -1.0]]).astype(dtype)


@FUNCTIONS
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_values(function, dtype, rng):
    x = draws(rng, dtype)
    got = function(x)
    assert got.dtype == x.dtype
    oracle.assert_within(1 if dtype in HALVES else LIMIT, got, exact_of(function, x))


@FUNCTIONS
@pytest.mark.parametrize("half", HALVES, ids=str)
def test_half_is_float32_rounded_once(function, half):
    x = np.arange(65536).astype(np.uint16).view(half)
    with np.errstate(all="ignore"):
        assert_same_bits(function(x), function(x.astype(np.float32)).astype(half))


@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_limits(dtype):
    x = np.array([-np.inf, np.inf, np.nan, 0.0], dtype)
    np.testing.assert_array_equal(xe.sigmoid(x).astype(float), [0, 1, np.nan, 0.5])
    np.testing.assert_array_equal(xe.log_sigmoid(x)[:3].astype(float), [-np.inf, 0, np.nan])


def test_subnormal_results_are_not_flushed():
    for gap in np.linspace(700, 745, 200):
        oracle.assert_within(LIMIT, np.array([xe.sigmoid(-gap), xe.log_sigmoid(gap)]),
                             [mp.exp(-gap) / (1 + mp.exp(-gap)), -mpmath.log1p(mp.exp(-gap))])
    assert xe.sigmoid(np.float32(-103)) == np.float32(2.0**-149)


LAYOUTS = {
    "f": np.asfortranarray, "negative": lambda a: np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1],
    "sliced": lambda a: np.repeat(a, 2, axis=1)[:, ::2], "unaligned": lambda a: at_offset(a, 1),
    "permuted": lambda a: np.ascontiguousarray(a.transpose(2, 0, 1)).transpose(1, 2, 0)}


@FUNCTIONS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_same_bits_in_every_layout(function, layout, dtype, rng):
    x = rng.normal(0, 5, (7, 30, 17)).astype(dtype)
    wanted, laid_out = function(x), LAYOUTS[layout](x)
    got = function(laid_out)
    assert_same_bits(got, wanted)
    assert got.strides == np.empty_like(laid_out).strides
    for out in (np.empty_like(x), LAYOUTS[layout](np.zeros_like(x)), np.empty((17, 30, 7), dtype).T):
        assert function(laid_out, out=out) is out
        assert_same_bits(out, wanted)
    in_place = LAYOUTS[layout](x).copy(order="K")
    assert function(in_place, out=in_place) is in_place
    assert_same_bits(in_place, wanted)
    assert_same_bits(function(np.broadcast_to(x[:1], x.shape)), np.broadcast_to(wanted[:1], x.shape))


@FUNCTIONS
def test_same_bits_at_every_position_and_with_any_threads(function, rng):
    x = rng.normal(0, 5, 300_001).astype(np.float32)
    wanted = function(x)
    for threads in (1, 2, 3):
        with xe.num_threads(threads):
            assert_same_bits(function(x), wanted)
    for first, last in ((1, 18), (5, 6), (7, 2000), (1023, 1030)):
        assert_same_bits(function(x[first:last]), wanted[first:last])


@FUNCTIONS
def test_numbers_and_empty_arrays(function):
    for number, kind in ((0.5, np.float64), (np.float32(0.5), np.float32), (np.array(0.5, np.float16), np.float16),
                         (1, np.float64)):
        got = function(number)
        assert type(got) is kind
        assert got == function(np.array([number]))[0]
    for shape in ((0,), (3, 0, 2)):
        assert function(np.zeros(shape)).shape == shape
    out = np.zeros(())
    assert function(0.5, out=out) is out
    assert out == function(0.5)


def test_they_are_a_softmax_of_two_classes(rng):
    x = rng.normal(0, 5, 100)
    two = np.stack([x, np.zeros(100)], axis=1)
    np.testing.assert_allclose(xe.sigmoid(x), xe.softmax(two)[:, 0], rtol=1e-15)
    np.testing.assert_allclose(xe.log_sigmoid(x), xe.log_softmax(two)[:, 0], rtol=1e-14)
