"""Evaluation of classifiers and language models from their logits, in memory or on disk."""

from ._calibrate import calibrate
from ._calibration import calibration_error
from ._calibration_result import Calibration
from ._evaluate import evaluate
from ._evaluation import Evaluation

__all__ = ["Calibration", "Evaluation", "calibrate", "calibration_error", "evaluate"]
