"""Weights of rows and of elements that are negative: the opposite of the result for the positive weight, to the bit.

So they have the accuracy of positive weights, which test_every_loss.py compares with exact numbers, for both signs.
"""

import numpy as np
import operations
import pytest
from operations import DRAW, may_be_negative, resolved
from support import assert_same_bits

import crossent as xe

SIGNED = [(form, next(name for name, kind in form.weights.items() if may_be_negative(name, kind)))
          for form in operations.FORMS if any(may_be_negative(*item) for item in form.weights.items())]
signed = pytest.mark.parametrize(("form", "name"), SIGNED, ids=str)
# Few classes, more than a pack, and several blocks, with lanes over rows and over classes.
SHAPES = ((40, 2), (9, 10), (20, 150), (3, 3000))


def arguments(form, rng, shape, dtype):
    """Confident rows and ordinary ones, with every option of the last case but the signed weight."""
    def array(kind):
        drawn = DRAW[kind](rng, *shape)
        return drawn if drawn.dtype.kind == "i" else drawn.astype(dtype)

    arrays = [array(kind) for kind in form.arrays.values()]
    if form.arrays[form.first] == operations.kinds.LOGITS:
        arrays[0][::2, 0] += 60  # the others have tails that are subnormal in float16, and nearly so in float32
    options = {**form.fixed, **resolved(form.last_case, lambda _, kind: array(kind))}
    return arrays, {**options, "reduction": "none"}


def negative_zero_is_zero(x):
    return x + 0


@signed
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_negative_weight_is_the_opposite(form, name, shape, dtype, rng):
    arrays, options = arguments(form, rng, shape, dtype)
    w = DRAW[form.weights[name]](rng, *shape).astype(dtype)
    sign = np.where(rng.random(w.shape) < 0.5, -1, 1).astype(dtype)
    loss, grad = form.function(*arrays, return_grad=True, **{**options, name: w})
    signed_loss, signed_grad = form.function(*arrays, return_grad=True, **{**options, name: sign * w})
    rows = sign.astype(loss.dtype)
    of_classes = sign if form.per_element else sign[:, None]
    assert_same_bits(negative_zero_is_zero(signed_loss), negative_zero_is_zero(rows * loss))
    assert_same_bits(negative_zero_is_zero(signed_grad), negative_zero_is_zero(of_classes * grad))
    g = rng.normal(0, 1, loss.shape)
    assert_same_bits(
        negative_zero_is_zero(form.backward(g, *arrays, **{**options, name: sign * w})),
        negative_zero_is_zero(of_classes * form.backward(g, *arrays, **{**options, name: w})))


@pytest.mark.parametrize("weight", [-1, -1.0, np.float32(-1), [-1.0, -1.0], np.full(1, -1.0)], ids=repr)
@signed
def test_negative_weight_of_every_spelling(form, name, weight, rng):
    arrays, options = arguments(form, rng, (2, 2), np.float64)
    for got, wanted in zip(form.function(*arrays, return_grad=True, **{**options, name: weight}),
                           form.function(*arrays, return_grad=True, **{**options, name: np.ones(2)}), strict=True):
        np.testing.assert_array_equal(got, -wanted)


@signed
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_mean_of_rows_whose_weights_sum_to_0(form, name, dtype, rng):
    """The denominator is 0: NaN, and no gradient. The binary losses divide by the number of elements."""
    arrays, options = arguments(form, rng, (4, 3), dtype)
    arrays = [np.ones_like(a) if a.dtype.kind == "i" else a for a in arrays]
    w = np.array([[0.1], [-0.1], [3], [-3]], dtype)
    w = w if form.per_element else w[:, 0]
    mean, grad = form.function(*arrays, return_grad=True, **{**options, name: w, "reduction": "mean"})
    if form.per_element:
        assert np.isfinite(mean) and grad.any()
        return
    assert np.isnan(mean)
    np.testing.assert_array_equal(grad, np.zeros((4, 3)))
    given, grad = form.function(
        *arrays, return_grad=True, **{**options, name: w, "reduction": "mean", "denominator": 2.0})
    assert np.isfinite(given) and grad.any()


def test_mean_over_a_negative_sum_of_weights():
    """As in every mean: the sum of v * loss over the sum of v."""
    x, target, v = np.array([[0.0, 1.0], [2.0, 0.5]]), [0, 1], np.array([1.0, -3.0])
    losses = xe.cross_entropy(x, target, reduction="none")
    mean = xe.cross_entropy(x, target, sample_weight=v)
    np.testing.assert_allclose(mean, (losses[0] - 3 * losses[1]) / -2, rtol=1e-15)


def test_policy_gradient():
    """Reinforce: the mean of advantage times -log p of the action is linear in the advantages."""
    rng = np.random.default_rng(5)
    logits, actions, advantages = rng.normal(size=(50, 4)), rng.integers(0, 4, 50), rng.normal(size=50)
    loss, grad = xe.cross_entropy(logits, actions, sample_weight=advantages, denominator=50, return_grad=True)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loss, np.mean(-advantages * np.log(p[np.arange(50), actions])), rtol=1e-13)
    np.testing.assert_allclose(grad, advantages[:, None] * (p - np.eye(4)[actions]) / 50, atol=1e-16)
