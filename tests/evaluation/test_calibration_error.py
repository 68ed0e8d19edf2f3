"""ECE and MCE of both kinds of bins, against loops over the bins."""

import exact_figures
import ml_dtypes
import numpy as np
import pytest

import crossent as xe
from crossent.evaluation import calibration_error

REFERENCE = {"equal_width": exact_figures.equal_width, "equal_mass": exact_figures.equal_mass}


@pytest.fixture
def probs(rng):
    return rng.dirichlet(np.full(6, 0.3), 1000)


@pytest.mark.parametrize("kind", REFERENCE)
@pytest.mark.parametrize("bins", [1, 2, 15, 40, 2000])
def test_against_the_definition(rng, probs, kind, bins):
    target = rng.integers(0, 6, 1000)
    exact = REFERENCE[kind](probs.max(axis=1), probs.argmax(axis=1) == target, bins)
    assert calibration_error(probs, target, bins=bins, kind=kind) == pytest.approx(exact, abs=1e-13)


def test_edges_belong_to_the_bin_below():
    probs = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
    # Bins (0, 1/2] and (1/2, 1]: gaps 1/2, and 1/8 of two rows.
    ece, mce = calibration_error(probs, [0, 1, 0], bins=2)
    assert (ece, mce) == pytest.approx((0.5 / 3 + 2 / 3 * 0.375, 0.5))
    assert calibration_error(np.array([[1.0, 0.0]]), [0]) == (0.0, 0.0)


def test_perfectly_calibrated(rng):
    confidence = np.repeat([0.6, 0.8], 500)
    target = np.concatenate([np.arange(500) >= 300, np.arange(500) >= 400]).astype(int)
    probs = np.stack([confidence, 1 - confidence], axis=1)
    assert calibration_error(probs, target, bins=10) == pytest.approx((0, 0), abs=1e-14)


def test_statistics_leave_out_rows(rng):
    logits = rng.normal(size=(200, 5))
    target = rng.integers(0, 5, 200)
    expected = calibration_error(xe.softmax(logits[2:]), target[2:])
    target[0] = -100
    logits[1, 3] = np.nan
    assert calibration_error(xe.row_statistics(logits, target), target) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_dtypes_and_layouts(rng, probs, dtype):
    probs, target = probs.astype(dtype), rng.integers(0, 6, 1000)
    whole = calibration_error(probs, target)
    assert calibration_error(np.asfortranarray(probs), target) == whole
    assert calibration_error(probs.reshape(20, 50, 6), target.reshape(20, 50)) == whole
    assert calibration_error(probs.astype(np.float64), target) == whole


@pytest.mark.parametrize("arguments, error, message", [
    (([[0.5, 1.5]], [0]), ValueError, r"probs\[0, 1\] is 1.5"),
    (([[0.5, np.nan]], [0]), ValueError, r"probs\[0, 1\] is nan"),
    (([[0.5, 0.5]], [2]), IndexError, r"target\[0\] is 2, outside \[0, 2\)"),
    (([[0.5, 0.5]], [0.0]), TypeError, "target has dtype float64"),
    (([[0.5, 0.5]], [0, 1]), ValueError, r"target has shape \(2,\): expected \(1,\)"),
    ((np.zeros((0, 3)), np.zeros(0, int)), ValueError, "no row is left"),
    ((np.zeros((2, 0)), [0, 0]), ValueError, "at least one class"),
    (([["a", "b"]], [0]), TypeError, "dtype"),
], ids=str)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        calibration_error(*arguments)


def test_options_are_checked():
    with pytest.raises(ValueError, match="kind is 'mass'"):
        calibration_error([[1.0, 0.0]], [0], kind="mass")
    with pytest.raises(ValueError, match="bins is 0"):
        calibration_error([[1.0, 0.0]], [0], bins=0)
