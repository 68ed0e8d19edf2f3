"""Calibration on digits: what one temperature does to the probabilities of a naive Bayes classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

import crossent as xe
from crossent.sklearn import TemperatureScaling

from . import smoothing


@dataclass(frozen=True)
class Quality:
    """Of probabilities of the test images."""

    accuracy: float
    loss: float
    calibration_error: float
    reliability: np.ndarray  # (bins, 3): predictions in the bin, their mean confidence, their accuracy


@dataclass(frozen=True)
class Result:
    fit: xe.TemperatureFit
    before: Quality
    after: Quality


def quality(log_probs: np.ndarray, y: np.ndarray) -> Quality:
    right = log_probs.argmax(axis=1) == y
    bins = smoothing.binned(np.exp(log_probs.max(axis=1)), right)
    error = float(np.abs(bins[:, 1] - bins[:, 2]).sum() / len(y))
    bins[:, 1:] /= np.maximum(bins[:, :1], 1)
    return Quality(float(right.mean()), float(xe.nll_loss(log_probs, y)), error, bins)


def run(advance: Callable[[], object]) -> Result:
    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(images, labels, random_state=0, stratify=labels)
    model = TemperatureScaling(GaussianNB(var_smoothing=1e-2)).fit(x_train, y_train)
    advance()
    before = quality(model.estimator_.predict_log_proba(x_test), y_test)
    after = quality(model.predict_log_proba(x_test), y_test)
    advance()
    return Result(model.temperature_fit_, before, after)
