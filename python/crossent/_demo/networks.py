"""Networks of one hidden layer in NumPy, several trained at once, whose losses and gradients are crossent's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

import crossent as xe

RUNS, QUICK_RUNS = 20, 5
BATCH = 64
LEARNING_RATE = 3e-3

# From the places of the examples of a batch in the data of each run, (runs, batch), and their logits,
# (runs, batch, classes), to the gradient in the logits.
LossGradient = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Networks:
    """One network per run, each with weights of its own: an array per layer, the runs first, in float32."""

    def __init__(self, rng: np.random.Generator, runs: int, inputs: int, hidden: int, classes: int) -> None:
        inner = rng.standard_normal((runs, inputs, hidden), dtype=np.float32) * np.float32((2 / inputs) ** 0.5)
        outer = rng.standard_normal((runs, hidden, classes), dtype=np.float32) * np.float32((1 / hidden) ** 0.5)
        self.parameters = [inner, outer, np.zeros((runs, 1, classes), np.float32)]

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(runs, examples, classes), from x (examples, inputs) or (runs, examples, inputs)."""
        inner, outer, bias = self.parameters
        result: np.ndarray = np.maximum(x @ inner, 0) @ outer + bias
        return result

    def gradients(self, x: np.ndarray, loss_gradient: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
        """Those of the parameters, from that in the logits by the chain rule."""
        inner, outer, bias = self.parameters
        hidden = np.maximum(x @ inner, 0)
        d_logits = loss_gradient(hidden @ outer + bias)
        d_hidden = d_logits @ outer.swapaxes(1, 2)
        d_hidden *= hidden > 0
        return [
            x.swapaxes(1, 2) @ d_hidden,
            hidden.swapaxes(1, 2) @ d_logits,
            d_logits.sum(axis=1, keepdims=True),
        ]


def fit(
    networks: Networks,
    x: np.ndarray,
    loss_gradient: LossGradient,
    steps: int,
    rng: np.random.Generator,
    advance: Callable[[], object],
) -> Networks:
    """`networks` after training by Adam (Kingma & Ba 2015) on x (runs, examples, inputs); the rate falls to 0."""
    runs, examples, _ = x.shape
    run = np.arange(runs)[:, None]
    means = [np.zeros_like(p) for p in networks.parameters]
    squares = [np.zeros_like(p) for p in networks.parameters]
    order = np.empty((runs, 0), int)
    for step in range(1, steps + 1):
        if order.shape[1] < BATCH:  # a new epoch; the examples left over wait for another
            order = rng.permuted(np.tile(np.arange(examples), (runs, 1)), axis=1)
        rows, order = order[:, :BATCH], order[:, BATCH:]
        gradients = networks.gradients(x[run, rows], partial(loss_gradient, rows))
        rate = LEARNING_RATE * (1 - (step - 1) / steps) * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
        for p, g, mean, square in zip(networks.parameters, gradients, means, squares, strict=True):
            mean += 0.1 * (g - mean)
            square += 0.001 * (g * g - square)
            p -= rate * mean / (np.sqrt(square) + 1e-8)
        advance()
    return networks


def label_loss(labels: np.ndarray, smoothing: float = 0.0) -> LossGradient:
    """The gradient of the cross-entropy with the labels (runs, examples), a mean over the batch of each run."""
    run = np.arange(len(labels))[:, None]

    def gradient(rows: np.ndarray, logits: np.ndarray) -> np.ndarray:
        target = labels[run, rows]
        _, d_logits = xe.cross_entropy(
            logits, target, axis=-1, label_smoothing=smoothing, denominator=BATCH, return_grad=True
        )
        return d_logits

    return gradient


@dataclass(frozen=True)
class Estimate:
    """The mean over the runs and its standard error."""

    mean: float
    error: float

    @property
    def sign(self) -> int:
        """-1 or 1 where the mean is more than two standard errors away from 0, else 0."""
        return int(np.sign(self.mean)) if abs(self.mean) > 2 * self.error else 0


def estimate(values: np.ndarray) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5))


@dataclass(frozen=True)
class Scores:
    """On the test set, one number per run."""

    accuracy: np.ndarray
    loss: np.ndarray  # cross-entropy in nats


def score(networks: Networks, x: np.ndarray, y: np.ndarray) -> Scores:
    logits = networks.logits(x)
    labels = np.broadcast_to(y, logits.shape[:2])
    losses = xe.cross_entropy(logits, labels, axis=-1, reduction="none")
    return Scores((logits.argmax(axis=-1) == labels).mean(axis=1), losses.mean(axis=1))
