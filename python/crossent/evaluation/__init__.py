"""Evaluation of classifiers and language models from their logits, in memory or on disk."""

from ._calibration import calibration_error
from ._evaluate import evaluate
from ._evaluation import Evaluation

__all__ = ["Evaluation", "calibration_error", "evaluate"]
