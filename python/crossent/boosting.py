"""Objectives and metrics of gradient boosting with XGBoost and LightGBM: cross-entropy with soft labels.

An objective is made once and its methods are given to the library, native or in the style of scikit-learn::

    softmax = boosting.Softmax(n_classes=3)
    xgboost.train({"num_class": 3, "base_score": 0.5, "disable_default_eval_metric": True}, data, obj=softmax.xgboost)
    lightgbm.train({"objective": softmax.lightgbm, "num_class": 3}, data)

Predictions of such a model are raw margins: `crossent.softmax` or `crossent.sigmoid` makes probabilities of them.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from . import _numbers, _validate
from ._arrays import floating, largest
from ._binary_cross_entropy_with_logits import binary_cross_entropy_with_logits
from ._cross_entropy import cross_entropy
from ._gradient_hessian import binary_cross_entropy_with_logits_gradient_hessian, cross_entropy_gradient_hessian
from ._result_memory import ResultMemory

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._types import Array, Hessian

    _Convention = Literal["auto", "exact", "xgboost", "lightgbm", "absolute"]
    _Library = Literal["xgboost", "lightgbm"]

__all__ = ["Logistic", "Softmax"]

_CONVENTIONS = ("auto", "exact", "xgboost", "lightgbm", "absolute")
_XGBOOST_FLOOR = 1e-16  # src/objective/multiclass_obj.cc and regression_loss.h
_LAST_WITH_DIAGONAL = (3, 4)  # of XGBoost's softmax: later versions have |p - y| (dmlc/xgboost#12537)


class _Rows(NamedTuple):
    """What a library hands to an objective."""

    library: _Library
    margins: Array
    labels: Array
    weights: Array | None


class _Objective(ABC):
    """What both objectives share: the forms of the two libraries, and soft labels bound to one data set."""

    def __init__(self, soft_labels: ArrayLike | None, label_smoothing: float, hessian: _Convention) -> None:
        if hessian not in _CONVENTIONS:
            _numbers.refuse_name("hessian", hessian, _CONVENTIONS)
        self.soft_labels = None if soft_labels is None else floating("soft_labels", soft_labels)
        self.label_smoothing = _numbers.fraction("label_smoothing", label_smoothing)
        self.hessian = hessian
        self._memory = ResultMemory()
        self._bound: Array | None = None  # the labels of the data set that soft_labels belong to

    def xgboost(self, predt: Array, dtrain: Any) -> tuple[Array, Array]:
        """The objective for ``xgboost.train(obj=...)``."""
        return self._gradient_hessian(_of_data("xgboost", "predt", predt, dtrain))

    def xgboost_metric(self, predt: Array, dtrain: Any) -> tuple[str, float]:
        """The mean log loss of the labels of a data set, for ``xgboost.train(custom_metric=...)``."""
        return "log_loss", self._log_loss(_of_data("xgboost", "predt", predt, dtrain))

    def xgboost_sklearn(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> tuple[Array, Array]:
        """The objective for ``xgboost.XGBModel(objective=...)`` and the models made of it."""
        return self._gradient_hessian(_rows("xgboost", "y_pred", y_pred, y_true, sample_weight))

    def lightgbm(self, preds: Array, train_data: Any) -> tuple[Array, Array]:
        """The objective for ``lightgbm.train({"objective": ...})``."""
        return self._gradient_hessian(_of_data("lightgbm", "preds", preds, train_data))

    def lightgbm_metric(self, preds: Array, eval_data: Any) -> tuple[str, float, bool]:
        """The mean log loss of the labels of a data set, for ``lightgbm.train(feval=...)``."""
        return "log_loss", self._log_loss(_of_data("lightgbm", "preds", preds, eval_data)), False

    def lightgbm_sklearn(self, y_true: Array, y_pred: Array, weight: Array | None = None) -> tuple[Array, Array]:
        """The objective for ``lightgbm.LGBMModel(objective=...)`` and the models made of it."""
        return self._gradient_hessian(_rows("lightgbm", "y_pred", y_pred, y_true, weight))

    @abstractmethod
    def _gradient_hessian(self, rows: _Rows) -> tuple[Array, Array]: ...

    @abstractmethod
    def _log_loss(self, rows: _Rows) -> float: ...

    def _target(self, rows: _Rows) -> Array:
        """The labels of the data set, or the soft labels if these are its rows."""
        soft, labels = self.soft_labels, rows.labels
        if soft is None:
            return _one_per_row(labels, rows)
        if len(soft) != len(rows.margins):
            raise ValueError(
                f"soft_labels has {len(soft)} rows, and the data set {len(rows.margins)}: expected those of this data "
                "set, of which no row is left out, as sampling and cross-validation do"
            )
        if self._bound is None:
            self._bound = labels.copy()
        elif not np.array_equal(self._bound, labels):
            raise ValueError(
                "the labels of the data set are not those that soft_labels was first used with: expected the same rows "
                "in the same order"
            )
        return soft


class Softmax(_Objective):
    """Cross-entropy of several classes, with soft labels, label smoothing and class weights.

    `xgboost`, `xgboost_sklearn`, `lightgbm` and `lightgbm_sklearn` are objectives, `xgboost_metric` and
    `lightgbm_metric` are metrics. An object may be pickled, and used by several threads and data sets.

    Parameters
    ----------
    n_classes : int
        As the parameter ``num_class`` of the library; at least 2.
    soft_labels : array_like, (N, n_classes), optional
        Class probabilities in [0, 1] of the rows of the training set, in place of its labels. They are used with a data
        set of N rows, and after the first time with those very labels only, so that rows that were sampled, split or
        sorted are refused.
    label_smoothing : float, default 0.0
        The share of each label that is spread evenly over all classes, in [0, 1].
    class_weight : array_like, (n_classes,), optional
        A weight per class, finite and >= 0.
    hessian : {"auto", "exact", "xgboost", "lightgbm", "absolute"}, default "auto"
        The diagonal of the Hessian, of which a Newton step is taken. ``"exact"``: ``p (1 - p)``. ``"xgboost"``:
        ``max(2 p (1 - p), 1e-16)``. ``"lightgbm"``: ``K / (K - 1) p (1 - p)``. ``"absolute"``: ``max(|p - y|, 1e-16)``,
        with probabilities ``y``. ``"auto"``: that of the objective of the library in its installed version,
        ``"absolute"`` after XGBoost 3.4.

    Raises
    ------
    TypeError, ValueError, IndexError
        By the constructor, if an argument is not as above. By an objective, if margins are not finite or not of
        n_classes columns, a label is no class, or the rows are not those of the soft labels.

    Examples
    --------
    >>> import numpy as np
    >>> from crossent import boosting
    >>> softmax = boosting.Softmax(3, hessian="exact")
    >>> grad, hess = softmax.xgboost_sklearn(np.array([2.0]), np.zeros((1, 3)))
    >>> print(grad, hess)
    [[ 0.33333333  0.33333333 -0.66666667]] [[0.22222222 0.22222222 0.22222222]]
    """

    def __init__(
        self,
        n_classes: int,
        *,
        soft_labels: ArrayLike | None = None,
        label_smoothing: float = 0.0,
        class_weight: ArrayLike | None = None,
        hessian: _Convention = "auto",
    ) -> None:
        self.n_classes = _class_count(n_classes)
        super().__init__(soft_labels, label_smoothing, hessian)
        if self.soft_labels is not None and self.soft_labels.shape[1:] != (self.n_classes,):
            shape = self.soft_labels.shape
            raise ValueError(f"soft_labels has shape {shape}: expected (N, {self.n_classes}), as n_classes says")
        self.class_weight = None if class_weight is None else floating("class_weight", class_weight)
        if self.class_weight is not None:
            _validate.same_shape("class_weight", self.class_weight, (self.n_classes,))
            _validate.within("class_weight", self.class_weight, 0.0, largest(np.dtype(np.float32)))

    def _gradient_hessian(self, rows: _Rows) -> tuple[Array, Array]:
        self._check_columns(rows)
        hessian, scale, floor = self._options(rows.library)
        ignored = None if self.soft_labels is None else -100  # the default, as probabilities need it
        target, (grad, hess) = self._target(rows), self._memory.take(rows.margins)
        cross_entropy_gradient_hessian(
            rows.margins, target, weight=self.class_weight, ignore_index=ignored,
            label_smoothing=self.label_smoothing, sample_weight=rows.weights, hessian=hessian, hessian_scale=scale,
            hessian_floor=floor, grad_out=grad, hess_out=hess,
        )
        self._memory.keep((grad, hess))
        return grad, hess

    def _log_loss(self, rows: _Rows) -> float:
        self._check_columns(rows)
        labels = _one_per_row(rows.labels, rows).astype(np.int64)
        return float(cross_entropy(rows.margins, labels, ignore_index=None, sample_weight=rows.weights))

    def _check_columns(self, rows: _Rows) -> None:
        if rows.margins.shape[1:] != (self.n_classes,):
            raise ValueError(
                f"the margins have shape {rows.margins.shape}: expected (N, {self.n_classes}), as n_classes says; is "
                "num_class the same?"
            )

    def _options(self, library: _Library) -> tuple[Hessian, float, float]:
        """Which Hessian, its scale and its floor."""
        how = self.hessian if self.hessian != "auto" else library
        if self.hessian == "auto" and library == "xgboost" and _version("xgboost") > _LAST_WITH_DIAGONAL:
            how = "absolute"
        match how:
            case "exact":
                return "diagonal", 1.0, 0.0
            case "xgboost":
                return "diagonal", 2.0, _XGBOOST_FLOOR
            case "absolute":
                return "absolute", 1.0, _XGBOOST_FLOOR
            case _:
                return "diagonal", self.n_classes / (self.n_classes - 1), 0.0


class Logistic(_Objective):
    """Cross-entropy of two classes with one margin per row, with soft labels and label smoothing.

    The methods are those of `Softmax`.

    Parameters
    ----------
    soft_labels : array_like, (N,), optional
        Probabilities of the positive class in [0, 1] of the rows of the training set, in place of its labels; bound to
        it as in `Softmax`.
    pos_weight : float, optional
        The weight of the positive class, finite and >= 0, as ``scale_pos_weight`` of both libraries.
    label_smoothing : float, default 0.0
        The share of each label that is spread evenly over both classes, in [0, 1].
    hessian : {"auto", "exact", "xgboost", "lightgbm", "absolute"}, default "auto"
        ``"exact"`` and ``"lightgbm"``: ``p (1 - p)``. ``"xgboost"``: ``max(p (1 - p), 1e-16)``. ``"absolute"``:
        ``max(|p - y|, 1e-16)``, with probabilities ``y``. ``"auto"``: that of the library.

    Raises
    ------
    TypeError, ValueError
        By the constructor, if an argument is not as above. By an objective, if margins are not finite, a label is not
        in [0, 1], or the rows are not those of the soft labels.

    Examples
    --------
    >>> import numpy as np
    >>> from crossent import boosting
    >>> print(*boosting.Logistic().lightgbm_sklearn(np.array([0.0, 1.0]), np.array([0.0, 40.0])))
    [ 5.00000000e-01 -4.24835426e-18] [2.50000000e-01 4.24835426e-18]
    """

    def __init__(
        self,
        *,
        soft_labels: ArrayLike | None = None,
        pos_weight: float | None = None,
        label_smoothing: float = 0.0,
        hessian: _Convention = "auto",
    ) -> None:
        super().__init__(soft_labels, label_smoothing, hessian)
        if self.soft_labels is not None and self.soft_labels.ndim != 1:
            raise ValueError(f"soft_labels has shape {self.soft_labels.shape}: expected (N,)")
        self.pos_weight = None if pos_weight is None else _numbers.at_least_zero("pos_weight", pos_weight)

    def _gradient_hessian(self, rows: _Rows) -> tuple[Array, Array]:
        self._check_columns(rows)
        how = self.hessian if self.hessian != "auto" else rows.library
        floor = _XGBOOST_FLOOR if how in ("xgboost", "absolute") else 0.0
        target, (grad, hess) = self._target(rows), self._memory.take(rows.margins)
        binary_cross_entropy_with_logits_gradient_hessian(
            rows.margins, target, weight=rows.weights, pos_weight=self.pos_weight,
            label_smoothing=self.label_smoothing, hessian="absolute" if how == "absolute" else "diagonal",
            hessian_floor=floor, grad_out=grad, hess_out=hess,
        )
        self._memory.keep((grad, hess))
        return grad, hess

    def _log_loss(self, rows: _Rows) -> float:
        self._check_columns(rows)
        losses = binary_cross_entropy_with_logits(rows.margins, _one_per_row(rows.labels, rows), reduction="none")
        return float(np.average(losses, weights=rows.weights))

    def _check_columns(self, rows: _Rows) -> None:
        if rows.margins.ndim != 1:
            raise ValueError(f"the margins have shape {rows.margins.shape}: expected (N,); for more classes: Softmax")


def _class_count(n_classes: Any) -> int:
    count = _numbers.whole_number("n_classes", n_classes)
    if count < 2:
        raise ValueError(f"n_classes is {count}: expected at least 2")
    return count


def _rows(library: _Library, name: str, margins: Any, labels: Any, weights: Any) -> _Rows:
    margins = floating(name, margins)
    _check_finite(name, margins)
    if weights is not None and len(weights) == 0:  # what XGBoost has for none
        weights = None
    empty = np.empty(0, np.float32)
    return _Rows(library, margins, empty if labels is None else np.asarray(labels), weights)


def _check_finite(name: str, margins: Array) -> None:
    most = largest(margins.dtype)
    try:
        _validate.within(name, margins.T if margins.flags.f_contiguous else margins, -most, most)  # as it lies
    except ValueError:
        _validate.within(name, margins, -most, most)  # for the position


def _of_data(library: _Library, name: str, margins: Any, data: Any) -> _Rows:
    return _rows(library, name, margins, data.get_label(), data.get_weight())


def _one_per_row(labels: Array, rows: _Rows) -> Array:
    if labels.shape != rows.margins.shape[:1]:
        raise ValueError(f"the data set has {labels.size} labels for {len(rows.margins)} rows: expected one per row")
    return labels


def _version(library: str) -> tuple[int, ...]:
    try:
        module = importlib.import_module(library)
    except ImportError as error:
        raise ImportError(f"hessian='auto' needs {library}: pip install 'crossent[boosting]'") from error
    return tuple(int(part) for part in module.__version__.split(".")[:2] if part.isdigit())
