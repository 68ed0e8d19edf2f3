"""The penalised loss of a linear model and its gradient, as `scipy.optimize.minimize` takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import crossent as xe

if TYPE_CHECKING:
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
