"""Classifiers and a calibrator with the interface of scikit-learn: ``pip install 'crossent[sklearn]'``."""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError("crossent.sklearn needs scikit-learn: pip install 'crossent[sklearn]'") from error

from ._softmax_regression import SoftmaxRegression
from ._temperature_scaling import TemperatureScaling

__all__ = ["SoftmaxRegression", "TemperatureScaling"]
