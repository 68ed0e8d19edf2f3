"""Binary logistic regression on the breast-cancer data of scikit-learn, trained with crossent's loss and gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import crossent as xe

from .comparison import Comparison, Model

C = 1.0


@dataclass(frozen=True)
class Result(Comparison):
    logits: np.ndarray  # of the test set: log-odds of a benign tumour
    benign: np.ndarray  # 1 or 0


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train and test measurements, standardised, with a column of ones for the intercept, and 1 for benign tumours."""
    tumours, benign = load_breast_cancer(return_X_y=True)
    train, test, y_train, y_test = train_test_split(tumours, benign, test_size=0.25, random_state=0, stratify=benign)
    mean, std = train.mean(axis=0), train.std(axis=0)

    def prepare(x: np.ndarray) -> np.ndarray:
        return np.column_stack([(x - mean) / std, np.ones(len(x))])

    return prepare(train), prepare(test), y_train, y_test


def train(x: np.ndarray, y: np.ndarray, report: Callable[[np.ndarray], object]) -> tuple[np.ndarray, int]:
    """Minimise the mean cross-entropy + |w|^2 / (2 C n), the intercept unpenalised: the weights and the iterations."""
    penalty = np.full(x.shape[1], 1 / (C * len(x)))
    penalty[-1] = 0

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        loss, d_logits = xe.binary_cross_entropy_with_logits(x @ w, y, return_grad=True)
        return loss + 0.5 * (penalty * w * w).sum(), d_logits @ x + penalty * w

    start = np.zeros(x.shape[1])
    report(start)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", callback=report, options={"ftol": 0, "gtol": 1e-11})
    return found.x, found.nit


def run(advance: Callable[[], object]) -> Result:
    x_train, x_test, y_train, y_test = load()

    def losses(w: np.ndarray) -> tuple[float, float]:
        return (
            float(xe.binary_cross_entropy_with_logits(x_train @ w, y_train)),
            float(xe.binary_cross_entropy_with_logits(x_test @ w, y_test)),
        )

    def model(w: np.ndarray, iterations: int) -> Model:
        return Model(w, iterations, *losses(w), float(((x_test @ w > 0) == y_test).mean()))

    path: list[np.ndarray] = []

    def report(w: np.ndarray) -> None:
        path.append(w.copy())
        advance()

    w, iterations = train(x_train, y_train, report)
    fit = LogisticRegression(C=C, solver="newton-cg", tol=1e-12, max_iter=1000).fit(x_train[:, :-1], y_train)
    theirs = model(np.append(fit.coef_[0], fit.intercept_), int(fit.n_iter_.max()))
    return Result(model(w, iterations), theirs, np.array([losses(w) for w in path]), x_test @ w, y_test)
