"""distillation_loss: the identities of its ends, to the bit, and what its parts are divided by.

Accuracy, options, dtypes and layouts: test_every_loss.py.
"""

import numpy as np
import oracle
import oracle.parts
import pytest
from operations import FLOATS, exact
from operations.draws import CLASSES, ROWS, SAMPLE_WEIGHT, WEIGHT, some_probabilities
from support import assert_same_bits

import crossent as xe

LIMIT = 4
OPTIONS = {
    "plain": {}, "weight": {"weight": WEIGHT}, "sample_weight": {"sample_weight": SAMPLE_WEIGHT},
    "label_smoothing": {"label_smoothing": 0.1},
    "everything": {"weight": WEIGHT, "sample_weight": SAMPLE_WEIGHT, "label_smoothing": 0.1},
}


def batch(rng, dtype):
    x, t = (rng.normal(0, 3, (ROWS, CLASSES)).astype(dtype) for _ in range(2))
    return x, t, rng.integers(0, CLASSES, ROWS), some_probabilities(rng, dtype)


def assert_same(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("name", OPTIONS)
def test_alpha_0_is_cross_entropy(name, reduction, dtype, rng):
    x, t, y, q = batch(rng, dtype)
    y[3] = -100
    options = {"reduction": reduction, **OPTIONS[name]}
    for target, temperature in ((y, 3), (q, 3), (y, rng.uniform(0.5, 2, ROWS))):
        how = {"alpha": 0, "temperature": temperature, **options}
        assert_same(xe.distillation_loss(x, t, target, return_grad=True, **how),
                    xe.cross_entropy(x, target, return_grad=True, **options))
        g = rng.normal(0, 1, ROWS) if reduction == "none" else -1.5
        assert_same_bits(xe.distillation_loss_backward(g, x, t, target, **how),
                         xe.cross_entropy_backward(g, x, target, **options))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("divergence", ["forward", "reverse", "js"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_alpha_1_is_kl_div_with_logits(reduction, divergence, dtype, rng):
    """Times T^2 = 4 or 1/4, which is exact, or without; and alpha=None without a target is 1."""
    x, t, y, q = batch(rng, dtype)
    v = SAMPLE_WEIGHT
    for temperature in (2.0, 0.5, 1.0, 3.0):
        options = {"reduction": reduction, "sample_weight": v, "divergence": divergence, "temperature": temperature}
        kl = xe.kl_div_with_logits(x, t, return_grad=True, **options)
        calls = [{"target": y, "alpha": 1}, {"target": q, "alpha": 1.0}, {}, {"alpha": 1}]
        for call in calls:
            unscaled = {**options, "scale_by_temperature": False}
            assert_same(xe.distillation_loss(x, t, return_grad=True, **call, **unscaled), kl)
            if temperature != 3:
                loss, grad = xe.distillation_loss(x, t, return_grad=True, **call, **options)
                assert_same_bits(loss, kl[0] * kl[0].dtype.type(temperature**2))
                if grad.dtype not in oracle.parts.HALVES:  # there a subnormal may round before it is multiplied
                    assert_same_bits(grad, kl[1] * kl[1].dtype.type(temperature**2))


def test_alpha_is_a_half_with_a_target(dtype, rng):
    x, t, y, q = batch(rng, dtype)
    for target in (y, q):
        assert_same(xe.distillation_loss(x, t, target, return_grad=True),
                    xe.distillation_loss(x, t, target, alpha=0.5, return_grad=True))


def test_parts_have_their_own_denominators(dtype, rng):
    """The divergence is divided by the sum of v, cross-entropy by that of v w[y]; denominator= replaces both."""
    x, t, y, _ = batch(rng, dtype)
    y[2] = -100
    w, v = np.array(WEIGHT, dtype), np.linspace(0.5, 2, ROWS).astype(dtype)
    kl = xe.kl_div_with_logits(x.astype(np.float64), t.astype(np.float64), temperature=2.0, reduction="none")
    ce = xe.cross_entropy(x.astype(np.float64), y, reduction="none", weight=w, sample_weight=v)
    counted, vd = y != -100, v.astype(np.float64)
    d = (4 * vd * kl)[counted].sum()
    call = {"alpha": 0.25, "temperature": 2.0, "weight": w, "sample_weight": v}
    rtol = 8 * np.finfo(dtype).eps  # a few roundings of float64 here, 4 ulp there
    own = 0.25 * d / vd[counted].sum() + 0.75 * ce.sum() / (vd[counted] * w[y[counted]].astype(np.float64)).sum()
    np.testing.assert_allclose(xe.distillation_loss(x, t, y, **call), own, rtol=rtol)
    given = (0.25 * d + 0.75 * ce.sum()) / 5
    np.testing.assert_allclose(xe.distillation_loss(x, t, y, denominator=5, **call), given, rtol=rtol)


def test_ignored_rows_add_to_neither_term(dtype, rng):
    x, t, y, _ = batch(rng, dtype)
    y[[1, 4]] = -100
    keep = y != -100
    for reduction in ("sum", "mean"):
        loss, grad = xe.distillation_loss(x, t, y, reduction=reduction, return_grad=True)
        wanted, wanted_grad = xe.distillation_loss(x[keep], t[keep], y[keep], reduction=reduction, return_grad=True)
        # The same rows at other places of a float64 sum that is rounded once.
        np.testing.assert_allclose(loss, wanted, rtol=2 * np.finfo(dtype).eps)
        assert_same_bits(grad[keep], wanted_grad)
        assert not grad[~keep].any()


@pytest.mark.parametrize("temperature", [0.1, 20.0])
@pytest.mark.parametrize("divergence", ["forward", "reverse", "js"])
def test_temperatures(divergence, temperature, dtype, rng):
    x, t, y, _ = batch(rng, dtype)
    options = {"temperature": temperature, "divergence": divergence, "alpha": 0.7}
    parts = exact.distillation_loss(x, t, y, **options)
    loss, grad = xe.distillation_loss(x, t, y, reduction="none", return_grad=True, **options)
    oracle.assert_within(LIMIT, loss, *oracle.parts.value(parts, "none"))
    oracle.assert_within(2 * LIMIT, grad, *oracle.parts.gradient(parts, "none"))  # the sum of two gradients
