"""Softmax regression on the digits of scikit-learn, trained with crossent's loss and gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, cg
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import crossent as xe

from .comparison import Comparison, Model

# The data are nearly separable, so the penalty is what decides where the minimum is: with a weak one the problem is
# ill-conditioned and no solver reaches it to many digits.
C = 0.1


@dataclass(frozen=True)
class Result(Comparison):
    confusion: np.ndarray  # (classes, classes): rows are the true digit


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train and test images, standardised, with a column of ones for the intercept, and their digits."""
    images, digits = load_digits(return_X_y=True)
    train, test, y_train, y_test = train_test_split(images, digits, test_size=0.25, random_state=0, stratify=digits)
    mean, std = train.mean(axis=0), train.std(axis=0)
    std[std == 0] = 1  # pixels that are always blank

    def prepare(x: np.ndarray) -> np.ndarray:
        return np.column_stack([(x - mean) / std, np.ones(len(x))])

    return prepare(train), prepare(test), y_train, y_test


def centre(weights: np.ndarray) -> np.ndarray:
    """The same model with intercepts that sum to zero: adding one number to all of them changes no probability."""
    centred = weights.copy()
    centred[:, -1] -= centred[:, -1].mean()
    return centred


def train(x: np.ndarray, y: np.ndarray, classes: int, report: Callable[[np.ndarray], object]) -> tuple[np.ndarray, int]:
    """Minimise the mean cross-entropy + |W|^2 / (2 C n), the intercepts unpenalised: the weights and the iterations.

    L-BFGS compares losses, so it ends where they no longer differ: about the root of the machine precision away from
    the minimum. One Newton step, which looks at gradients only, goes the rest of the way.
    """
    shape = (classes, x.shape[1])
    penalty = np.full(shape, 1 / (C * len(x)))
    penalty[:, -1] = 0

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(shape)
        loss, d_logits = xe.cross_entropy(x @ w.T, y, return_grad=True)
        gradient = d_logits.T @ x + penalty * w
        return loss + 0.5 * (penalty * w * w).sum(), gradient.ravel()

    start = np.zeros(shape)
    report(start)
    found = minimize(
        objective,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        callback=lambda flat: report(flat.reshape(shape)),
        options={"ftol": 0, "gtol": 1e-11, "maxiter": 2000},
    )

    probs = xe.softmax(x @ found.x.reshape(shape).T)

    def hessian_times(flat: np.ndarray) -> np.ndarray:
        # The derivative of the gradient with respect to the logits is that of softmax, over n.
        v = flat.reshape(shape)
        d_logits = xe.softmax_backward(x @ v.T, probs) / len(x)
        product: np.ndarray = d_logits.T @ x + penalty * v
        return product.ravel()

    hessian = LinearOperator((start.size, start.size), matvec=hessian_times, dtype=start.dtype)
    step, _ = cg(hessian, -objective(found.x)[1], rtol=1e-4)
    w = (found.x + step).reshape(shape)
    report(w)
    return w, found.nit + 1


def run(advance: Callable[[], object]) -> Result:
    x_train, x_test, y_train, y_test = load()
    classes = int(y_train.max()) + 1

    def losses(w: np.ndarray) -> tuple[float, float]:
        return float(xe.cross_entropy(x_train @ w.T, y_train)), float(xe.cross_entropy(x_test @ w.T, y_test))

    def model(w: np.ndarray, iterations: int) -> Model:
        accuracy = float((np.argmax(x_test @ w.T, axis=1) == y_test).mean())
        return Model(centre(w), iterations, *losses(w), accuracy)

    path: list[np.ndarray] = []

    def report(w: np.ndarray) -> None:
        path.append(w.copy())
        advance()

    w, iterations = train(x_train, y_train, classes, report)
    ours = model(w, iterations)

    theirs_fit = LogisticRegression(C=C, solver="newton-cg", tol=1e-12, max_iter=1000).fit(x_train[:, :-1], y_train)
    theirs = model(np.column_stack([theirs_fit.coef_, theirs_fit.intercept_]), int(theirs_fit.n_iter_.max()))

    predicted = np.argmax(x_test @ ours.weights.T, axis=1)
    confusion = np.zeros((classes, classes), dtype=int)
    np.add.at(confusion, (y_test, predicted), 1)
    return Result(ours, theirs, np.array([losses(w) for w in path]), confusion)
