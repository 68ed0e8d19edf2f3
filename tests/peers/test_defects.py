"""Defects reported to other libraries: what their release does, and that crossent does right.

STATE says for each whether the releases of requirements.txt are "wrong" or "right". A test fails when that changes:
then write the release that fixed it there.
"""

import contextlib
import math

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
import torch
import torch.nn.functional as F
from scipy import special

import crossent as xe

STATE = {
    "pytorch#113708": "wrong",  # log_softmax: a small loss becomes 0
    "pytorch#195678": "wrong",  # cross_entropy: a small gradient becomes 0
    "pytorch#195529": "wrong",  # BCE with logits: the tail of one of two symmetric cases
    "pytorch#195677": "wrong",  # the same, its gradient
    "pytorch#135359": "wrong",  # BCE with logits at -inf
    "pytorch#102894": "wrong",  # BCE with logits at +inf
    "pytorch#11551": "wrong",  # ignored rows of -inf logits give NaN gradients
    "pytorch#85791": "wrong",  # float16: the mean overflows
    "pytorch#80488": "wrong",  # negative KL divergence of equal rows
    "pytorch#134767": "wrong",  # a negative label_smoothing is taken for 0
    "pytorch#110865": "wrong",  # BCE with logits takes targets outside [0, 1]
    "pytorch#49724": "wrong",  # gradient of logsumexp where all is -inf
    "jax#6811": "wrong",  # the same
    "scipy#19521": "wrong",  # log_softmax: a small value becomes 0
    "optax#1020": "wrong",  # bfloat16 logits: the loss is rounded to bfloat16
    "optax#1786": "wrong",  # KL: target 0 on log-probability -inf is NaN
}
INF = math.inf


def theirs(number, right):
    assert bool(right) == (STATE[number] != "wrong"), f"{number} has changed: update STATE"


def softplus(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def close(actual, wanted, dtype):
    np.testing.assert_allclose(np.asarray(actual, np.float64), wanted, rtol=4 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize(("dtype", "gap"), [(np.float32, 17.), (np.float32, 80.), (np.float64, 37.5), (float, 700.)])
def test_log_softmax_of_a_confident_row_is_not_0(dtype, gap):
    x, wanted = np.array([gap, 0], dtype), -softplus(-gap)
    theirs("pytorch#113708", F.log_softmax(torch.tensor(x), 0)[0] == dtype(wanted))
    theirs("scipy#19521", special.log_softmax(x)[0] == dtype(wanted))
    close(xe.log_softmax(x)[0], wanted, dtype)
    close(xe.cross_entropy(x, 0), -wanted, dtype)


def test_gradient_of_a_confident_row_is_not_0():
    x = np.array([[37.42994775023705, 0.0]])
    z = torch.tensor(x, requires_grad=True)
    F.cross_entropy(z, torch.tensor([0])).backward()
    wanted = 1 / (1 + math.exp(x[0, 0]))
    theirs("pytorch#195678", math.isclose(z.grad[0, 0], -wanted, rel_tol=1e-12))
    _, grad = xe.cross_entropy(x, np.array([0]), return_grad=True)
    close(grad[0], [-wanted, wanted], np.float64)


@pytest.mark.parametrize(("dtype", "x"), [(np.float64, 40.0), (np.float64, 37.42994775023705), (np.float32, 20.0)])
def test_bce_tails_are_symmetric(dtype, x):
    value, slope = softplus(-float(dtype(x))), 1 / (1 + math.exp(dtype(x)))
    z = torch.tensor(np.array([x, -x], dtype), requires_grad=True)
    y = torch.tensor(np.array([1, 0], dtype))
    loss = F.binary_cross_entropy_with_logits(z, y, reduction="none")
    loss.sum().backward()
    theirs("pytorch#195529", np.allclose(loss.detach(), value, rtol=1e-6, atol=0))
    theirs("pytorch#195677", np.allclose(z.grad, [-slope, slope], rtol=1e-6, atol=0))
    ours, grad = xe.binary_cross_entropy_with_logits(
        np.array([x, -x], dtype), np.array([1, 0], dtype), reduction="none", return_grad=True)
    close(ours, value, dtype)
    close(grad, [-slope, slope], dtype)
    assert ours[0] == ours[1]
    assert grad[0] == -grad[1]


@pytest.mark.parametrize(("x", "y", "wanted"), [(INF, 0., INF), (INF, 1., 0.), (-INF, 0., 0.), (-INF, 1., INF),
                                                (-INF, .9, INF), (INF, .9, INF)])
def test_bce_at_infinite_logits(x, y, wanted):
    value = F.binary_cross_entropy_with_logits(torch.tensor(x), torch.tensor(y))
    if (x, y) not in ((INF, 0.), (INF, .9)):  # these two are right
        theirs("pytorch#135359" if x < 0 else "pytorch#102894", value == wanted)
    assert xe.binary_cross_entropy_with_logits(np.array([x]), np.array([y])) == wanted


@pytest.mark.parametrize("bad", [-INF, INF, math.nan])
def test_gradient_of_an_ignored_row_is_0(bad):
    x = np.array([[bad, bad, bad], [1., 2., 3.]], np.float32)
    z = torch.tensor(x, requires_grad=True)
    F.cross_entropy(z, torch.tensor([-100, 1])).backward()
    theirs("pytorch#11551", torch.all(z.grad[0] == 0))
    loss, grad = xe.cross_entropy(x, np.array([-100, 1]), return_grad=True)
    np.testing.assert_array_equal(grad[0], 0)
    close(loss, math.log(math.e**-1 + 1 + math.e), np.float32)


@pytest.mark.parametrize("shape", [(20, 100, 1025), (20500, 100)])
def test_float16_mean_does_not_overflow(shape, rng):
    x = rng.random(shape).astype(np.float16)
    y = rng.integers(0, 100, shape[:1] + shape[2:])
    value = F.cross_entropy(torch.tensor(x), torch.tensor(y)).item()
    wanted = F.cross_entropy(torch.tensor(x).double(), torch.tensor(y)).item()
    theirs("pytorch#85791", math.isclose(value, wanted, rel_tol=1e-3))
    close(xe.cross_entropy(x, y), wanted, np.float32)


def test_float16_many_classes_do_not_overflow():
    x = np.zeros((1, 70_000), np.float16)
    value = F.cross_entropy(torch.tensor(x), torch.tensor([0])).item()
    theirs("pytorch#85791", math.isclose(value, math.log(70_000), rel_tol=1e-3))
    close(xe.cross_entropy(x, np.array([0])), math.log(70_000), np.float32)


def test_kl_divergence_of_equal_rows_is_0():
    x = np.array([[1., 2., 3.], [5., 5., 5.]], np.float32)
    z = torch.tensor(x)
    theirs("pytorch#80488", F.kl_div(F.log_softmax(z, 1), F.softmax(z, 1), reduction="sum") >= 0)
    for divergence in ("forward", "reverse", "js"):
        loss, grad = xe.kl_div_with_logits(x, x, divergence=divergence, reduction="none", return_grad=True)
        np.testing.assert_array_equal(loss, 0)
        np.testing.assert_array_equal(grad, 0)


def test_kl_divergence_of_nearly_equal_rows_is_positive(rng):
    x = rng.normal(size=(2000, 10)).astype(np.float32)
    z = (x + rng.normal(size=x.shape) * 1e-5).astype(np.float32)
    a, b = torch.tensor(x), torch.tensor(z)
    kl = F.kl_div(F.log_softmax(a, 1), F.log_softmax(b, 1), log_target=True, reduction="none").sum(1)
    theirs("pytorch#80488", torch.all(kl >= 0))
    assert np.all(xe.kl_div_with_logits(x, z, reduction="none") > 0)


@pytest.mark.parametrize("smoothing", [-3.0, -1e-9])
def test_negative_label_smoothing_is_refused(smoothing):
    value = None
    with contextlib.suppress(RuntimeError):
        value = F.cross_entropy(torch.tensor([[1., 2.]]), torch.tensor([0]), label_smoothing=smoothing)
    theirs("pytorch#134767", value is None)
    with pytest.raises(ValueError, match="label_smoothing"):
        xe.cross_entropy(np.array([[1., 2.]]), np.array([0]), label_smoothing=smoothing)


@pytest.mark.parametrize("y", [2.0, -0.5])
def test_bce_targets_outside_the_unit_interval_are_refused(y):
    value = None
    with contextlib.suppress(RuntimeError):
        value = F.binary_cross_entropy_with_logits(torch.tensor([.5]), torch.tensor([y]))
    theirs("pytorch#110865", value is None)
    for loss in (xe.binary_cross_entropy_with_logits, xe.binary_cross_entropy):
        with pytest.raises(ValueError, match="target"):
            loss(np.array([.5]), np.array([y]))


def test_gradient_of_logsumexp_where_all_is_minus_infinity():
    x = np.array([-INF, -INF])
    z = torch.tensor(x, requires_grad=True)
    torch.logsumexp(z, 0).backward()
    theirs("pytorch#49724", torch.all(z.grad == 0))
    theirs("jax#6811", jnp.all(jax.grad(jax.nn.logsumexp)(jnp.asarray(x)) == 0))
    assert xe.logsumexp(x) == -INF
    np.testing.assert_array_equal(xe.logsumexp_backward(1.0, x), 0)


def test_loss_of_bfloat16_logits_is_not_quantised(rng):
    x = rng.normal(size=(50, 100)).astype(ml_dtypes.bfloat16)
    y = rng.integers(0, 100, 50)
    wide = np.asarray(optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(x.astype(np.float64)), y))
    value = np.asarray(optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(x), y)).astype(np.float64)
    theirs("optax#1020", np.allclose(value, wide, rtol=1e-4, atol=0))
    ours = xe.cross_entropy(x, y, reduction="none")
    assert ours.dtype == np.float32
    close(ours, wide, np.float32)


def test_kl_divergence_where_the_target_is_0():
    lp, t = np.array([-.5, -1., -INF]), np.array([.4, .6, 0.])
    theirs("optax#1786", jnp.isfinite(optax.losses.kl_divergence(jnp.asarray(lp), jnp.asarray(t))))
    lt = np.array([math.log(.4), math.log(.6), -INF])
    theirs("optax#1786", jnp.isfinite(optax.losses.kl_divergence_with_log_targets(jnp.asarray(lp), jnp.asarray(lt))))
    wanted = .4 * (math.log(.4) + .5) + .6 * (math.log(.6) + 1)
    for target, log_target in ((t, False), (lt, True)):
        loss, grad = xe.kl_div(lp, target, log_target=log_target, reduction="sum", return_grad=True)
        assert math.isclose(loss, wanted, rel_tol=1e-13)
        np.testing.assert_allclose(grad, -t, rtol=1e-15)
