"""Linear softmax regression."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data

import crossent as xe

if TYPE_CHECKING:
    from typing import Self

    from crossent._types import Array


class Objective:
    """The mean loss of ``x @ coef + intercept`` plus ``penalty / 2 * sum(coef**2)``, a function of both in one array.

    `loss(raw, grad_out)` returns the mean loss of the raw predictions, an (n, outputs) array, and writes its gradient.
    The predictions and their gradient share one array, which all calls use.
    """

    def __init__(self, x: Any, outputs: int, loss: Any, penalty: float, fit_intercept: bool) -> None:
        self.x, self.loss, self.penalty, self.fit_intercept = x, loss, penalty, fit_intercept
        self.shape = x.shape[1], outputs
        self.raw = np.empty((x.shape[0], outputs), x.dtype)

    def start(self) -> Array:
        return np.zeros((self.shape[0] + self.fit_intercept) * self.shape[1])

    def parts(self, parameters: Array) -> tuple[Array, Array]:
        """The coefficients, (features, outputs), and the intercepts, which may be none."""
        size = self.shape[0] * self.shape[1]
        return parameters[:size].reshape(self.shape), parameters[size:]

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        coef, intercept = self.parts(parameters)
        in_dtype = coef.astype(self.x.dtype, copy=False)
        if isinstance(self.x, np.ndarray):
            np.matmul(self.x, in_dtype, out=self.raw)
        else:
            self.raw[...] = self.x @ in_dtype
        if self.fit_intercept:
            self.raw += intercept.astype(self.x.dtype, copy=False)
        value = float(self.loss(self.raw, self.raw))
        grad = np.empty_like(parameters)
        of_coef, of_intercept = self.parts(grad)
        of_coef[...] = self.x.T @ self.raw
        of_coef += self.penalty * coef
        if self.fit_intercept:
            of_intercept[...] = self.raw.sum(axis=0, dtype=np.float64)
        return value + self.penalty / 2 * float(np.vdot(coef, coef)), grad


def softmax_loss(
    target: Array, class_weight: Array | None, label_smoothing: float, sample_weight: Array | None, denominator: float
) -> Any:
    """Of class indices, or of class probabilities."""
    options: dict[str, Any] = {"weight": class_weight, "label_smoothing": label_smoothing,
                               "sample_weight": sample_weight, "denominator": denominator}

    def loss(raw: Array, grad_out: Array) -> Any:
        return xe.cross_entropy(raw, target, return_grad=True, grad_out=grad_out, **options)[0]

    return loss


def logistic_loss(
    target: Array, class_weight: Array | None, label_smoothing: float, sample_weight: Array | None, denominator: float
) -> Any:
    """The same for two classes and one raw prediction, the difference of their logits."""
    first, second = (1.0, 1.0) if class_weight is None else class_weight
    q = np.stack([1 - target, target], axis=1) if target.ndim == 1 else target
    q = (1 - label_smoothing) * q + label_smoothing / 2
    q = q * (first, second) if sample_weight is None else q * (first, second) * sample_weight[:, np.newaxis]
    weight = q.sum(axis=1, keepdims=True)
    share = np.divide(q[:, 1:], weight, out=np.zeros_like(weight), where=weight > 0)

    def loss(raw: Array, grad_out: Array) -> Any:
        return xe.binary_cross_entropy_with_logits(
            raw, share, weight=weight, denominator=denominator, return_grad=True, grad_out=grad_out)[0]

    return loss


class SoftmaxRegression(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Linear classifier that minimises the cross-entropy, of labels or of class probabilities.

    On labels without smoothing its optimum is that of `sklearn.linear_model.LogisticRegression` with the same `C`; it
    is trained by L-BFGS too, on this package's loss and gradient in one pass. Beyond that it learns from class
    probabilities, such as votes of several annotators or the predictions of a teacher, and smooths labels.

    The objective, for rows ``x`` with the target probabilities ``q``, the class weights ``w`` and the sample weights
    ``v``, in the terms of `crossent.cross_entropy`::

        C * sum v * cross_entropy(x @ coef_.T + intercept_, q, weight=w) + sum(coef_**2) / 2

    Two classes have one row of coefficients, as in scikit-learn: the difference of their logits.

    Parameters
    ----------
    C : float, default 1.0
        The inverse of the strength of the penalty, > 0; infinity for none.
    label_smoothing : float, default 0.0
        The share of the target that is spread evenly over all classes, in [0, 1].
    class_weight : dict, "balanced" or None, default None
        Weights of the classes, which multiply the probabilities of the target: ``{label: weight}``, those not named
        having 1. ``"balanced"`` weighs a class by the inverse of its share of the target.
    fit_intercept : bool, default True
        Whether there is an intercept, which is not penalised.
    tol : float, default 1e-4
        Training ends once no entry of the gradient of the objective, divided by ``C`` and the sum of the sample
        weights, is larger.
    max_iter : int, default 100
        The most steps of L-BFGS.

    Attributes
    ----------
    classes_ : ndarray, (n_classes,)
        The labels in their order; ``0, 1, ..`` where `y` holds probabilities.
    coef_ : ndarray, (n_classes, n_features), or (1, n_features) for two classes
        The coefficients.
    intercept_ : ndarray, (n_classes,), or (1,) for two classes
        The intercepts; zeros without `fit_intercept`.
    n_iter_ : int
        How many steps were taken.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, section 4.3.4.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from crossent.sklearn import SoftmaxRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SoftmaxRegression(max_iter=1000).fit(X, y)
    >>> print(f"{model.score(X, y):.3f}")
    0.973
    """

    def __init__(
        self,
        *,
        C: float = 1.0,
        label_smoothing: float = 0.0,
        class_weight: dict[Any, float] | str | None = None,
        fit_intercept: bool = True,
        tol: float = 1e-4,
        max_iter: int = 100,
    ) -> None:
        self.C = C
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on the rows of `X`.

        Parameters
        ----------
        X : array-like or sparse matrix, (n_samples, n_features)
            Float32 is computed with as float32, all else as float64.
        y : array-like, (n_samples,), or (n_samples, n_classes)
            Labels; or, in two axes, class probabilities in [0, 1], which need not sum to 1.
        sample_weight : array-like, (n_samples,), optional
            Weights of the rows, finite and >= 0.

        Returns
        -------
        self
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], multi_output=True)
        v = None if sample_weight is None else _check_sample_weight(
            sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        target = self._target(y, X.dtype)
        class_weight = self._class_weights(target, v, X.dtype)
        weight_of_rows = float(len(target) if v is None else v.sum(dtype=np.float64))
        if class_weight is not None:
            weight_of_rows = self._sum_of_weights(target, class_weight, v)
        if not weight_of_rows > 0:
            raise ValueError("the weights of all rows are 0: expected some that are not")
        binary = len(self.classes_) == 2
        loss = (logistic_loss if binary else softmax_loss)(
            target, class_weight, self.label_smoothing, v, weight_of_rows)
        penalty = 1 / (self.C * weight_of_rows)
        objective = Objective(X, 1 if binary else len(self.classes_), loss, penalty, bool(self.fit_intercept))
        found = minimize(
            objective, objective.start(), jac=True, method="L-BFGS-B",
            options={"maxiter": self.max_iter, "maxls": 50, "gtol": self.tol, "ftol": 0.0})
        if found.status == 1:
            warnings.warn(
                f"{self.max_iter} steps were not enough: scale the features, or raise max_iter", ConvergenceWarning,
                stacklevel=2)
        coef, intercept = objective.parts(found.x.astype(X.dtype, copy=False))
        self.coef_ = np.ascontiguousarray(coef.T)
        self.intercept_ = intercept.copy() if self.fit_intercept else np.zeros(coef.shape[1], X.dtype)
        self.n_iter_ = max(1, int(found.nit))
        return self

    def _check_parameters(self) -> None:
        if not self.C > 0:
            raise ValueError(f"C is {self.C}: expected a number > 0")
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}: expected a number in [0, 1]")
        if not self.tol >= 0:
            raise ValueError(f"tol is {self.tol}: expected a number >= 0")
        if not self.max_iter >= 1:
            raise ValueError(f"max_iter is {self.max_iter}: expected at least 1")

    def _target(self, y: Array, dtype: np.dtype[Any]) -> Array:
        """Class indices or class probabilities; sets `classes_`."""
        if y.ndim == 2 and y.shape[1] > 1:
            if y.dtype.kind not in "biuf" or not ((y >= 0) & (y <= 1)).all():
                raise ValueError("y has two axes: expected class probabilities, in [0, 1]")
            self.classes_ = np.arange(y.shape[1])
            return y.astype(dtype, copy=False)
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        self.classes_, target = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class, {self.classes_[0]!r}: expected at least two classes")
        return target

    def _class_weights(self, target: Array, v: Array | None, dtype: np.dtype[Any]) -> Array | None:
        if self.class_weight is None:
            return None
        if self.class_weight != "balanced":
            return np.asarray(compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_), dtype)
        # The mean probability stands for how often a class occurs, where y has probabilities.
        if target.ndim == 1:
            count = np.bincount(target, v, minlength=len(self.classes_))
        else:
            count = target.sum(axis=0) if v is None else v @ target
        share = np.asarray(count / count.sum() * len(self.classes_), dtype)
        weight: Array = np.divide(1, share, out=np.zeros_like(share), where=share > 0)
        return weight

    @staticmethod
    def _sum_of_weights(target: Array, class_weight: Array, v: Array | None) -> float:
        of_rows = class_weight[target] if target.ndim == 1 else target @ class_weight
        return float(of_rows.sum(dtype=np.float64) if v is None else np.dot(of_rows, v))

    def decision_function(self, X: Any) -> Array:
        """The logits, (n_samples, n_classes); for two classes their difference, (n_samples,).

        Parameters
        ----------
        X : array-like or sparse matrix, (n_samples, n_features)
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        logits: Array = X @ self.coef_.T + self.intercept_
        return logits.ravel() if logits.shape[1] == 1 else logits

    def _logits(self, X: Any) -> Array:
        logits = self.decision_function(X)
        return logits if logits.ndim == 2 else np.stack([np.zeros_like(logits), logits], axis=1)

    def predict(self, X: Any) -> Array:
        """The likeliest label of each row.

        Parameters
        ----------
        X : array-like or sparse matrix, (n_samples, n_features)
        """
        likeliest = self._logits(X).argmax(axis=1)
        labels: Array = self.classes_[likeliest]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """The probabilities of the classes, (n_samples, n_classes), in the order of `classes_`.

        Parameters
        ----------
        X : array-like or sparse matrix, (n_samples, n_features)
        """
        return xe.softmax(self._logits(X))

    def predict_log_proba(self, X: Any) -> Array:
        """Their logarithms, with all digits also of those near 0.

        Parameters
        ----------
        X : array-like or sparse matrix, (n_samples, n_features)
        """
        return xe.log_softmax(self._logits(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
