"""The temperature of cross_entropy: the losses of x / T and their derivatives in x, without the rounding of x / T.

4 ulp of the exact value, and of the larger of the two terms of a gradient, as without a temperature
(test_cross_entropy.py).
"""

import distributions
import fast
import numpy as np
import pytest
from operations.draws import SAMPLE_WEIGHT, WEIGHT
from support import ALL, assert_same_bits

import crossent as xe

TEMPERATURES = (0.1, 1 / 3, 0.5, 0.7, 2.0, 3, 100.0)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("draw", [draw for draw in distributions.ALL if draw is not distributions.wide],
                         ids=lambda f: f.__name__)  # over a small T their losses overflow
def test_class_indices(draw, temperature, dtype, rng):
    for n, c in ((60, 2), (40, 7), (24, 17), (8, 200), (2, 1025)) if ALL else ((12, 2), (10, 7), (6, 17), (1, 300)):
        x = draw(rng, n, c, dtype)
        target = rng.integers(0, c, n)
        target[::2] = x[::2].argmax(axis=1)
        if draw is distributions.masked:
            target[np.isneginf(x[np.arange(n), target])] = 0
        options = {"temperature": temperature}
        loss, grad = xe.cross_entropy(x, target, reduction="none", return_grad=True, **options)
        fast.assert_exact(loss, grad, fast.exact("cross_entropy", x, target, **options))


@pytest.mark.parametrize("options", [
    {"label_smoothing": 0.1}, {"z_loss": 0.5}, {"label_smoothing": 0.1, "z_loss": 1e-4},
    {"weight": WEIGHT, "sample_weight": SAMPLE_WEIGHT, "label_smoothing": 0.3}], ids=lambda o: "-".join(o))
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("probabilities", [False, True])
def test_options(probabilities, temperature, options, dtype, rng):
    for draw in (distributions.normal, distributions.confident, distributions.large_offset):
        x = draw(rng, 12, 9, dtype)
        target = rng.dirichlet(np.ones(9), 12).astype(dtype) if probabilities else rng.integers(0, 9, 12)
        full = {**options, "temperature": temperature}
        loss, grad = xe.cross_entropy(x, target, reduction="none", return_grad=True, **full)
        fast.assert_exact(loss, grad, fast.exact("cross_entropy", x, target, **full))


@pytest.mark.parametrize("classes", [5, 400, 3000])
@pytest.mark.parametrize("target", ["indices", "probabilities", "smoothed"])
def test_same_bits_in_every_orientation_and_from_backward(target, classes, dtype, rng):
    x = rng.normal(0, 4, (20, classes)).astype(dtype)
    y = rng.integers(0, classes, 20) if target != "probabilities" else rng.dirichlet(np.ones(classes), 20).astype(dtype)
    options = {"temperature": 0.7, "reduction": "none", "label_smoothing": 0.1 * (target == "smoothed")}
    loss, grad = xe.cross_entropy(x, y, return_grad=True, **options)
    assert_same_bits(xe.cross_entropy(x, y, **options), loss)
    assert_same_bits(xe.cross_entropy_backward(np.ones(20), x, y, **options), grad)
    moved = np.asfortranarray(x)
    again, same = xe.cross_entropy(moved, y, return_grad=True, **options)
    assert_same_bits(again, loss)
    assert_same_bits(same, grad)
    huge = xe.cross_entropy_backward(np.full(20, 2.0**110), x, y, **options)  # too large for cached exponentials
    assert_same_bits(huge, grad * dtype(2.0**110))


def test_temperature_of_1_has_the_bits_without_it(dtype, rng):
    for classes in (2, 10, 200, 3000):
        x, y = rng.normal(0, 4, (20, classes)).astype(dtype), rng.integers(0, classes, 20)
        for options in ({}, {"label_smoothing": 0.1, "z_loss": 0.5}):
            for one in (1, np.float32(1)):
                for got, wanted in zip(xe.cross_entropy(x, y, temperature=one, return_grad=True, **options),
                                       xe.cross_entropy(x, y, return_grad=True, **options), strict=True):
                    assert_same_bits(got, wanted)


@pytest.mark.parametrize("temperature", [1e-300, 1e-60, 1e-30, 1e30, 1e60, 1e300])
@pytest.mark.parametrize("copies", [1, 100])
def test_extreme_temperatures(copies, temperature, dtype):
    """The limits: the loss is that of the argmax, or of the uniform distribution; the gradient is over T."""
    x = np.array([[0, 1, 2], [2, 0, 1]], dtype)
    if copies > 1:  # rows of more classes, the others masked
        x = np.pad(x, ((0, 0), (0, 3 * copies - 3)), constant_values=-np.inf)
    loss, grad = xe.cross_entropy(x, [2, 0], temperature=temperature, reduction="none", return_grad=True)
    assert (grad[:, 3:] == 0).all()
    grad = grad[:, :3]
    if temperature < 1:
        np.testing.assert_array_equal(loss, [0, 0])
        np.testing.assert_array_equal(grad, np.zeros((2, 3)))
    else:
        np.testing.assert_allclose(loss, np.log(3), rtol=1e-6)
        np.testing.assert_allclose(grad, (1 / 3 - np.eye(3)[[2, 0]]) / temperature, rtol=1e-5, atol=1e-44)


def test_masked_class():
    x = np.array([[1.0, -np.inf, 0.5]])
    loss, grad = xe.cross_entropy(x, [1], temperature=2.0, reduction="none", return_grad=True)
    assert loss[0] == np.inf
    assert grad[0, 1] == -0.5
    assert np.isfinite(xe.cross_entropy(x, [0], temperature=2.0))
    assert np.isfinite(xe.cross_entropy(x, [[0.5, 0.0, 0.5]], temperature=2.0))
