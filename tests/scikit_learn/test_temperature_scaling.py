"""crossent.sklearn.TemperatureScaling: what it fits, on which rows, and that decisions stay."""

import inspect
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6", reason="the extra [sklearn] is not installed")

from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator

import crossent as xe
from crossent.sklearn import TemperatureScaling


@pytest.fixture(params=[load_iris, load_breast_cancer], ids=["3 classes", "2 classes"])
def data(request):
    X, y = request.param(return_X_y=True)
    return X + np.random.default_rng(0).normal(0, 1.0, X.shape) * X.std(axis=0), y


def as_logits(raw):
    return raw if raw.ndim == 2 else np.stack([np.zeros_like(raw), raw], axis=1)


def test_it_is_the_temperature_of_held_out_logits(data):
    X, y = data
    model = TemperatureScaling(GaussianNB()).fit(X, y)
    held_out = cross_val_predict(GaussianNB(), X, y, cv=StratifiedKFold(5), method="predict_log_proba")
    assert model.temperature_fit_ == xe.fit_temperature(held_out, y)
    assert model.temperature_ == model.temperature_fit_.temperature > 1
    trained = GaussianNB().fit(X, y)
    np.testing.assert_array_equal(model.predict(X), trained.predict(X))
    wanted = xe.softmax(trained.predict_log_proba(X), temperature=model.temperature_)
    np.testing.assert_array_equal(model.predict_proba(X), wanted)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), wanted, rtol=1e-12)


def test_a_frozen_classifier_is_not_trained(data):
    X, y = data
    trained = SVC(kernel="linear").fit(X[::2] / X.std(axis=0), y[::2])
    rest, labels = X[1::2] / X.std(axis=0), y[1::2]
    model = TemperatureScaling(FrozenEstimator(trained)).fit(rest, labels)
    assert model.estimator_.estimator is trained
    assert model.temperature_fit_ == xe.fit_temperature(as_logits(trained.decision_function(rest)), labels)


def test_two_classes_keep_the_logistic_function():
    """A calibrated logistic regression has the temperature 1, not 2: its number is the difference of two logits."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3))
    y = X @ [1.0, -2.0, 0.5] + rng.logistic(size=4000) > 0
    trained = LogisticRegression().fit(X[::2], y[::2])
    model = TemperatureScaling(FrozenEstimator(trained)).fit(X[1::2], y[1::2])
    assert model.temperature_ == pytest.approx(1, abs=0.15)  # three standard errors of 2,000 rows
    decisions = model.decision_function(X)
    assert decisions.shape == (4000,)
    np.testing.assert_allclose(decisions, trained.decision_function(X) / model.temperature_, rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-decisions)), rtol=1e-12)


def test_decisions_of_several_classes(data):
    X, y = data
    model = TemperatureScaling(GaussianNB()).fit(X, y)
    np.testing.assert_array_equal(as_logits(model.decision_function(X)).argmax(axis=1), model.predict(X))


def test_sample_weights_reach_both(data):
    X, y = data
    v = np.random.default_rng(1).uniform(0, 2, len(y))
    model = TemperatureScaling(GaussianNB(), cv=KFold(3, shuffle=True, random_state=0)).fit(X, y, v)
    held_out = cross_val_predict(GaussianNB(), X, y, cv=KFold(3, shuffle=True, random_state=0),
                                 method="predict_log_proba", params={"sample_weight": v})
    assert model.temperature_fit_ == xe.fit_temperature(held_out, y, sample_weight=v)
    np.testing.assert_array_equal(model.estimator_.theta_, GaussianNB().fit(X, y, v).theta_)


def test_bounds_and_labels(data):
    X, y = data
    names = np.array(["no", "perhaps", "yes"])[y]
    model = TemperatureScaling(GaussianNB(), bounds=(0.5, 1.0))
    assert_warns_once(model, X, names, "1 is the upper bound")
    assert model.temperature_ == 1.0
    assert model.temperature_fit_.at_bound == "upper"
    assert set(model.classes_) == set(names) >= set(model.predict(X))


def assert_warns_once(model, X, y, problem):
    """At the line of the call, with the class of scikit-learn's solvers, after all is fitted."""
    with pytest.warns(ConvergenceWarning, match=problem) as caught:
        assert model.fit(X, y) is model
    assert [warning.filename for warning in caught] == [__file__]
    wanted = clone(model)
    with pytest.raises(ConvergenceWarning, match=problem):  # warnings are errors in this suite
        wanted.fit(X, y)
    np.testing.assert_array_equal(wanted.predict_proba(X), model.predict_proba(X))
    assert vars(wanted).keys() == vars(model).keys()


def test_max_passes(data):
    X, y = data
    full = TemperatureScaling(GaussianNB()).fit(X, y).temperature_fit_
    model = TemperatureScaling(GaussianNB(), max_passes=full.passes - 1)
    assert_warns_once(model, X, y, f"did not converge within max_passes={full.passes - 1}")
    assert model.temperature_fit_.passes == full.passes - 1
    assert TemperatureScaling(GaussianNB(), max_passes=full.passes).fit(X, y).temperature_fit_ == full


@pytest.mark.parametrize("name", ["bounds", "max_passes"])
def test_defaults_are_those_of_fit_temperature(name):
    defaults = [inspect.signature(f).parameters[name].default for f in (TemperatureScaling, xe.fit_temperature)]
    assert defaults[0] == defaults[1]


def test_metadata_routing(data):
    X, y = data
    v, groups = np.random.default_rng(1).uniform(0.5, 2, len(y)), np.arange(len(y)) % 7
    with config_context(enable_metadata_routing=True):
        model = TemperatureScaling(GaussianNB().set_fit_request(sample_weight=True), cv=GroupKFold(3))
        model.fit(X, y, sample_weight=v, groups=groups)
    folds = list(GroupKFold(3).split(X, y, groups))
    held_out = cross_val_predict(GaussianNB(), X, y, cv=folds, method="predict_log_proba", params={"sample_weight": v})
    assert model.temperature_fit_ == xe.fit_temperature(held_out, y, sample_weight=v)


class WithoutLogits(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self


@pytest.mark.parametrize("estimator, error, message", [
    (WithoutLogits(), TypeError, "has no decision_function"),
    (RandomForestClassifier(2, random_state=0), ValueError, "temperature 1 is inf"),
    (DummyClassifier(strategy="constant", constant=0), ValueError, "temperature 1 is inf"),
], ids=["no logits", "forest", "dummy"])
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_classifiers_that_do_not_fit(estimator, error, message, data):
    with pytest.raises(error, match=message):
        TemperatureScaling(estimator).fit(*data)


def test_pairs_of_four_classes_are_no_logits():
    X, y = np.random.default_rng(0).normal(size=(80, 2)), np.arange(80) % 4
    with pytest.raises(ValueError, match="decision_function_shape='ovr'"):
        TemperatureScaling(SVC(decision_function_shape="ovo")).fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # so few rows may have no best temperature
def test_no_more_folds_than_rows_of_the_rarest_class(data):
    X, y = data
    few = np.concatenate([np.flatnonzero(y == 0)[:3], np.flatnonzero(y == 1)[:20]])
    model, of_3 = (TemperatureScaling(GaussianNB(), cv=cv).fit(X[few], y[few]) for cv in (None, 3))
    assert model.temperature_fit_ == of_3.temperature_fit_


def test_errors(data):
    X, y = data
    with pytest.raises(NotFittedError):
        TemperatureScaling(GaussianNB()).predict_proba(X)
    few = np.concatenate([np.flatnonzero(y == 0)[:3], np.flatnonzero(y == 1)[:20]])
    with pytest.raises(ValueError, match="3 rows: expected at least"):
        TemperatureScaling(GaussianNB(), cv=5).fit(X[few], y[few])
    with pytest.raises(ValueError, match="1 rows: expected at least"):
        TemperatureScaling(GaussianNB()).fit(X[few[2:]], y[few[2:]])
    with pytest.raises(ValueError, match="expected the same"):
        TemperatureScaling(FrozenEstimator(GaussianNB().fit(X, y))).fit(X, y + 1)
    with pytest.raises(ValueError, match="bounds"):
        TemperatureScaling(GaussianNB(), bounds=(2, 1)).fit(X, y)
    with pytest.raises(ValueError, match="max_passes is 0"):
        TemperatureScaling(GaussianNB(), max_passes=0).fit(X, y)
    with pytest.raises(TypeError, match=r"max_passes is 1\.5"):
        TemperatureScaling(GaussianNB(), max_passes=1.5).fit(X, y)


# ---- In scikit-learn -------------------------------------------------------------------------------------------------


def test_clone_and_pickle(data):
    model = TemperatureScaling(GaussianNB(var_smoothing=1e-3), bounds=(0.1, 10))
    assert clone(model).get_params()["estimator__var_smoothing"] == 1e-3
    fitted = model.fit(*data)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(data[0]), fitted.predict_proba(data[0]))
    assert again.temperature_fit_ == fitted.temperature_fit_


def test_feature_names(data):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(data[0], columns=[f"f{i}" for i in range(data[0].shape[1])])
    model = TemperatureScaling(GaussianNB()).fit(X, data[1])
    assert list(model.feature_names_in_) == list(X.columns)
    with pytest.raises(ValueError, match="feature names"):
        model.predict_proba(X[X.columns[::-1]])


@pytest.mark.filterwarnings("ignore")  # of training that is cut short, and of checks that are skipped
@pytest.mark.parametrize("estimator", [LogisticRegression(), GaussianNB()], ids=repr)
def test_check_estimator(estimator):
    results = check_estimator(TemperatureScaling(estimator))
    assert [result["check_name"] for result in results if result["status"] == "failed"] == []
    assert len(results) > 40
