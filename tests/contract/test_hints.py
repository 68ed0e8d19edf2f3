"""Errors that say what to do, where the mistake is a common one; and not where it is another."""

import io
import re

import ml_dtypes
import numpy as np
import pytest

import crossent as xe
from crossent import information

N, T, C = 4, 5, 3
LAST_AXIS = "pass axis=-1, if the classes are along the last axis"
INDICES = "pass target.astype(int), if it holds class indices"
ORDER = "the arguments may be in the wrong order: logits, then target"
OF_INDICES = pytest.mark.parametrize(
    "loss", [xe.cross_entropy, xe.nll_loss, information.perplexity], ids=lambda f: f.__name__)


@OF_INDICES
def test_classes_along_the_last_axis(loss):
    logits, target = np.zeros((N, T, C)), np.zeros((N, T), int)
    message = f"target has shape (4, 5): expected (4, 3), one class index per row; {LAST_AXIS}"
    with pytest.raises(ValueError, match=re.escape(message)):
        loss(logits, target)
    assert np.isfinite(loss(logits, target, axis=-1))
    with pytest.raises(ValueError, match=r"one class index per row$"):
        loss(logits, target[:, :2])


def test_distillation_along_the_last_axis():
    logits = np.zeros((N, T, C))
    with pytest.raises(ValueError, match=LAST_AXIS):
        xe.distillation_loss(logits, logits, np.zeros((N, T), int))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@OF_INDICES
def test_labels_of_a_floating_dtype(loss, dtype):
    logits, target = np.zeros((N, C)), np.array([0, 1, 2, 1], dtype)
    with pytest.raises((TypeError, ValueError), match=re.escape(INDICES)):
        loss(logits, target)
    assert np.isfinite(loss(logits, target.astype(int)))
    with pytest.raises((TypeError, ValueError), match=r"integer dtype$"):
        loss(logits, target + dtype(0.5))
    with pytest.raises((TypeError, ValueError), match=r"integer dtype$"):
        loss(logits, np.full(N, np.nan, dtype))


@OF_INDICES
def test_both(loss):
    with pytest.raises((TypeError, ValueError), match=re.escape(f"{LAST_AXIS} and {INDICES.removeprefix('pass ')}")):
        loss(np.zeros((N, T, C)), np.zeros((N, T)))


@OF_INDICES
@pytest.mark.parametrize("shape", [(N, C), (N, C, T)], ids=str)
def test_swapped_logits_and_class_indices(loss, shape):
    target = np.zeros(shape[:1] + shape[2:], int)
    with pytest.raises((TypeError, ValueError), match=ORDER):
        loss(target, np.zeros(shape))


@pytest.mark.parametrize("loss", [xe.cross_entropy, xe.binary_cross_entropy_with_logits, xe.kl_div],
                         ids=lambda f: f.__name__)
def test_swapped_logits_and_probabilities(loss):
    x, p = np.array([[-1.0, 3.0]]), np.array([[0.25, 0.75]])
    with pytest.raises(ValueError, match=r"target\[0, 0\] is -1.0: .*; the target is the second argument$"):
        loss(p, x)
    assert np.isfinite(loss(x, p))


def test_bfloat16_from_a_file():
    file = io.BytesIO()
    np.save(file, np.ones((N, C), ml_dtypes.bfloat16))
    file.seek(0)
    x = np.load(file)
    assert x.dtype == "V2"
    for call in (xe.softmax, xe.sigmoid, information.entropy, lambda x: xe.cross_entropy(x, np.zeros(N, int))):
        with pytest.raises(TypeError, match=r"\.view\(ml_dtypes.bfloat16\)$"):
            call(x)
    weighted = lambda x: xe.cross_entropy(np.zeros((N, C)), [0] * N, sample_weight=x[:, 0])
    for name, call in (("target", lambda x: xe.cross_entropy(np.zeros((N, C)), x)), ("sample_weight", weighted)):
        with pytest.raises(TypeError, match=rf"pass {name}.view\(ml_dtypes.bfloat16\)$"):
            call(x)
    assert xe.softmax(x.view(ml_dtypes.bfloat16)).dtype == ml_dtypes.bfloat16
    with pytest.raises(TypeError, match=r"float64$"):
        xe.softmax(np.zeros(3, "V4"))
