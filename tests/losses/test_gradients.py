"""A second opinion on the gradients: central differences in float64.

Accuracy itself is tested against exact arithmetic. A step of 2^-17 and values of order 1 leave an error of about 1e-9
here; a wrong formula leaves far more than the 1e-8 allowed.
"""

import numpy as np
import pytest

import crossent as xe

STEP = 2.0**-17
OPTIONS = {
    "plain": {},
    "weight": {"weight": [0.5, 2.0, 1.0, 0.1]},
    "sample_weight": {"sample_weight": [0.5, 2.0, 0.0]},
    "ignore_index": {"ignore_index": 3},
    "denominator": {"denominator": 7.0},
    "everything": {"weight": [0.5, 2.0, 1.0, 0.1], "sample_weight": [0.5, 2.0, 0.3], "ignore_index": 3},
}
TARGET = np.array([1, 3, 0])


def slope(function, x):
    """The gradient of a scalar function by central differences."""
    grad = np.empty_like(x)
    for position in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[position] += STEP
        down[position] -= STEP
        grad[position] = (function(up) - function(down)) / (2 * STEP)
    return grad


@pytest.fixture
def x(rng):
    return rng.normal(0, 1.5, (3, 4))


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("reduction", ("none", "sum", "mean"))
@pytest.mark.parametrize("smoothing", (None, 0.0, 0.2), ids=("nll_loss", "cross_entropy", "label_smoothing"))
def test_losses(smoothing, reduction, name, x):
    loss, extra = (xe.nll_loss, {}) if smoothing is None else (xe.cross_entropy, {"label_smoothing": smoothing})
    options = {"reduction": reduction, **OPTIONS[name], **extra}
    if reduction != "mean":
        options.pop("denominator", None)
    upstream = np.array([1.5, -0.5, 2.0]) if reduction == "none" else np.float64(-2.5)
    wanted = slope(lambda v: np.sum(upstream * loss(v, TARGET, **options)), x)
    backward = getattr(xe, loss.__name__ + "_backward")
    np.testing.assert_allclose(backward(upstream, x, TARGET, **options), wanted, atol=1e-8)
    fused = loss(x, TARGET, return_grad=True, **options)[1]
    np.testing.assert_allclose(fused, slope(lambda v: np.sum(loss(v, TARGET, **options)), x), atol=1e-8)


PAIRS = {
    "cross_entropy": (xe.cross_entropy, "probabilities",
                      {"weight": [0.5, 2.0, 1.0, 0.1], "sample_weight": [0.5, 2.0, 0.3], "label_smoothing": 0.2}),
    **{divergence: (xe.kl_div_with_logits, "teacher", {"divergence": divergence, "temperature": 1.7, "beta": 0.3,
                                                      "sample_weight": [0.5, 2.0, 0.3]})
       for divergence in ("forward", "reverse", "js")},
    "distillation_loss": (xe.distillation_loss, "teacher", {"temperature": 1.7, "ignore_index": 3, "alpha": 0.3,
                                                            "weight": [0.5, 2.0, 1.0, 0.1]}),
    "binary_cross_entropy": (xe.binary_cross_entropy, "probabilities", {"weight": [0.5, 2.0, 1.0, 0.1]}),
    "binary_cross_entropy_with_logits": (xe.binary_cross_entropy_with_logits, "probabilities", {
        "weight": [0.5, 2.0, 1.0, 0.1], "pos_weight": [0.1, 1.0, 3.0, 2.0], "label_smoothing": 0.2}),
    "kl_div": (xe.kl_div, "probabilities", {}), "kl_div rows": (xe.kl_div, "probabilities", {"axis": 1}),
    "kl_div log_target": (xe.kl_div, "teacher", {"log_target": True}),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("reduction", ("none", "sum", "mean"))
def test_losses_of_two_distributions(reduction, name, x, rng):
    loss, second, options = PAIRS[name]
    other = rng.uniform(0.1, 0.9, x.shape) if second == "probabilities" else rng.normal(0, 1.5, x.shape)
    if name == "binary_cross_entropy":
        x = 0.5 + np.tanh(x) / 4  # away from 0 and 1, where the derivatives grow
    positional = (x, other, TARGET) if name == "distillation_loss" else (x, other)
    call = lambda v, **more: loss(v, *positional[1:], reduction=reduction, **options, **more)
    upstream = rng.normal(0, 1, np.shape(call(x)))
    wanted = slope(lambda v: np.sum(upstream * call(v)), x)
    backward = getattr(xe, loss.__name__ + "_backward")
    np.testing.assert_allclose(backward(upstream, *positional, reduction=reduction, **options), wanted, atol=1e-8)
    fused = call(x, return_grad=True)[1]
    np.testing.assert_allclose(fused, slope(lambda v: np.sum(call(v)), x), atol=1e-8)


@pytest.mark.parametrize("axis", (0, 1))
@pytest.mark.parametrize("temperature", (1.0, 0.6))
def test_softmax_and_log_softmax(temperature, axis, x, rng):
    g = rng.normal(0, 1, x.shape)
    for function, backward in ((xe.softmax, xe.softmax_backward), (xe.log_softmax, xe.log_softmax_backward)):
        wanted = slope(lambda v, f=function: np.sum(g * f(v, axis, temperature=temperature)), x)
        got = backward(g, function(x, axis, temperature=temperature), axis, temperature=temperature)
        np.testing.assert_allclose(got, wanted, atol=1e-8)


@pytest.mark.parametrize("axis", (0, 1))
@pytest.mark.parametrize("keepdims", (False, True))
def test_logsumexp(keepdims, axis, x, rng):
    g = rng.normal(0, 1, xe.logsumexp(x, axis, keepdims=keepdims).shape)
    wanted = slope(lambda v: np.sum(g * xe.logsumexp(v, axis, keepdims=keepdims)), x)
    np.testing.assert_allclose(xe.logsumexp_backward(g, x, axis, keepdims=keepdims), wanted, atol=1e-8)
