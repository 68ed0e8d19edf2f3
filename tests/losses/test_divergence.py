"""kl_div_with_logits between rows of every kind: the promise P3, and the accuracy of values and gradients.

P3: never negative, exactly 0 for equal rows, relative error at most 1e-5 in float32 where the divergence is at least
2e-9 and 1e-12 in float64 where it is at least 1e-18. Below that the input itself says no more: logits that differ by
less than their own spacing. Elsewhere every class adds a term >= 0, so nothing cancels: 4 ulp, as for every loss.
"""

import distributions
import fast
import numpy as np
import operations
import oracle
import pytest
from mpmath import mpf
from oracle.divergence import DIVERGENCES, kl_div, kl_div_rows

import crossent as xe

LIMIT = 4
# A class of the forward gradient is one product, s expm1(d). Of the others it is s (log(s/t) - sum s log(s/t)): s and
# the logarithm take about 2 ulp each, the sum and the difference half of one each, two products another: below 8.
GRADIENT_LIMIT = {"forward": 4, "reverse": 8, "js": 8}
LEAST = {np.float32: 2e-9, np.float64: 1e-18}
RELATIVE = {np.float32: 1e-5, np.float64: 1e-12}
TEMPERATURES = (0.1, 0.5, 1.0, 1 / 3, 2.0, 7.0, 20.0)
SHAPES = ((16, 2), (8, 9), (5, 17), (2, 60))

divergences = pytest.mark.parametrize("divergence", DIVERGENCES)


def distinct(rng, n, c, dtype):
    """Teacher and student that have nothing to do with each other."""
    return rng.normal(0, 3, (n, c)).astype(dtype), rng.normal(0, 3, (n, c)).astype(dtype)


def confident(rng, n, c, dtype):
    """Both sure of a class, half of them of the same one; gaps that no float16 holds."""
    x, t = (distributions.confident(rng, n, c, dtype) for _ in range(2))
    t[::2] = x[::2] + rng.normal(0, 0.5, (len(t[::2]), c)).astype(dtype)
    return x, t


def masked(rng, n, c, dtype):
    """Both masked at the same classes."""
    x = distributions.masked(rng, n, c, dtype)
    return x, np.where(np.isneginf(x), x, rng.normal(0, 3, (n, c)).astype(dtype))


def large_offset(rng, n, c, dtype):
    """Each with an offset of its own: a divergence depends on differences only."""
    return distributions.large_offset(rng, n, c, dtype), distributions.large_offset(rng, n, c, dtype)[::-1].copy()


def in_double_double(x, t):
    """Of near rows float64 has not the digits of every log-ratio, nor the scales of their gradients."""
    return x.astype(np.float64), t.astype(np.float64)


def near(noise):
    def draw(rng, n, c, dtype):
        t = rng.normal(0, 3, (n, c))
        return (t + rng.normal(0, noise, (n, c))).astype(dtype), t.astype(dtype)
    draw.__name__ = f"near_{noise:g}"
    return draw


@divergences
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("draw", [distinct, confident, masked, large_offset, near(0.1)], ids=lambda f: f.__name__)
def test_value_and_gradient(draw, temperature, divergence, dtype, rng):
    options = {"temperature": temperature, "divergence": divergence}
    n, c = SHAPES[TEMPERATURES.index(temperature) % len(SHAPES)]
    x, t = draw(rng, n, c, dtype)
    loss, grad = xe.kl_div_with_logits(x, t, reduction="none", return_grad=True, **options)
    fast.assert_exact(loss, grad, fast.exact("kl_div_with_logits", x, t, **options), LIMIT, GRADIENT_LIMIT[divergence])


# Two classes at which the roundings of float64 added up: of the gradient to 5.8 and 4.6 ulp, of the loss to 4.3.
@pytest.mark.parametrize(("x", "t"), [
    ([1.8496827193863814, 0.7766518639668682], [0.5517094192947425, -3.248259127560651]),
    ([4.000000000000003, 4.0, -5.47640018662524], [4.0, -7.774037180447559, -1.7067649188004275]),
    ([4.392556205358108, -1.4064613289411738], [-0.5174523851882401, -1.169129386477714])])
def test_float64_products_are_rounded_once(x, t):
    x, t = np.array([x]), np.array([t])
    loss, grad = xe.kl_div_with_logits(x, t, reduction="none", return_grad=True)
    exact, exact_grad, scale = kl_div_rows(x, t)
    oracle.assert_within(LIMIT, loss, exact)
    oracle.assert_within(LIMIT, grad, exact_grad, scale)


@divergences
@pytest.mark.parametrize("temperature", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("noise", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10])
def test_near_equal_rows(noise, temperature, divergence, dtype, rng):
    """pytorch#80488: there, divergences of near rows come out negative, and with any relative error."""
    options, measured = {"temperature": temperature, "divergence": divergence}, 0
    for n, c in ((8, 2), (6, 10), (1, 50)):
        x, t = near(noise)(rng, n, c, dtype)
        loss = xe.kl_div_with_logits(x, t, reduction="none", **options)
        assert (loss >= 0).all()
        assert not np.signbit(loss).any()
        exact, _ = fast.value(fast.exact("kl_div_with_logits", *in_double_double(x, t), **options))
        # Below the least divergence of the right size: an absolute error of what is promised there.
        allowed = RELATIVE[dtype] * np.maximum(fast.high(exact), LEAST[dtype] * fast.SCALE)
        assert (abs(fast.high(exact - loss.astype(np.float64) * fast.SCALE)) <= allowed).all()
        measured += np.count_nonzero(fast.high(exact) >= LEAST[dtype] * fast.SCALE)
    if (noise >= 1e-3 and temperature <= 1) or noise == 0.1:
        assert measured > 1


@pytest.mark.parametrize("divergence", ["forward", "reverse"])
def test_errors_that_all_classes_have_in_common(divergence):
    """Their square, up to 3e-14, is no part of a divergence of 1e-10 or 3e-9."""
    x, t = distributions.errors_in_common()
    loss = xe.kl_div_with_logits(x, t, divergence=divergence, reduction="none")
    for got, wanted in zip(loss, kl_div_rows(x, t, divergence=divergence)[0], strict=True):
        assert abs(mpf(float(got)) - wanted) <= mpf(16 * 2.0**-24) * max(wanted, LEAST[np.float32])


@divergences
@pytest.mark.parametrize("temperature", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("noise", [1e-2, 1e-5, 1e-8])
def test_gradient_of_near_equal_rows(noise, temperature, divergence, dtype, rng):
    options = {"temperature": temperature, "divergence": divergence}
    for n, c in ((8, 2), (6, 10), (1, 50)):
        x, t = near(noise)(rng, n, c, dtype)
        _, grad = xe.kl_div_with_logits(x, t, reduction="none", return_grad=True, **options)
        fast.assert_within(GRADIENT_LIMIT[divergence], grad,
                           *fast.gradient(fast.exact("kl_div_with_logits", *in_double_double(x, t), **options)))


@divergences
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_equal_rows_are_exactly_0(dtype, temperature, divergence, rng):
    """Every divergence, temperature and dtype; the gradient is 0 too."""
    for c in (1, 2, 3, 17, 100, 1025, 5000):
        x = np.concatenate([rng.normal(0, 3, (20, c)), 1e4 * rng.normal(0, 1, (4, c)), np.zeros((1, c)),
                            rng.normal(0, 3, (1, c)) + 100]).astype(dtype)
        x[3, 1:2] = -np.inf
        loss, grad = xe.kl_div_with_logits(x, x.copy(), temperature=temperature, divergence=divergence,
                                           reduction="none", return_grad=True)
        assert not loss.any()
        assert not np.signbit(loss).any()
        assert not grad.any()
        assert xe.kl_div_with_logits(x, x, temperature=temperature, divergence=divergence) == 0


@divergences
@pytest.mark.parametrize(("first", "second"), [p for p in operations.PAIRS if p[0] != p[1]], ids=str)
def test_equal_rows_of_different_dtypes_are_exactly_0(first, second, divergence, rng):
    x = rng.integers(-30, 30, (20, 33)) / 8
    loss, grad = xe.kl_div_with_logits(x.astype(first), x.astype(second), temperature=0.7, divergence=divergence,
                                       reduction="none", return_grad=True)
    assert not loss.any()
    assert not grad.any()


@divergences
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_never_negative(dtype, divergence, rng):
    """A hundred thousand rows an ulp apart in one class, in the others equal."""
    x = rng.normal(0, 3, (100_000, 5)).astype(dtype)
    t = x.copy()
    t[np.arange(100_000), rng.integers(0, 5, 100_000)] *= dtype.type(1 + 2 * operations.draws.spacing(dtype))
    loss = xe.kl_div_with_logits(x, t, reduction="none", divergence=divergence)
    assert (loss >= 0).all()
    assert not np.signbit(loss).any()


@divergences
def test_symmetry_of_the_divergences(divergence, dtype, rng):
    """KL(t || s) of swapped arguments is the reverse; Jensen-Shannon at 1/2 does not mind. To a few roundings."""
    x, t = distinct(rng, 20, 9, dtype)
    swapped = {"forward": "reverse", "reverse": "forward", "js": "js"}[divergence]
    np.testing.assert_allclose(xe.kl_div_with_logits(x, t, divergence=divergence, reduction="none"),
                               xe.kl_div_with_logits(t, x, divergence=swapped, reduction="none"),
                               rtol=2 * LIMIT * np.finfo(dtype).eps)


def test_js_is_bounded_by_its_entropy(dtype, rng):
    """At most -beta log beta - (1 - beta) log(1 - beta), log 2 at 1/2: reached by rows without a common class."""
    x = np.array([[0, -np.inf], [700, 0], [0.5, 0.25]], dtype)
    loss = xe.kl_div_with_logits(x, x[:, ::-1], divergence="js", reduction="none")
    np.testing.assert_allclose(loss[:2], np.log(2), rtol=4 * np.finfo(dtype).eps)
    assert loss[2] < 0.1


@pytest.mark.parametrize("beta", [1e-6, 0.1, 0.5, 0.9, 1 - 1e-6])
def test_beta(beta, dtype, rng):
    x, t = distinct(rng, 12, 9, dtype)
    loss, grad = xe.kl_div_with_logits(x, t, divergence="js", beta=beta, reduction="none", return_grad=True)
    exact, exact_grad, scale = kl_div_rows(x, t, divergence="js", beta=beta)
    oracle.assert_within(LIMIT, loss, exact)
    oracle.assert_within(GRADIENT_LIMIT["js"], grad, exact_grad, scale)


@divergences
def test_many_classes(divergence, dtype, rng):
    """Several blocks of classes."""
    x, t = ((rng.integers(-400, 400, (1, 4099)) / 64).astype(dtype) for _ in range(2))
    loss, grad = xe.kl_div_with_logits(x, t, divergence=divergence, reduction="none", return_grad=True)
    exact = fast.exact("kl_div_with_logits", x, t, divergence=divergence)
    fast.assert_exact(loss, grad, exact, LIMIT, GRADIENT_LIMIT[divergence])


def test_no_factor_of_the_temperature_squared(dtype):
    """As SciPy and PyTorch, and unlike many tutorials: distillation_loss has it."""
    x, t = np.array([[1, 0]], dtype), np.array([[0, 1]], dtype)
    np.testing.assert_allclose(xe.kl_div_with_logits(x, t, temperature=2.0), np.tanh(0.25) / 2,
                               rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("upstream", [1e-6, 10.0, 1e20])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("c", [2, 17, 200])
def test_forward_gradient_where_both_rows_are_sure(c, temperature, upstream, dtype, rng):
    """Of the same class, whose gradient is the difference of the two tails: below the normal range, and not after the
    multiplication."""
    n, (low, high) = 24, (50, 120) if dtype == np.float32 else (600, 750)
    x, t = rng.normal(0, temperature, (2, n, c))
    x[:, -1] = x.max(axis=1) + rng.uniform(low, high, n) * temperature
    t[:, -1] = t.max(axis=1) + rng.uniform(low, high, n) * temperature
    x, t = x.astype(dtype), t.astype(dtype)
    flow = np.full(n, upstream, dtype)
    grad = xe.kl_div_with_logits_backward(flow, x, t, temperature=temperature, reduction="none")
    exact = fast.exact("kl_div_with_logits", x, t, temperature=temperature)
    fast.assert_within(LIMIT, grad, *fast.gradient(exact, grad_output=flow.astype(np.float64)))


def test_terms_of_subnormal_target_probabilities(dtype, rng):
    """kl_div(log_target=True): t (log t - log p) of a subnormal t, or of t = 0, beside a log p of any size."""
    low, high = (-195, -60) if dtype == np.float32 else (-1460, -690)
    t = rng.uniform(low, high, 600).astype(dtype)
    x = -(10.0 ** rng.uniform(-3, np.log10(float(np.finfo(dtype).max)), 600)).astype(dtype)
    x[:200] = (t[:200] + rng.normal(0, 1, 200)).astype(dtype)
    x[200:210], t[210:220], x[215:220] = -np.inf, -np.inf, -np.inf
    loss = xe.kl_div(x, t, log_target=True, reduction="none")
    exact, scale, gradient = kl_div(x, t, log_target=True)
    oracle.assert_within(LIMIT, loss, exact, scale)
    for upstream in (1.0, 1e-9, 1e9):
        flow = np.full_like(x, upstream)
        grad = xe.kl_div_backward(flow, x, t, log_target=True, reduction="none")
        oracle.assert_within(LIMIT, grad, gradient * mpf(float(flow[0])))
