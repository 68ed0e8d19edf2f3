"""The binary losses where they are known to go wrong: tails, certainties, weights of every shape.

Values: 4 ulp of the exact value, all terms being >= 0. Gradients: 4 ulp of the larger of their two terms. The options,
reductions, dtypes and layouts are in test_every_loss.py.
"""

import numpy as np
import oracle
import oracle.binary
import pytest
from mpmath import mp

import crossent as xe

LIMIT = 4
LARGEST = {np.float32: 100.0, np.float64: 740.0}  # at which exp(-x) is still representable

bce, bce_with_logits = xe.binary_cross_entropy, xe.binary_cross_entropy_with_logits


@pytest.mark.parametrize("y", [0.0, 1.0, 0.5, 1e-6, 0.999])
def test_logits_over_the_whole_range(y, dtype):
    """pytorch#195529, #195677: losses and gradients of confident logits are tiny, never a false 0."""
    x = np.linspace(-LARGEST[dtype], LARGEST[dtype], 801).astype(dtype)
    target = np.full_like(x, y)
    loss, grad = bce_with_logits(x, target, reduction="none", return_grad=True)
    exact, exact_grad, scale = oracle.binary.binary_cross_entropy_with_logits(x, target)
    oracle.assert_within(LIMIT, loss, exact)
    oracle.assert_within(LIMIT, grad, exact_grad, scale)
    assert (loss > 0).all()
    if y in (0, 1):
        assert (grad > 0).all() if y == 0 else (grad < 0).all()


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_random_logits_and_targets(size, dtype, rng):
    x, y = rng.normal(0, size, 600).astype(dtype), rng.uniform(0, 1, 600).astype(dtype)
    w, pw = (rng.uniform(0, 5, 600).astype(dtype) for _ in range(2))
    for e in (0.0, 1e-6, 0.3, 1.0):
        options = {"weight": w, "pos_weight": pw, "label_smoothing": e}
        loss, grad = bce_with_logits(x, y, reduction="none", return_grad=True, **options)
        exact, exact_grad, scale = oracle.binary.binary_cross_entropy_with_logits(x, y, **options)
        oracle.assert_within(LIMIT, loss, exact)
        oracle.assert_within(LIMIT, grad, exact_grad, scale)


@pytest.mark.parametrize("upstream", [1.0, 1 / 3, 3e4])
def test_coefficients_of_vanishing_terms(upstream, dtype):
    """exp(-|x|) alone is subnormal, or 0, where its product with the coefficients has digits: that is rounded once."""
    x = np.linspace(0.9, 1.1, 401) * LARGEST[dtype]
    x = np.concatenate([x, -x]).astype(dtype)
    y = (x > 0).astype(dtype)
    weight, pos_weight = dtype(2.9), dtype(1e6)
    options = {"weight": weight, "pos_weight": pos_weight}
    loss, grad = bce_with_logits(x, y, reduction="none", return_grad=True, **options)
    full = {name: np.full_like(x, v) for name, v in options.items()}
    exact, exact_grad, _ = oracle.binary.binary_cross_entropy_with_logits(x, y, **full)
    oracle.assert_within(LIMIT, loss, exact)
    oracle.assert_within(LIMIT, grad, exact_grad)
    flow = dtype(upstream)
    grad = xe.binary_cross_entropy_with_logits_backward(np.full_like(x, flow), x, y, reduction="none", **options)
    oracle.assert_within(LIMIT, grad, exact_grad * mp.mpf(float(flow)))


def near_0_and_1(dtype):
    """Every size of p and of 1 - p the dtype has."""
    info = np.finfo(dtype)
    small = 2.0 ** np.linspace(info.minexp, -1, 120)
    beside_1 = 1 - 2.0 ** np.linspace(-info.nmant - 1, -1, 120)
    least = float(info.smallest_subnormal)
    return np.concatenate([small, beside_1, [least, 7 * least]]).astype(dtype)


@pytest.mark.parametrize("y", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("floor", [-100.0, None, -1e6, -0.5])
def test_probabilities_near_0_and_1(floor, y, dtype):
    p = near_0_and_1(dtype)
    target = np.full_like(p, y)
    loss, grad = bce(p, target, log_floor=floor, reduction="none", return_grad=True)
    exact, exact_grad, scale = oracle.binary.binary_cross_entropy(p, target, None, floor)
    oracle.assert_within(LIMIT, loss, exact)
    oracle.assert_within(LIMIT, grad, exact_grad, scale)


def test_random_probabilities_and_targets(dtype, rng):
    p, y = rng.uniform(0, 1, 1200).astype(dtype), rng.uniform(0, 1, 1200).astype(dtype)
    w = rng.uniform(0, 5, 1200).astype(dtype)
    loss, grad = bce(p, y, weight=w, reduction="none", return_grad=True)
    exact, exact_grad, scale = oracle.binary.binary_cross_entropy(p, y, w)
    oracle.assert_within(LIMIT, loss, exact)
    oracle.assert_within(LIMIT, grad, exact_grad, scale)


def test_gradient_beside_quotients_beyond_the_range(dtype):
    """y / p and 1 / p may overflow where a coefficient or a tiny y brings the gradient back; else it is inf."""
    info = np.finfo(dtype)
    least, normal = float(info.smallest_subnormal), float(info.tiny)
    p, y, w = (a.ravel() for a in np.meshgrid(
        np.array([least, 7 * least, normal / 3, normal, 2.0 ** (info.minexp / 2), 0.25], dtype),
        np.array([0, least, normal, 2.0 ** (info.minexp // 2), 0.3, 1], dtype),
        np.array([0, 2.0 ** (info.minexp // 4), 1, 1000], dtype)))
    _, exact_grad, scale = oracle.binary.binary_cross_entropy(p, y, w)
    for upstream in (2.0**-30, 1.0, 2.0**20):
        grad = xe.binary_cross_entropy_backward(upstream, p, y, weight=w, reduction="sum")
        oracle.assert_within(LIMIT, grad, exact_grad * upstream, scale * upstream)
    grad = bce(p, y, weight=w, denominator=2.0**30, return_grad=True)[1]
    oracle.assert_within(LIMIT, grad, exact_grad / 2**30, scale / 2**30)


def test_the_floor_is_pytorch_s(dtype):
    """Each logarithm is floored at -100; the gradient is that of the loss without a floor, which PyTorch clamps."""
    p, y = np.array([0, 1, 0, 1], dtype), np.array([1, 0, 0.25, 0.25], dtype)
    np.testing.assert_array_equal(bce(p, y, reduction="none"), [100, 100, 25, 75])
    np.testing.assert_array_equal(bce(p, y, reduction="none", log_floor=-8), [8, 8, 2, 6])
    np.testing.assert_array_equal(bce(p, y, reduction="none", log_floor=None), [np.inf] * 4)
    for floor in (-100.0, None):
        grad = bce(p, y, log_floor=floor, return_grad=True, reduction="none")[1]
        np.testing.assert_array_equal(grad, [-np.inf, np.inf, -np.inf, np.inf])


def test_gradient_of_a_certainty_that_is_right(dtype):
    """0/0 = 0: of the two terms one is left, 1."""
    p = np.array([0, 1], dtype)
    loss, grad = bce(p, p.copy(), reduction="none", return_grad=True)
    np.testing.assert_array_equal(loss, [0, 0])
    np.testing.assert_array_equal(grad, [1, -1])


def test_the_two_losses_agree(dtype, rng):
    """Up to the rounding of the probability, whose relative size in 1 - p is 1 / (1 - p) half units at most."""
    x, y = rng.uniform(-2, 2, 500).astype(dtype), rng.uniform(0, 1, 500).astype(dtype)
    p = (1 / (1 + np.exp(-x.astype(np.longdouble)))).astype(dtype)
    np.testing.assert_allclose(bce(p, y, reduction="none"), bce_with_logits(x, y, reduction="none"),
                               rtol=16 * np.finfo(dtype).eps)


def test_is_the_cross_entropy_of_two_classes(dtype, rng):
    """A logit x against 0: 4 ulp each."""
    x, y = rng.normal(0, 5, 300).astype(dtype), rng.integers(0, 2, 300)
    two = np.stack([np.zeros_like(x), x], axis=1)
    np.testing.assert_allclose(bce_with_logits(x, y, reduction="none"), xe.cross_entropy(two, y, reduction="none"),
                               rtol=2 * LIMIT * np.finfo(dtype).eps)


@pytest.mark.parametrize("kind", "?bhilqBHILQ")
def test_targets_of_integers_and_bool(kind, dtype, rng):
    x, y = rng.normal(0, 2, (7, 5)).astype(dtype), rng.integers(0, 2, (7, 5))
    p = rng.uniform(0.1, 0.9, (7, 5)).astype(dtype)
    for function, first in ((bce, p), (bce_with_logits, x)):
        wanted = function(first, y.astype(dtype), return_grad=True)
        got = function(first, y.astype(kind), return_grad=True)
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1], wanted[1])
        assert function(first, y.astype(kind).tolist()) == wanted[0]


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (2, 1, 1), (1, 3, 4), (2, 3, 4)], ids=str)
def test_weights_are_broadcast(shape, dtype, rng):
    x, y = rng.normal(0, 2, (2, 3, 4)).astype(dtype), rng.uniform(0, 1, (2, 3, 4)).astype(dtype)
    p, w = rng.uniform(0.1, 0.9, (2, 3, 4)).astype(dtype), np.asarray(rng.uniform(0.5, 2, shape), dtype)
    full = np.broadcast_to(w, (2, 3, 4)).copy()
    for function, first, name in ((bce, p, "weight"), (bce_with_logits, x, "weight"),
                                  (bce_with_logits, x, "pos_weight")):
        for reduction in ("none", "mean"):
            got = function(first, y, reduction=reduction, return_grad=True, **{name: w})
            wanted = function(first, y, reduction=reduction, return_grad=True, **{name: full})
            np.testing.assert_array_equal(got[0], wanted[0])
            np.testing.assert_array_equal(got[1], wanted[1])


def test_mean_divides_by_the_element_count(dtype):
    """As PyTorch: weights never enter the denominator."""
    x, y = np.zeros((2, 3), dtype), np.ones((2, 3), dtype)
    w = np.array([1, 2, 6], dtype)
    oracle.assert_within(LIMIT, bce_with_logits(x, y, weight=w), 3 * mp.log(2))
    oracle.assert_within(LIMIT, bce_with_logits(x, y, pos_weight=w), 3 * mp.log(2))
    oracle.assert_within(LIMIT, bce(x + dtype(0.5), y, weight=w), 3 * mp.log(2))
    oracle.assert_within(LIMIT, bce_with_logits(x, y, weight=w, denominator=2.0), 9 * mp.log(2))


def test_one_number(dtype):
    """0-d logits: a loss like any other."""
    for reduction in ("none", "sum", "mean"):
        loss, grad = bce_with_logits(dtype(0), 1, reduction=reduction, return_grad=True)
        assert isinstance(loss, np.floating)
        assert loss.dtype == dtype
        oracle.assert_within(LIMIT, loss, mp.log(2))
        assert np.shape(grad) == ()
        assert grad == -0.5
    assert bce(dtype(1), 1) == 0


@pytest.mark.parametrize("elements", [1000, 100_000])
def test_reductions_round_once(elements, dtype):
    """However many elements: float32 additions of 100,000 equal numbers would be off by hundreds of ulp."""
    x, y = np.zeros(elements, dtype), np.zeros(elements, dtype)
    oracle.assert_within(LIMIT, bce_with_logits(x, y, reduction="sum"), elements * mp.log(2))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 1023, 1025, 40_000])
def test_weights_of_one_change_no_bit(size, order, dtype, rng):
    """Calls without weights have a kernel of their own."""
    x = rng.normal(0, 20, (size, 2)).astype(dtype, order=order)
    y = rng.uniform(0, 1, (size, 2)).astype(dtype, order=order)
    x[::7], y[::5], y[::9], x[::31] = 0, 0, 1, -np.inf
    for reduction in ("none", "mean"):
        options = {"reduction": reduction, "return_grad": True}
        wanted = bce_with_logits(x, y, **options)
        for name in ("weight", "pos_weight"):
            for got, want in zip(bce_with_logits(x, y, **{name: 1.0}, **options), wanted, strict=True):
                assert got.tobytes() == want.tobytes()
