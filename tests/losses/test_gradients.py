"""A second opinion on the gradients: central differences in float64.

Accuracy itself is tested against exact arithmetic. A step of 2^-17 and values of order 1 leave an error of about 1e-9
here; a wrong formula leaves far more than the 1e-8 allowed.
"""

import numpy as np
import operations
import pytest
from operations import kinds

import crossent as xe

STEP = 2.0**-17
ROWS, CLASSES = 5, 4
TARGET = np.array([1, 2, 0, 3, 1])
LISTED = np.array([[1, 0, -1, -1], [2, -1, 2, -1], [-1, 3, 0, 1], [-1, -1, -1, 2], [3, 2, -1, -1]])
WEIGHTS = {kinds.PER_CLASS: np.array([0.5, 2.0, 1.0, 0.1]), kinds.PER_ROW: np.array([0.5, 2.0, 0.0, 0.3, 1.0]),
           kinds.PER_ELEMENT: np.array([0.1, 1.0, 3.0, 2.0]), kinds.TEMPERATURES: np.array([1.0, 0.5, 3.0, 2.0, 0.8])}


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
    return rng.normal(0, 1.5, (ROWS, CLASSES))


def arguments(form, x, rng):
    """x, and other arrays in which every derivative is moderate."""
    draw = {**dict.fromkeys((kinds.LOGITS, kinds.LOG_PROBABILITIES), lambda: rng.normal(0, 1.5, x.shape)),
            **dict.fromkeys((kinds.PROBABILITIES, kinds.FRACTIONS), lambda: rng.uniform(0.1, 0.9, x.shape)),
            kinds.CLASS_INDICES: lambda: TARGET, kinds.LISTED_CLASSES: lambda: LISTED,
            **dict.fromkeys((kinds.LISTED_LOG_PROBABILITIES, kinds.LISTED_LOGITS),
                            lambda: rng.uniform(-3, -1.5, x.shape))}
    first, *others = form.arrays.values()
    return 0.5 + np.tanh(x) / 4 if first == kinds.FRACTIONS else x, *(draw[kind]() for kind in others)


@pytest.mark.parametrize(("form", "case"), operations.CASES, ids=str)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean", "denominator"])
def test_losses(reduction, form, case, x, rng):
    x, *others = arguments(form, x, rng)
    options = {"reduction": reduction, **form.fixed,
               **operations.resolved(form.cases[case], lambda _, kind: WEIGHTS[kind])}
    if reduction == "denominator":
        options |= {"reduction": "mean", "denominator": 7.0}
    call = lambda v: form.function(v, *others, **options)
    upstream = rng.normal(0, 1, np.shape(call(x)))
    wanted = slope(lambda v: np.sum(upstream * call(v)), x)
    np.testing.assert_allclose(form.backward(upstream, x, *others, **options), wanted, atol=1e-8)
    fused = form.function(x, *others, return_grad=True, **options)[1]
    np.testing.assert_allclose(fused, slope(lambda v: np.sum(call(v)), x), atol=1e-8)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_softmax_and_log_softmax(temperature, axis, x, rng):
    g = rng.normal(0, 1, x.shape)
    for function, backward in ((xe.softmax, xe.softmax_backward), (xe.log_softmax, xe.log_softmax_backward)):
        wanted = slope(lambda v, f=function: np.sum(g * f(v, axis, temperature=temperature)), x)
        got = backward(g, function(x, axis, temperature=temperature), axis, temperature=temperature)
        np.testing.assert_allclose(got, wanted, atol=1e-8)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("option", [None, "temperature", "temperatures", "softcap", "logit_bias"])
def test_logsumexp(option, keepdims, axis, x, rng):
    value = {"temperature": 0.6, "temperatures": rng.uniform(0.5, 2, x.shape[1 - axis]), "softcap": 2.5,
             "logit_bias": rng.normal(0, 1, x.shape[axis])}.get(option)
    options = {} if value is None else {"temperature" if option == "temperatures" else option: value}
    call = lambda v: xe.logsumexp(v, axis, keepdims=keepdims, **options)
    g = rng.normal(0, 1, call(x).shape)
    wanted = slope(lambda v: np.sum(g * call(v)), x)
    np.testing.assert_allclose(xe.logsumexp_backward(g, x, axis, keepdims=keepdims, **options), wanted, atol=1e-8)
