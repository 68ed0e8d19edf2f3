"""Evaluation of classifiers and language models from their logits, in memory or on disk."""

from ._calibrate import calibrate
from ._calibration import calibration_error
from ._compare import compare
from ._comparison import Comparison
from ._evaluate import evaluate
from ._llama import LlamaComparison
from ._results import Calibration, Evaluation

__all__ = [
    "Calibration",
    "Comparison",
    "Evaluation",
    "LlamaComparison",
    "calibrate",
    "calibration_error",
    "compare",
    "evaluate",
]
