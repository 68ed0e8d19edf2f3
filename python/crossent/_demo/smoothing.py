"""Label smoothing on digits: what it does to the accuracy, the loss and the confidence of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import crossent as xe

from . import digits
from .networks import Estimate, Networks, Scores, estimate, fit, label_loss, score

UNITS, TRAINING_STEPS = 64, 1000
SMOOTHINGS = (0.0, 0.05, 0.1, 0.2)
STEPS = len(SMOOTHINGS) * TRAINING_STEPS
BINS = 15


@dataclass(frozen=True)
class Smoothed(Scores):
    """Networks trained with one smoothing. Confidence is the largest probability."""

    confidence: np.ndarray  # its mean
    calibration_error: np.ndarray
    reliability: np.ndarray  # (bins, 3): predictions of all runs in the bin, their mean confidence, their accuracy


@dataclass(frozen=True)
class Result:
    smoothed: dict[float, Smoothed]  # by smoothing

    def change(self, smoothing: float, name: str) -> Estimate:
        """Of a score against that of no smoothing, run by run."""
        return estimate(getattr(self.smoothed[smoothing], name) - getattr(self.smoothed[0.0], name))


def binned(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(bins, 3), in bins of equal width: the number of predictions, and sums of the confidence and of the right."""
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return np.stack([np.bincount(places, values, BINS) for values in (np.ones(places.shape), confidence, right)], 1)


def evaluate(networks: Networks, x: np.ndarray, y: np.ndarray) -> Smoothed:
    probs = xe.softmax(networks.logits(x))
    confidence, right = probs.max(axis=-1), probs.argmax(axis=-1) == y
    bins = np.array([binned(*run) for run in zip(confidence, right, strict=True)])
    # Expected calibration error: |confidence - accuracy| of a bin, weighted by its predictions.
    error = np.abs(bins[..., 1] - bins[..., 2]).sum(axis=1) / len(y)
    total = bins.sum(axis=0)
    total[:, 1:] /= np.maximum(total[:, :1], 1)
    scores = score(networks, x, y)
    return Smoothed(scores.accuracy, scores.loss, confidence.mean(axis=1), error, total)


def run(advance: Callable[[], object], runs: int) -> Result:
    x_train, x_test, y_train, y_test = digits.load()
    x_train, x_test = x_train.astype(np.float32), x_test.astype(np.float32)
    images = np.broadcast_to(x_train, (runs, *x_train.shape))
    labels = np.broadcast_to(y_train, (runs, len(y_train)))

    def train(smoothing: float) -> Smoothed:
        rng = np.random.default_rng(UNITS)  # the same initial weights and batches for each smoothing
        networks = Networks(rng, runs, x_train.shape[1], UNITS, int(y_train.max()) + 1)
        fit(networks, images, label_loss(labels, smoothing), TRAINING_STEPS, rng, advance)
        return evaluate(networks, x_test, y_test)

    return Result({smoothing: train(smoothing) for smoothing in SMOOTHINGS})
