"""crossent.sklearn.SoftmaxRegression: the optimum of LogisticRegression, and what that cannot do."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6", reason="the extra [sklearn] is not installed")

from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import crossent as xe
from crossent.sklearn import SoftmaxRegression

EXACT = {"tol": 1e-10, "max_iter": 5000}
NEWTON = {"solver": "newton-cholesky", "tol": 1e-10}  # its L-BFGS gives up at 3e-6


def scaled(load):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture
def iris():
    return scaled(load_iris)


def objective(model, X, q, v, class_weight=None, label_smoothing=0.0):
    """What the estimator minimises, from its public attributes; two classes have the logits 0 and the prediction."""
    logits = np.reshape(model.decision_function(X), (len(X), -1))
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    loss = xe.cross_entropy(logits, q, weight=class_weight, label_smoothing=label_smoothing, sample_weight=v,
                            reduction="sum")
    return model.C * loss + (model.coef_**2).sum() / 2


def moved(model, step, rng):
    """The model with its parameters a little elsewhere."""
    other = clone(model)
    for name, value in vars(model).items():
        if name.endswith("_"):
            setattr(other, name, value)
    other.coef_ = model.coef_ + step * rng.normal(size=model.coef_.shape)
    other.intercept_ = model.intercept_ + step * rng.normal(size=model.intercept_.shape)
    return other


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0}], ids=str)
@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_the_optimum_of_logistic_regression(load, class_weight, weighted, rng):
    X, y = scaled(load)
    v = rng.uniform(0, 2, len(y)) if weighted else None
    ours = SoftmaxRegression(C=0.1, class_weight=class_weight, **EXACT).fit(X, y, v)
    theirs = LogisticRegression(C=0.1, class_weight=class_weight, **NEWTON).fit(X, y, v)
    assert ours.coef_.shape == theirs.coef_.shape
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-5)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_the_optimum_of_ten_classes():
    X, y = scaled(load_digits)
    ours, theirs = SoftmaxRegression(**EXACT).fit(X, y), LogisticRegression(**NEWTON).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)


def test_without_an_intercept(iris):
    ours = SoftmaxRegression(fit_intercept=False, **EXACT).fit(*iris)
    theirs = LogisticRegression(fit_intercept=False, **NEWTON).fit(*iris)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_array_equal(ours.intercept_, np.zeros(3))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weight", [None, {0: 2.0, 1: 0.5}], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_probabilities_are_at_their_optimum(smoothing, class_weight, classes, iris, rng):
    X = iris[0]
    q = rng.dirichlet(np.ones(classes), len(X))
    v = rng.uniform(0, 2, len(X))
    model = SoftmaxRegression(label_smoothing=smoothing, class_weight=class_weight, **EXACT).fit(X, q, v)
    w = None if class_weight is None else np.array([2.0, 0.5, 1.0][:classes])
    value = objective(model, X, q, v, w, smoothing)
    assert all(objective(moved(model, 1e-3, rng), X, q, v, w, smoothing) > value for _ in range(20))
    np.testing.assert_array_equal(model.classes_, np.arange(classes))


@pytest.mark.parametrize("classes", [2, 3])
def test_one_hot_probabilities_are_labels(classes, iris):
    X, y = iris[0][:50 * classes], iris[1][:50 * classes]
    for options in ({}, {"label_smoothing": 0.1}, {"class_weight": "balanced"}):
        of_labels, of_rows = (SoftmaxRegression(**options, **EXACT).fit(X, t) for t in (y, np.eye(classes)[y]))
        np.testing.assert_allclose(of_rows.coef_, of_labels.coef_, atol=1e-8)


def test_soft_labels_are_weighted_copies_of_rows(iris):
    """A row with the probabilities q is the same as one row for each class, of the weight q."""
    X, y = iris
    q = np.full((len(y), 3), 0.1)
    q[np.arange(len(y)), y] = 0.8
    soft = SoftmaxRegression(**EXACT).fit(X, q)
    copies = LogisticRegression(**NEWTON).fit(X.repeat(3, axis=0), np.tile([0, 1, 2], len(y)), q.ravel())
    np.testing.assert_allclose(soft.coef_, copies.coef_, atol=1e-6)


def test_balanced_weights_of_probabilities(iris):
    X, y = iris
    keep = np.arange(20, 150)
    of_rows = SoftmaxRegression(class_weight="balanced", **EXACT).fit(X[keep], np.eye(3)[y[keep]])
    of_labels = LogisticRegression(class_weight="balanced", **NEWTON).fit(X[keep], y[keep])
    np.testing.assert_allclose(of_rows.coef_, of_labels.coef_, atol=1e-6)


def test_sparse_and_float32(iris):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = iris
    dense = SoftmaxRegression(**EXACT).fit(X, y)
    np.testing.assert_allclose(SoftmaxRegression(**EXACT).fit(sparse.csr_array(X), y).coef_, dense.coef_, atol=1e-8)
    single = SoftmaxRegression(max_iter=1000).fit(X.astype(np.float32), y)
    assert single.coef_.dtype == single.predict_proba(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.coef_, dense.coef_, atol=0.05)  # to the default tolerance, on a flat optimum


def test_log_probabilities_have_all_digits(iris):
    X, y = iris
    model = SoftmaxRegression(C=1e6, max_iter=3000).fit(X, y)
    far = X * 100
    log_p = model.predict_log_proba(far)
    assert np.isfinite(log_p).all()
    assert log_p.min() < -1000
    np.testing.assert_array_equal(model.predict(far), model.classes_[log_p.argmax(axis=1)])


def test_labels_of_any_kind(iris):
    X, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])
    model = SoftmaxRegression().fit(X, names[y])
    assert set(model.predict(X)) == set(names)
    weighted = SoftmaxRegression(class_weight={"setosa": 2.0}, **EXACT).fit(X, names[y])
    of_numbers = SoftmaxRegression(class_weight={0: 2.0}, **EXACT).fit(X, y)
    np.testing.assert_allclose(weighted.coef_, of_numbers.coef_, atol=1e-8)


def test_it_says_that_steps_were_not_enough(iris):
    with pytest.warns(ConvergenceWarning, match="3 steps"):
        SoftmaxRegression(tol=1e-12, max_iter=3).fit(*iris)


@pytest.mark.parametrize("options, message", [
    ({"C": 0}, "C is 0"), ({"label_smoothing": 1.5}, "label_smoothing is 1.5"), ({"tol": -1}, "tol is -1"),
    ({"max_iter": 0}, "max_iter is 0")], ids=str)
def test_bad_parameters(options, message, iris):
    with pytest.raises(ValueError, match=message):
        SoftmaxRegression(**options).fit(*iris)


@pytest.mark.parametrize("y, message", [
    (np.zeros(150), "one class"), (np.full((150, 3), -0.5), "in \\[0, 1\\]"), (np.full((150, 3), np.nan), "NaN"),
    (np.zeros((149, 3)), "inconsistent"), (np.linspace(0, 1, 150), "Unknown label type")], ids=range(5))
def test_bad_targets(y, message, iris):
    with pytest.raises(ValueError, match=message):
        SoftmaxRegression().fit(iris[0], y)


def test_weights_that_are_all_0(iris):
    with pytest.raises(ValueError, match="weight"):
        SoftmaxRegression().fit(*iris, np.zeros(150))


# ---- In scikit-learn -------------------------------------------------------------------------------------------------


def test_clone_and_pickle(iris):
    model = SoftmaxRegression(C=0.5, label_smoothing=0.1)
    assert clone(model).get_params() == model.get_params()
    fitted = model.fit(*iris)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(iris[0]), fitted.predict_proba(iris[0]))


def test_feature_names(iris):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(iris[0], columns=list("abcd"))
    model = SoftmaxRegression().fit(X, iris[1])
    assert list(model.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X[list("dcba")])


def test_metadata_routing(iris):
    """Weights that are asked for arrive; a row of weight 0 counts for nothing."""
    X, y = iris
    v = np.where(np.arange(150) % 3 == 0, 0.0, 1.0)
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        classifier = SoftmaxRegression(**EXACT).set_fit_request(sample_weight=True)
        model = make_pipeline(scaler, classifier.set_score_request(sample_weight=True))
        fitted = model.fit(X, y, sample_weight=v)
        scores = cross_validate(model, X, y, params={"sample_weight": v}, error_score="raise")
    direct = SoftmaxRegression(**EXACT).fit(StandardScaler().fit_transform(X)[v > 0], y[v > 0])
    np.testing.assert_allclose(fitted[-1].coef_, direct.coef_, atol=1e-6)
    assert scores["test_score"].min() > 0.8


@pytest.mark.filterwarnings("ignore")  # of training that is cut short, and of checks that are skipped
@pytest.mark.parametrize("model", [
    SoftmaxRegression(), SoftmaxRegression(label_smoothing=0.1, class_weight="balanced")], ids=repr)
def test_check_estimator(model):
    results = check_estimator(model)
    assert [result["check_name"] for result in results if result["status"] == "failed"] == []
    assert len(results) > 40
