"""The intended differences of explanation/differences.md, one test each: what the other library gives and what ours."""

import math
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
import torch.nn.functional as F
from scipy import special, stats
from scipy.spatial.distance import jensenshannon
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import crossent as xe
import crossent.jax as xj
from crossent import information
from crossent.sklearn import TemperatureScaling

INF = math.inf
X = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
Y = np.array([1, 0])


def torch_grad(loss, x, *args, **options):
    z = torch.tensor(x, requires_grad=True)
    loss(z, *map(torch.as_tensor, args), **options).backward()
    return z.grad.numpy()


def test_each_row_of_the_page_has_its_test():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "explanation" / "differences.md").read_text(encoding="utf-8")
    named = re.findall(r"\| `(\w+)` \|$", page, flags=re.MULTILINE)
    assert sorted(named) == sorted(name.removeprefix("test_") for name in globals()
                                   if name.startswith("test_") and "page" not in name)


# ---- PyTorch ---------------------------------------------------------------------------------------------------------

def test_bce_gradient():
    p, y = np.array([0.0, 1e-20, 0.0]), np.array([1.0, 1.0, 0.0])
    np.testing.assert_allclose(torch_grad(F.binary_cross_entropy, p, y, reduction="sum"), [-1e12, -1e12, 0])
    _, grad = xe.binary_cross_entropy(p, y, reduction="sum", return_grad=True)
    np.testing.assert_allclose(grad, [-INF, -1e20, 1])


def test_bce_log_floor():
    p, y = np.array([1e-60]), np.array([1.0])
    assert F.binary_cross_entropy(torch.tensor(p), torch.tensor(y)) == 100 == xe.binary_cross_entropy(p, y)
    assert math.isclose(xe.binary_cross_entropy(p, y, log_floor=None), 60 * math.log(10))


def test_kl_div_reduction():
    lp, t = np.log([[0.5, 0.5], [0.9, 0.1]]), np.array([[0.2, 0.8], [0.3, 0.7]])
    total = xe.kl_div(lp, t, reduction="sum")
    assert math.isclose(F.kl_div(torch.tensor(lp), torch.tensor(t)), total / 4, rel_tol=1e-14)
    assert math.isclose(xe.kl_div(lp, t), total / 2, rel_tol=1e-14)


def test_kl_div_targets():
    lp, t = np.array([-1.0, -1.0]), np.array([-0.5, 2.0])
    value = F.kl_div(torch.tensor(lp), torch.tensor(t), reduction="none")
    assert torch.isnan(value[0])
    assert value[1] > 0
    for bad in t:
        with pytest.raises(ValueError, match="target"):
            xe.kl_div(lp[:1], np.array([bad]))


def test_label_smoothing_range():
    assert F.cross_entropy(torch.tensor(X), torch.tensor(Y), label_smoothing=-3.0) == F.cross_entropy(
        torch.tensor(X), torch.tensor(Y))
    with pytest.raises(ValueError, match="label_smoothing"):
        xe.cross_entropy(X, Y, label_smoothing=-3.0)


def test_target_range():
    y = np.array([[-1.0, 3.0, 0.0], [0.0, 0.0, 1.0]])
    assert F.cross_entropy(torch.tensor(X), torch.tensor(y)) < 3
    assert F.binary_cross_entropy_with_logits(torch.tensor([0.5]), torch.tensor([2.0])) < 0
    with pytest.raises(ValueError, match="target"):
        xe.cross_entropy(X, y)
    with pytest.raises(ValueError, match="target"):
        xe.binary_cross_entropy_with_logits(np.array([0.5]), np.array([2.0]))


def test_negative_class_weights():
    w = np.array([-1.0, 1.0, 1.0])
    assert F.cross_entropy(torch.tensor(X), torch.tensor(Y), weight=torch.tensor(w), reduction="sum") < 0
    with pytest.raises(ValueError, match="weight"):
        xe.cross_entropy(X, Y, weight=w)


def test_rows_that_do_not_count():
    x, w = np.array([[1.0, 2.0], [INF, 1.0]]), np.array([1.0, 0.0])
    ignored, weightless = np.array([0, -100]), np.array([0, 1])
    assert np.isnan(torch_grad(F.cross_entropy, x, ignored)[1]).all()
    assert torch.isnan(F.cross_entropy(torch.tensor(x), torch.tensor(weightless), weight=torch.tensor(w)))
    wanted = math.log1p(math.e)
    for loss, grad in (xe.cross_entropy(x, ignored, return_grad=True),
                       xe.cross_entropy(x, weightless, weight=w, return_grad=True)):
        assert math.isclose(loss, wanted, rel_tol=1e-15)
        np.testing.assert_array_equal(grad[1], 0)


def test_mean_over_nothing():
    w = np.zeros(3)
    assert np.isnan(torch_grad(F.cross_entropy, X, Y, weight=torch.tensor(w))).any()
    loss, grad = xe.cross_entropy(X, Y, weight=w, return_grad=True)
    assert np.isnan(loss)
    np.testing.assert_array_equal(grad, 0)
    assert torch.isnan(F.cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)))
    empty = np.zeros((0, 3)), np.zeros(0, int)
    assert np.isnan(xe.cross_entropy(*empty))
    assert xe.cross_entropy(*empty, denominator=4.0) == 0


def test_masked_class_of_probability_0():
    x, q = np.array([[1.0, -INF, 1.0]]), np.array([[0.5, 0.0, 0.5]])
    assert torch.isnan(F.cross_entropy(torch.tensor(x), torch.tensor(q)))
    assert jnp.isnan(optax.softmax_cross_entropy(jnp.asarray(x), jnp.asarray(q))).all()
    loss, grad = xe.cross_entropy(x, q, return_grad=True)
    assert math.isclose(loss, math.log(2), rel_tol=1e-15)
    assert grad[0, 1] == 0
    np.testing.assert_allclose(grad, 0, atol=1e-16)
    assert math.isclose(information.entropy_with_logits(x[0]), math.log(2), rel_tol=1e-15)


def test_ignore_index_with_probabilities():
    q = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert F.cross_entropy(torch.tensor(X), torch.tensor(q), ignore_index=-1) == F.cross_entropy(
        torch.tensor(X), torch.tensor(q))
    with pytest.raises(ValueError, match="ignore_index"):
        xe.cross_entropy(X, q, ignore_index=-1)


def test_half_precision_losses():
    x = X.astype(np.float16)
    assert F.cross_entropy(torch.tensor(x), torch.tensor(Y)).dtype == torch.float16
    loss, grad = xe.cross_entropy(x, Y, return_grad=True)
    assert loss.dtype == np.float32
    assert grad.dtype == np.float16
    assert torch.logsumexp(torch.tensor(x), 1).dtype == torch.float16
    assert xe.logsumexp(x).dtype == np.float32


def test_target_dtypes():
    for dtype in (np.int8, np.int32, np.uint64):
        with pytest.raises(RuntimeError, match="expected"):
            F.cross_entropy(torch.tensor(X), torch.tensor(Y.astype(dtype)))
        assert xe.cross_entropy(X, Y.astype(dtype)) == xe.cross_entropy(X, Y)
    with pytest.raises(IndexError):
        xe.cross_entropy(X, np.array([1, 2**64 - 100], np.uint64))
    y = np.array([1, 255], np.uint8)
    assert xe.cross_entropy(X, y, ignore_index=255) == xe.cross_entropy(X[:1], Y[:1])


def test_class_axis():
    x, y = np.stack([X, 2 * X]), np.array([[1, 0], [2, 2]])  # (batch, time, classes)
    with pytest.raises(RuntimeError):
        F.cross_entropy(torch.tensor(x), torch.tensor(y[:, :1]))
    wanted = F.cross_entropy(torch.tensor(x).transpose(1, 2), torch.tensor(y))
    assert math.isclose(xe.cross_entropy(x, y, axis=-1), wanted, rel_tol=1e-14)


# ---- JAX and optax ---------------------------------------------------------------------------------------------------

def test_class_indices_out_of_range():
    x = jnp.asarray(X[:1])
    loss = optax.softmax_cross_entropy_with_integer_labels
    assert loss(x, jnp.array([-1])) == loss(x, jnp.array([2]))
    assert jnp.isnan(loss(x, jnp.array([3]))).all()
    for y in (-1, 3):
        with pytest.raises(IndexError):
            xe.cross_entropy(X[:1], np.array([y]))


def test_large_offsets():
    x = np.array([[1e8, 1e8]], np.float32)
    assert optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(x), jnp.array([0])) == 0
    assert xe.cross_entropy(x, np.array([0])) == np.float32(math.log(2))


def test_reductions():
    losses = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(X), jnp.asarray(Y))
    assert losses.shape == (2,)
    np.testing.assert_allclose(xe.cross_entropy(X, Y, reduction="none"), losses, rtol=1e-14)
    assert math.isclose(xe.cross_entropy(X, Y), losses.mean(), rel_tol=1e-14)


def test_gradient_of_constants():
    x, q = jnp.array([[1.0, 2.0]]), jnp.array([[0.5, 0.5]])
    theirs = jax.grad(lambda q: optax.softmax_cross_entropy(x, q).mean())(q)
    np.testing.assert_allclose(theirs, -jax.nn.log_softmax(x), rtol=1e-6)
    with pytest.raises(TypeError, match="respect to target"):
        jax.grad(lambda q: xj.cross_entropy(x, q))(q)


def test_second_derivatives():
    x, y = jnp.array([[1.0, 2.0]]), jnp.array([0])
    hessian = jax.hessian(lambda x: optax.softmax_cross_entropy_with_integer_labels(x, y).mean())(x)
    assert hessian.shape == (1, 2, 1, 2)
    with pytest.raises((TypeError, NotImplementedError)):
        jax.hessian(lambda x: xj.cross_entropy(x, y))(x)


# ---- SciPy -----------------------------------------------------------------------------------------------------------

def test_default_axis():
    for name in ("softmax", "log_softmax", "logsumexp"):
        theirs, ours = getattr(special, name), getattr(xe, name)
        np.testing.assert_allclose(theirs(X), theirs(X.ravel()).reshape(np.shape(theirs(X))))
        np.testing.assert_allclose(ours(X), theirs(X, axis=-1), rtol=1e-14)
    p = special.softmax(X, axis=-1)
    assert stats.entropy(p).shape == (3,)
    assert information.entropy(p).shape == (2,)


def test_renormalisation():
    p, q = np.array([1.0, 3.0]), np.array([1.0, 1.0])
    assert math.isclose(stats.entropy(p, q), 0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert math.isclose(information.kl_divergence(p, q), 3 * math.log(3), rel_tol=1e-15)


def test_jensen_shannon():
    p, q = np.array([0.2, 0.8]), np.array([0.7, 0.3])
    assert math.isclose(jensenshannon(p, q) ** 2, information.js_divergence(p, q), rel_tol=1e-14)


def test_elementwise_kl_div():
    p, q = np.array([0.2, 0.8]), np.array([0.7, 0.1])
    ours = xe.kl_div(np.log(q), p, reduction="none")
    np.testing.assert_allclose(special.kl_div(p, q), ours - p + q, rtol=1e-14)
    np.testing.assert_allclose(special.rel_entr(p, q), ours, rtol=1e-14)


def test_negative_probabilities():
    p = np.array([-0.5, 1.5])
    assert special.entr(p)[0] == -INF
    with pytest.raises(ValueError, match=r"^p\[0\]"):
        information.entropy(p)


# ---- scikit-learn ----------------------------------------------------------------------------------------------------

def test_temperature_of_two_classes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2))
    y = x[:, 0] + rng.logistic(size=500) > 0
    trained = FrozenEstimator(LogisticRegression().fit(x[::2], y[::2]))
    ours = TemperatureScaling(trained).fit(x, y)
    theirs = CalibratedClassifierCV(trained, method="temperature").fit(x, y)
    calibrator = theirs.calibrated_classifiers_[0].calibrators[0]
    assert math.isclose(1 / calibrator.beta_, 2 * ours.temperature_, rel_tol=1e-6)
    np.testing.assert_allclose(theirs.predict_proba(x), ours.predict_proba(x), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_temperature_of_probability_0():
    x, y = np.zeros((20, 1)), np.array([0, 1] * 10)
    sure = FrozenEstimator(DummyClassifier(strategy="constant", constant=0).fit(x, y))
    assert np.isfinite(CalibratedClassifierCV(sure, method="temperature").fit(x, y).predict_proba(x)).all()
    with pytest.raises(ValueError, match="temperature 1 is inf"):
        TemperatureScaling(sure).fit(x, y)


def test_log_loss_clips():
    assert math.isclose(log_loss([1], [[1.0, 0.0]], labels=[0, 1]), -math.log(np.finfo(float).eps))
    assert information.cross_entropy(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == INF


# ---- The same everywhere, and surprising -----------------------------------------------------------------------------

def test_one_hot_targets_with_weights():
    w, one_hot = np.array([1.0, 3.0, 2.0]), np.eye(3)[Y]
    for target in (Y, one_hot):
        theirs = F.cross_entropy(torch.tensor(X), torch.tensor(target), weight=torch.tensor(w))
        assert math.isclose(xe.cross_entropy(X, target, weight=w), theirs, rel_tol=1e-14)
    wanted = xe.cross_entropy(X, Y, weight=w) * (3 + 1) / 2
    assert math.isclose(xe.cross_entropy(X, one_hot, weight=w), wanted, rel_tol=1e-14)
