"""What a model trained here and the same model of scikit-learn have to agree on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-6  # of the weights, relative, in the maximum norm


@dataclass(frozen=True)
class Model:
    """What one of the two solvers found. Losses are in nats, without the penalty."""

    weights: np.ndarray  # the intercepts last
    iterations: int
    train_loss: float
    test_loss: float
    test_accuracy: float


@dataclass(frozen=True)
class Comparison:
    ours: Model
    theirs: Model
    curve: np.ndarray  # (iterations + 1, 2): loss on the training and on the test set

    @property
    def difference(self) -> float:
        """max |ours - theirs| / max |theirs|."""
        theirs = self.theirs.weights
        return float(np.abs(self.ours.weights - theirs).max() / np.abs(theirs).max())

    @property
    def passed(self) -> bool:
        return self.difference <= TOLERANCE
