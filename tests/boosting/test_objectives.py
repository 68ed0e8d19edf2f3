"""The objectives without a library: what they compute, what they refuse, and that they are pickled."""

import pickle
import sys
import types

import numpy as np
import pytest
from boosting.data import Rows
from support import assert_same_bits, run_python

import crossent as xe
from crossent import boosting

N, K = 50, 4


@pytest.fixture
def margins(rng):
    return rng.normal(0, 2, (N, K)).astype(np.float32)


@pytest.fixture
def labels(rng):
    return rng.integers(0, K, N).astype(np.float32)


def assert_both(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize(("hessian", "options"), [
    ("exact", {}), ("xgboost", {"hessian_scale": 2.0, "hessian_floor": 1e-16}), ("lightgbm", {"hessian_scale": 4 / 3}),
    ("absolute", {"hessian": "absolute", "hessian_floor": 1e-16})])
def test_hessians_of_softmax(hessian, options, margins, labels):
    wanted = xe.cross_entropy_gradient_hessian(margins, labels, **options)
    softmax = boosting.Softmax(K, hessian=hessian)
    assert_both(softmax.xgboost(margins, Rows(labels, np.empty(0, np.float32))), wanted)
    assert_both(softmax.lightgbm(margins, Rows(labels)), wanted)
    assert_both(softmax.xgboost_sklearn(labels, margins), wanted)
    assert_both(softmax.lightgbm_sklearn(labels, margins), wanted)


@pytest.mark.parametrize(("version", "hessian"), [
    ("2.1.4", "xgboost"), ("3.2.0", "xgboost"), ("3.4.1", "xgboost"), ("3.5.0", "absolute"), ("4.0.0-dev", "absolute")])
def test_automatic_hessian_is_that_of_the_installed_library(version, hessian, margins, labels, monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", types.SimpleNamespace(__version__=version))
    wanted = boosting.Softmax(K, hessian=hessian).xgboost(margins, Rows(labels))
    assert_both(boosting.Softmax(K).xgboost(margins, Rows(labels)), wanted)
    assert_both(boosting.Softmax(K).lightgbm(margins, Rows(labels)),
                boosting.Softmax(K, hessian="lightgbm").lightgbm(margins, Rows(labels)))


def test_missing_library(margins, labels, monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ImportError, match=r"pip install 'crossent\[boosting\]'"):
        boosting.Softmax(K).xgboost(margins, Rows(labels))
    boosting.Softmax(K, hessian="exact").xgboost(margins, Rows(labels))


@pytest.mark.parametrize(("hessian", "options"), [
    ("exact", {}), ("xgboost", {"hessian_floor": 1e-16}), ("lightgbm", {}),
    ("absolute", {"hessian": "absolute", "hessian_floor": 1e-16})])
def test_hessians_of_logistic(hessian, options, margins, labels):
    x, y = margins[:, 0], np.minimum(labels, 1)
    wanted = xe.binary_cross_entropy_with_logits_gradient_hessian(x, y, pos_weight=2.5, label_smoothing=0.1, **options)
    logistic = boosting.Logistic(pos_weight=2.5, label_smoothing=0.1, hessian=hessian)
    assert_both(logistic.xgboost(x, Rows(y)), wanted)
    assert_both(logistic.lightgbm_sklearn(y, x), wanted)


def test_weights_smoothing_and_class_weights(margins, labels, rng):
    v, w = rng.uniform(0.1, 2, N).astype(np.float32), [1, 2, 0.5, 0]
    wanted = xe.cross_entropy_gradient_hessian(margins, labels, sample_weight=v, weight=w, label_smoothing=0.1)
    softmax = boosting.Softmax(K, class_weight=w, label_smoothing=0.1, hessian="exact")
    assert_both(softmax.lightgbm(margins, Rows(labels, v)), wanted)
    assert_both(softmax.xgboost_sklearn(labels, margins, sample_weight=v), wanted)


def test_memory_order_of_lightgbm_is_kept(margins, labels):
    for result in boosting.Softmax(K).lightgbm(np.asfortranarray(margins, np.float64), Rows(labels)):
        assert result.flags.f_contiguous and result.dtype == np.float64


def test_metrics(margins, labels, rng):
    v = rng.uniform(0.1, 2, N).astype(np.float32)
    wanted = xe.cross_entropy(margins, labels.astype(int), sample_weight=v)
    assert boosting.Softmax(K).xgboost_metric(margins, Rows(labels, v)) == ("log_loss", wanted)
    assert boosting.Softmax(K).lightgbm_metric(margins, Rows(labels, v)) == ("log_loss", wanted, False)
    x, y = margins[:, 0], np.minimum(labels, 1)
    name, value = boosting.Logistic().xgboost_metric(x, Rows(y, v))
    losses = xe.binary_cross_entropy_with_logits(x, y, reduction="none")
    assert name == "log_loss" and value == pytest.approx(np.average(losses, weights=v), rel=1e-6)


# ---- Soft labels -----------------------------------------------------------------------------------------------------


def test_soft_labels(margins, labels, rng):
    q = rng.dirichlet(np.ones(K), N)
    wanted = xe.cross_entropy_gradient_hessian(margins, q, hessian_scale=4 / 3)
    softmax = boosting.Softmax(K, soft_labels=q)
    for _ in range(2):
        assert_both(softmax.lightgbm(margins, Rows(labels)), wanted)
    p = rng.uniform(0, 1, N)
    wanted = xe.binary_cross_entropy_with_logits_gradient_hessian(margins[:, 0], p)
    assert_both(boosting.Logistic(soft_labels=p).lightgbm(margins[:, 0], Rows(labels)), wanted)


def test_soft_labels_need_no_labels(margins, rng):
    softmax = boosting.Softmax(K, soft_labels=rng.dirichlet(np.ones(K), N), hessian="exact")
    softmax.xgboost(margins, Rows(np.empty(0, np.float32)))
    softmax.lightgbm(margins, Rows(None))


def test_other_rows_are_refused(margins, labels, rng):
    softmax = boosting.Softmax(K, soft_labels=rng.dirichlet(np.ones(K), N), hessian="exact")
    with pytest.raises(ValueError, match="soft_labels has 50 rows, and the data set 40"):
        softmax.xgboost(margins[:40], Rows(labels[:40]))
    softmax.xgboost(margins, Rows(labels))
    with pytest.raises(ValueError, match="same rows in the same order"):
        softmax.xgboost(margins, Rows(labels[::-1]))
    softmax.xgboost(margins, Rows(labels))


@pytest.mark.parametrize("objective", [
    boosting.Softmax(K, class_weight=np.ones(K), label_smoothing=0.1),
    boosting.Softmax(K, soft_labels=np.full((N, K), 0.25)),
    boosting.Logistic(pos_weight=2.0), boosting.Logistic(soft_labels=np.full(N, 0.5), hessian="absolute")],
    ids=("weights", "soft labels", "binary", "binary, soft labels"))
def test_pickle(objective, margins, labels):
    x, y = (margins, labels) if isinstance(objective, boosting.Softmax) else (margins[:, 0], np.minimum(labels, 1))
    again = pickle.loads(pickle.dumps(objective))
    assert_both(again.lightgbm(x, Rows(y)), objective.lightgbm(x, Rows(y)))
    assert pickle.loads(pickle.dumps(objective.lightgbm_sklearn))(y, x)[0].shape == x.shape


# ---- Memory ----------------------------------------------------------------------------------------------------------


def address(x):
    return x.__array_interface__["data"][0]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("classes", [1, K])
def test_results_that_nobody_has_are_written_again(classes, order, margins, labels):
    objective = boosting.Logistic(hessian="exact") if classes == 1 else boosting.Softmax(K, hessian="exact")
    x = np.asarray(margins[:, 0] if classes == 1 else margins, order=order)
    rows = Rows(np.minimum(labels, classes))
    first = objective.lightgbm(x, rows)
    wanted, addresses = [a.copy() for a in first], [address(a) for a in first]
    del first
    again = objective.lightgbm(x, rows)
    assert [address(a) for a in again] == addresses
    assert_both(again, wanted)


@pytest.mark.parametrize("part", [lambda pair: pair, lambda pair: pair[0], lambda pair: pair[1][3:, ::2]],
                         ids=["both", "gradient", "view"])
def test_results_that_somebody_has_stay(part, margins, labels):
    objective = boosting.Softmax(K, hessian="exact")
    held = part(objective.xgboost(margins, Rows(labels)))
    before = [np.array(a) for a in (held if isinstance(held, tuple) else (held,))]
    for k in range(3):
        other = objective.xgboost(np.roll(margins, k + 1, axis=0), Rows(labels))
        assert not any(np.shares_memory(a, b) for a in other for b in (held if isinstance(held, tuple) else (held,)))
    for a, b in zip(held if isinstance(held, tuple) else (held,), before, strict=True):
        assert_same_bits(a, b)


def test_another_shape_or_dtype_has_memory_of_its_own(margins, labels):
    objective = boosting.Softmax(K, hessian="exact")
    for x in (margins, margins.astype(np.float64), margins[:5], np.asfortranarray(margins), margins):
        grad, hess = objective.xgboost(x, Rows(labels[:len(x)]))
        assert (grad.shape, grad.dtype, hess.dtype) == (x.shape, x.dtype, x.dtype)
        assert_both((grad, hess), boosting.Softmax(K, hessian="exact").xgboost(x, Rows(labels[:len(x)])))


# ---- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "kind", "says"), [
    (lambda: boosting.Softmax(1), ValueError, "n_classes is 1"),
    (lambda: boosting.Softmax(2.5), TypeError, "n_classes is 2.5"),
    (lambda: boosting.Softmax(3, hessian="Exact"), ValueError, "hessian is 'Exact'"),
    (lambda: boosting.Softmax(3, label_smoothing=1.5), ValueError, "label_smoothing"),
    (lambda: boosting.Softmax(3, class_weight=[1, 2]), ValueError, "class_weight has shape"),
    (lambda: boosting.Softmax(3, class_weight=[1, 2, -1]), ValueError, r"class_weight\[2\] is -1"),
    (lambda: boosting.Softmax(3, soft_labels=np.ones((5, 2))), ValueError, "soft_labels has shape"),
    (lambda: boosting.Softmax(3, soft_labels="abc"), TypeError, "soft_labels has dtype"),
    (lambda: boosting.Logistic(soft_labels=np.ones((5, 2))), ValueError, "soft_labels has shape"),
    (lambda: boosting.Logistic(pos_weight=-1.0), ValueError, "pos_weight is -1"),
])
def test_arguments(make, kind, says):
    with pytest.raises(kind, match=says):
        make()


@pytest.mark.parametrize(("change", "kind", "says"), [
    (lambda m, y: (m[:, :3], y), ValueError, r"the margins have shape \(50, 3\): expected \(N, 4\)"),
    (lambda m, y: (m[:, 0], y), ValueError, r"the margins have shape \(50,\)"),
    (lambda m, y: (np.where(np.arange(K) == 2, np.float32(np.nan), m), y), ValueError, r"preds\[0, 2\] is nan"),
    (lambda m, y: (np.where(np.arange(K) == 1, np.float32(-np.inf), m), y), ValueError, r"preds\[0, 1\] is -inf"),
    (lambda m, y: (m, y + 0.5), ValueError, r"target\[0\] is .*: expected a class label, an integer"),
    (lambda m, y: (m, y + K), IndexError, r"target\[0\] is .*, outside \[0, 4\)"),
    (lambda m, y: (m, -100 + 0 * y), IndexError, r"target\[0\] is -100"),
    (lambda m, y: (m, y[:10]), ValueError, "the data set has 10 labels for 50 rows"),
    (lambda m, y: (m, None), ValueError, "the data set has 0 labels for 50 rows"),
])
def test_data(change, kind, says, margins, labels):
    m, y = change(margins, labels)
    with pytest.raises(kind, match=says):
        boosting.Softmax(K).lightgbm(m, Rows(y))


def test_data_of_logistic(margins, labels):
    with pytest.raises(ValueError, match="for more classes: Softmax"):
        boosting.Logistic().lightgbm(margins, Rows(labels))
    with pytest.raises(ValueError, match="target"):
        boosting.Logistic().lightgbm(margins[:, 0], Rows(labels + 2))


def test_import_is_lazy():
    run_python("import crossent, sys; assert not {'xgboost', 'lightgbm', 'crossent.boosting'} & set(sys.modules)\n"
               "import crossent.boosting; assert not {'xgboost', 'lightgbm'} & set(sys.modules)")
