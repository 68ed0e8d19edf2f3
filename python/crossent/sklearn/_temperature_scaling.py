"""Calibration by a temperature."""

from __future__ import annotations

import warnings
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import check_cv, cross_val_predict
from sklearn.utils import get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d

import crossent as xe
from crossent._fit_temperature import fit_silently, warning_of

if TYPE_CHECKING:
    from typing import Self

    from crossent._types import Array


class TemperatureScaling(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose probabilities are calibrated by one number, its temperature; its decisions stay as they are.

    The probabilities are the softmax of the logits divided by the temperature: the results of the classifier's
    `decision_function`, or the logarithms of its probabilities where it has none. With two classes, one number of a
    `decision_function` is the difference of their logits, as that of logistic regression is: then 1 is the temperature
    of a classifier that is calibrated already.

    The temperature is found by `crossent.fit_temperature` on rows that the classifier was not trained on: it is trained
    on all rows, and the logits for the temperature come from copies of it that were trained without their rows, by
    cross-validation. A classifier that was trained on other data is given as ``FrozenEstimator(classifier)``, and `fit`
    then fits the temperature alone.

    Parameters
    ----------
    estimator : classifier
        With `decision_function`, `predict_log_proba` or `predict_proba`.
    cv : int, cross-validation generator or iterable, optional
        How rows are left out, as in scikit-learn. The default is 5 folds that keep the shares of the classes, or as
        many as the rarest class has rows.
    bounds : (float, float), default (1e-3, 1e3)
        The least and the largest temperature.
    max_passes : int, default 6
        How many times the search for the temperature reads the logits at most, >= 1.
    n_jobs : int, optional
        How many copies are trained at once, as in scikit-learn.

    Attributes
    ----------
    temperature_ : float
        The temperature.
    temperature_fit_ : crossent.TemperatureFit
        How it was found, with the cross-entropy before and after.
    estimator_ : classifier
        The classifier trained on all rows.
    classes_ : ndarray, (n_classes,)
        The labels in their order.
    n_features_in_, feature_names_in_
        As `estimator_` has them.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, On Calibration of Modern Neural Networks, ICML 2017, section 4.2.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from crossent.sklearn import TemperatureScaling
    >>> X, y = load_digits(return_X_y=True)
    >>> model = TemperatureScaling(GaussianNB(var_smoothing=1e-2)).fit(X, y)
    >>> fit = model.temperature_fit_
    >>> print(f"{fit.nll_before:.2f} to {fit.nll_after:.2f} nats")
    3.34 to 0.54 nats
    """

    def __init__(
        self,
        estimator: Any,
        *,
        cv: Any = None,
        bounds: tuple[float, float] = (1e-3, 1e3),
        max_passes: int = 6,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.bounds = bounds
        self.max_passes = max_passes
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Train the classifier, unless it is frozen, and fit its temperature.

        Parameters
        ----------
        X : array-like, as the classifier takes it
            The rows.
        y : array-like, (n_samples,)
            Their labels.
        sample_weight : array-like, (n_samples,), optional
            Weights of the rows, for the temperature and, if it takes them, the classifier.
        **fit_params
            Passed to `fit` of the classifier, or as the requests of scikit-learn's metadata routing say.

        Returns
        -------
        self

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the loss still falls beyond one of the bounds, or the search did not converge within `max_passes`.
        """
        X, y, sample_weight = indexable(X, column_or_1d(y, warn=True), sample_weight)
        check_classification_targets(y)
        self.classes_, target = np.unique(y, return_inverse=True)
        of_estimator, of_splitter = self._routed(sample_weight, fit_params)
        if isinstance(self.estimator, FrozenEstimator):
            self.estimator_ = self.estimator
            self._confirm_classes()
            logits = self._logits(X)
        else:
            logits = self._held_out_logits(X, y, target, of_estimator, of_splitter)
            self.estimator_ = clone(self.estimator).fit(X, y, **of_estimator)
            self._confirm_classes()
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, logits, dtype=logits.dtype, ensure_non_negative=True)
        self.temperature_fit_ = fit_silently(
            logits, target, axis=1, ignore_index=None, sample_weight=sample_weight, bounds=self.bounds,
            max_passes=self.max_passes)
        self.temperature_ = self.temperature_fit_.temperature
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        message = warning_of(self.temperature_fit_)
        if message is not None:
            # Not a RuntimeWarning: scikit-learn warns so of solvers that stop early, and of kernels whose best
            # parameters are at their bounds, and its users filter by this class.
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
        return self

    def _routed(self, sample_weight: Any, fit_params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What `fit` of the classifier and `split` of the cross-validation get."""
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", sample_weight=sample_weight, **fit_params)
            return routed.estimator.fit, routed.splitter.split
        if sample_weight is not None and "sample_weight" in signature(self.estimator.fit).parameters:
            fit_params = {**fit_params, "sample_weight": sample_weight}
        return fit_params, {}

    def _held_out_logits(self, X: Any, y: Array, target: Array, fit_params: Any, split_params: Any) -> Array:
        rows = np.bincount(target)
        cv = check_cv(min(5, max(2, rows.min())) if self.cv is None else self.cv, y, classifier=True)
        folds = getattr(cv, "n_splits", 0)
        if rows.min() < folds:
            rarest = f"one class, {self.classes_[rows.argmin()]!r}, has {rows.min()} rows"
            raise ValueError(f"{rarest}: expected at least one for each of the {folds} folds")
        name = _response_of(self.estimator)
        raw = cross_val_predict(clone(self.estimator), X, y, cv=list(cv.split(X, y, **split_params)), method=name,
                                n_jobs=self.n_jobs, params=fit_params)
        return self._as_logits(raw, name)

    def _confirm_classes(self) -> None:
        if not np.array_equal(self.estimator_.classes_, self.classes_):
            theirs = f"the classes of the estimator are {self.estimator_.classes_}"
            raise ValueError(f"{theirs}, those of y {self.classes_}: expected the same")

    def _logits(self, X: Any) -> Array:
        name = _response_of(self.estimator_)
        return self._as_logits(getattr(self.estimator_, name)(X), name)

    def _as_logits(self, raw: Any, name: str) -> Array:
        """(n_samples, n_classes)"""
        classes = len(self.classes_)
        raw = np.asarray(raw)
        if name == "predict_proba":
            with np.errstate(divide="ignore"):
                raw = np.log(raw)
        if raw.ndim == 1 and classes == 2:
            return np.stack([np.zeros_like(raw), raw], axis=1)
        if raw.shape != (len(raw), classes):
            raise ValueError(f"{name} of the estimator returns an array of shape {raw.shape}: expected one number for "
                             f"each of {classes} classes, as decision_function_shape='ovr' gives")
        logits: Array = raw
        return logits

    def decision_function(self, X: Any) -> Array:
        """The logits divided by the temperature; for two classes their difference, (n_samples,).

        Parameters
        ----------
        X : array-like, as the classifier takes it
        """
        check_is_fitted(self)
        logits: Array = self._logits(X) / self.temperature_
        if len(self.classes_) == 2:
            logits = logits[:, 1] - logits[:, 0]
        return logits

    def predict(self, X: Any) -> Array:
        """The labels that the classifier predicts.

        Parameters
        ----------
        X : array-like, as the classifier takes it
        """
        check_is_fitted(self)
        labels: Array = self.estimator_.predict(X)
        return labels

    def predict_proba(self, X: Any) -> Array:
        """The calibrated probabilities of the classes, (n_samples, n_classes), in the order of `classes_`.

        Parameters
        ----------
        X : array-like, as the classifier takes it
        """
        check_is_fitted(self)
        return xe.softmax(self._logits(X), temperature=self.temperature_)

    def predict_log_proba(self, X: Any) -> Array:
        """Their logarithms, with all digits also of those near 0.

        Parameters
        ----------
        X : array-like, as the classifier takes it
        """
        check_is_fitted(self)
        return xe.log_softmax(self._logits(X), temperature=self.temperature_)

    def get_metadata_routing(self) -> MetadataRouter:
        """What `fit` passes on: to `fit` of the classifier, and to `split` of the cross-validation."""
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(estimator=self.estimator, method_mapping=MethodMapping().add(caller="fit", callee="fit"))
            .add(splitter=self.cv, method_mapping=MethodMapping().add(caller="fit", callee="split"))
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = get_tags(self.estimator).input_tags.sparse
        return tags


def _response_of(estimator: Any) -> str:
    """The method that gives the logits, or what they can be made of."""
    for name in ("decision_function", "predict_log_proba", "predict_proba"):
        if hasattr(estimator, name):
            return name
    raise TypeError(f"{type(estimator).__name__} has no decision_function, predict_log_proba or predict_proba")
