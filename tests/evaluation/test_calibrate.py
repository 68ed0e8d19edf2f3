"""`calibrate`: the temperature against bisection in extended precision and `fit_temperature`, the figures against
`evaluate`; rows that are held out; errors."""

import json
import math
import tracemalloc
import warnings

import exact_figures
import ml_dtypes
import numpy as np
import pytest

import crossent as xe
from crossent.evaluation import Calibration, calibrate, evaluate

SEARCH = 1e-7  # of log T, which `fit_temperature` promises for float64 logits
ROUNDING = {np.float64: 5 * 2.0**-52}  # of a mean of the numbers of row_statistics: see test_evaluate.py


def draw(rng, rows=700, classes=37, scale=2.0, dtype=np.float64):
    """Logits that know something of the targets."""
    target = rng.integers(0, classes, rows)
    logits = rng.normal(0, 1, (rows, classes))
    logits[np.arange(rows), target] += rng.normal(3, 2, rows)
    return (scale * logits).astype(dtype), target


def warned(problem, *arguments, **options):
    """The result, which warns once of the problem, at the line of the call."""
    with pytest.warns(RuntimeWarning, match=problem) as caught:
        found = calibrate(*arguments, **options)
    assert [warning.filename for warning in caught] == [__file__]
    return found


def tolerance(logits, target, log_temperature, dtype):
    """Of log T. The search is for the zero of the entropy less the loss, both rounded, which has this derivative."""
    loss, entropy, variance = exact_figures.loss_and_entropy(logits, target, log_temperature)
    return SEARCH + ROUNDING.get(dtype, 5 * 2.0**-23) * (loss + entropy) / variance


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda d: d.__name__)
@pytest.mark.parametrize("scale", [0.1, 1.0, 2.0, 30.0])
def test_temperature(rng, dtype, scale):
    logits, target = draw(rng, scale=scale, dtype=dtype)
    exact = exact_figures.log_temperature(logits, target)
    found = calibrate(logits, target)
    assert (found.at_bound, found.converged) == (None, True)
    assert abs(np.log(found.temperature) - exact) <= tolerance(logits, target, exact, dtype)
    fit = xe.fit_temperature(logits, target, max_passes=8)  # six are not enough from 1 to 0.06
    assert fit.converged
    assert abs(np.log(found.temperature / fit.temperature)) <= SEARCH + tolerance(logits, target, exact, dtype)
    assert found.after.loss == pytest.approx(fit.nll_after, rel=ROUNDING.get(dtype, 5 * 2.0**-23))


def test_temperature_of_hard_problems(rng):
    """A few rows, of logits of any size: the loss may be all but flat, or nearly that of the worst row."""
    for k in range(150):
        rows, classes = int(rng.integers(2, 60)), int(rng.integers(2, 6))
        target = rng.integers(0, classes, rows)
        logits = rng.normal(size=(rows, classes)) * 10 ** rng.uniform(-2, 3)
        logits[np.arange(rows), target] += np.abs(logits).mean() * rng.uniform(0, 4)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = calibrate(logits, target)
        assert found.converged and found.passes < 20, k
        assert len(caught) == (found.at_bound is not None), k
        if found.at_bound is None and found.before.loss > 0:
            exact = exact_figures.log_temperature(logits, target)
            assert abs(np.log(found.temperature) - exact) <= tolerance(logits, target, exact, np.float64), k


def test_figures_are_those_of_evaluate(rng):
    logits, target = draw(rng)
    target[::9] = -100
    found = calibrate(logits, target, blocks=50, bins=8)
    assert found.before == evaluate(logits, target, blocks=50, bins=8)
    assert found.after == evaluate(logits, target, blocks=50, bins=8, temperature=found.temperature)
    assert found.after.loss < found.before.loss
    assert (found.fitted_rows, found.holdout) == (found.before.tokens, False)


def test_change_of_the_loss(rng):
    logits, target = draw(rng)
    found = calibrate(logits, target, blocks=50)
    at = np.arange(700), target
    change = xe.log_softmax(logits)[at] - xe.log_softmax(logits, temperature=found.temperature)[at]
    assert found.loss_change == pytest.approx(change.mean(), rel=1e-12)
    assert found.loss_change_standard_error == pytest.approx(exact_figures.standard_error(change), rel=1e-12)
    by_block = exact_figures.block_standard_error(change, np.arange(700) // 50)
    assert found.loss_change_block_standard_error == pytest.approx(by_block, rel=1e-12)


@pytest.mark.parametrize("blocks", [None, 30, "documents"])
def test_holdout(rng, blocks):
    logits, target = draw(rng)
    documents = np.sort(rng.integers(5, 25, 700) * 3)
    numbers = np.searchsorted(np.unique(documents), documents)
    index = {None: np.arange(700), 30: np.arange(700) // 30, "documents": numbers}[blocks]
    found = calibrate(logits, target, holdout=True, blocks=documents if blocks == "documents" else blocks)
    fitted = index % 2 == 0
    assert found.temperature == calibrate(logits[fitted], target[fitted]).temperature
    given = None if blocks is None else index[~fitted]
    assert found.before == evaluate(logits[~fitted], target[~fitted], blocks=given)
    assert found.after == evaluate(logits[~fitted], target[~fitted], blocks=given, temperature=found.temperature)
    assert found.fitted_rows == fitted.sum() and found.holdout


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_same_bits_however_it_is_read(rng, tmp_path, dtype):
    logits, target = draw(rng, dtype=dtype)
    np.save(tmp_path / "logits.npy", logits)
    whole = calibrate(logits, target, blocks=33)
    for size in (1, 7, 699):
        assert calibrate(tmp_path / "logits.npy", target, blocks=33, rows_at_a_time=size) == whole
    assert calibrate(np.asfortranarray(logits), target, blocks=33) == whole
    with xe.num_threads(1):
        assert calibrate(logits, target, blocks=33) == whole


def test_memory_does_not_grow_with_the_classes(tmp_path):
    """Two times 24 bytes and some temporary numbers of each row, and the blocks; the file has 200 MB."""
    logits = np.lib.format.open_memmap(tmp_path / "logits.npy", "w+", np.float16, (1000, 100_000))
    logits[:, 0] = 1
    tracemalloc.start()
    calibrate(tmp_path / "logits.npy", np.arange(1000) % 2, rows_at_a_time=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6


def test_bounds():
    logits, right, wrong = np.array([[4.0, 0.0], [0.0, 4.0]]), np.array([0, 1]), np.array([1, 0])
    lower = warned("0.001 is the lower bound", logits, right)
    upper = warned("20 is the upper bound", logits, wrong, bounds=(0.5, 20))
    assert (lower.at_bound, lower.temperature, lower.passes) == ("lower", 1e-3, 2)
    assert (upper.at_bound, upper.temperature) == ("upper", 20)
    assert ["at_bound", "lower"] in [line.split() for line in str(lower).split("\n")]
    mixed, target = np.tile(logits, (2, 1)), np.array([0, 1, 0, 0])
    assert calibrate(mixed, target).temperature == pytest.approx(3.641, rel=1e-3)
    for bounds, expected in (((1.5, 3), (3, "upper")), ((5, 9), (5, "lower")), ((2, 2), (2, "upper"))):
        found = warned(f"{expected[0]} is the {expected[1]} bound", mixed, target, bounds=bounds)
        assert (found.temperature, found.at_bound) == expected
        assert found.before.temperature == 1


@pytest.mark.parametrize("optimum, bounds, at_bound", [
    (1 - 2e-5, (1 - 1.99e-5, 2), "lower"),
    (1 + 2e-5, (0.5, 1 + 1.99e-5), "upper"),
])
def test_an_optimum_just_beyond_a_bound(rng, optimum, bounds, at_bound):
    logits, target = draw(rng)
    logits *= optimum / calibrate(logits, target).temperature
    found = warned(f"is the {at_bound} bound", logits, target, bounds=bounds)
    assert (found.temperature in bounds, found.at_bound, found.converged) == (True, at_bound, True)


def test_max_passes(rng):
    logits, target = draw(rng)
    full = calibrate(logits, target)
    assert full.passes > 4
    for most in range(1, full.passes):
        found = warned(f"did not converge within max_passes={most}", logits, target, max_passes=most)
        assert (found.passes, found.converged, found.at_bound) == (most, False, None)
        assert found.before == full.before
        assert found.after == evaluate(logits, target, temperature=found.temperature)
    assert calibrate(logits, target, max_passes=full.passes) == full
    assert calibrate(logits, target, max_passes=10**30) == full
    at_bound = warned("1 is the lower bound", logits / full.temperature / 4, target, bounds=(1, 2), max_passes=1)
    assert (at_bound.temperature, at_bound.at_bound, at_bound.passes) == (1, "lower", 1)


def test_infinite_gaps_in_other_classes(rng):
    """Masked classes have the logit -inf."""
    logits, target = draw(rng)
    kept = calibrate(logits, target)
    masked = np.hstack([logits, np.full((700, 3), -np.inf)])
    assert calibrate(masked, target).temperature == pytest.approx(kept.temperature, rel=1e-13)


def test_skip_nan(rng):
    logits, target = draw(rng)
    logits[[3, 100], 5] = np.nan
    with pytest.raises(ValueError, match=r"logits\[3\] has a NaN"):
        calibrate(logits, target)
    found = calibrate(logits, target, skip_nan=True)
    kept = np.delete(np.arange(700), [3, 100])
    assert found.temperature == calibrate(logits[kept], target[kept]).temperature
    assert (found.before.nan_rows, found.after.nan_rows, found.fitted_rows) == (2, 2, 698)


@pytest.mark.parametrize("change, arguments, message", [
    ({}, {"bounds": (0, 1)}, "bounds is"),
    ({}, {"bounds": (2, 1)}, "bounds is"),
    ({}, {"bounds": (1, math.inf)}, "bounds is"),
    ({}, {"bounds": (math.nan, 1)}, "bounds is"),
    ({}, {"bins": 0}, "bins is 0"),
    ({}, {"max_passes": 0}, "max_passes is 0: expected an integer >= 1"),
    ({}, {"max_passes": 1, "bounds": (2, 3)}, r"max_passes is 1 and bounds is \(2, 3\): expected at least 2"),
    ({}, {"holdout": True, "blocks": 4}, "no row is left: 0 are ignored, 0 have a NaN"),
    ({"target": [-100] * 4}, {}, "no row is left to fit"),
    ({"target": [-100, 0, -100, 1]}, {"holdout": True}, "no row is left to fit"),
    ({"target": [1, 1, 1, 1]}, {}, "the loss is infinite in 1 of the rows"),
], ids=str)
def test_errors(change, arguments, message):
    logits = np.array([[0.0, -np.inf], [1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    with pytest.raises(ValueError, match=message):
        calibrate(logits, np.array(change.get("target", [0, 0, 1, 0])), **arguments)


def test_max_passes_of_another_type():
    with pytest.raises(TypeError, match=r"max_passes is 6\.0: expected an integer"):
        calibrate(np.eye(2), np.array([0, 0]), max_passes=6.0)


def test_result_is_for_json_and_for_people(rng):
    logits, target = draw(rng)
    found = calibrate(logits, target, blocks=50)
    assert isinstance(found, Calibration)
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert values["temperature"] == found.temperature
    assert values["after"] == found.after.as_dict()
    lines = dict(line.split(maxsplit=1) for line in str(found).split("\n")[1:])
    assert lines["temperature"].split() == ["1", f"{found.temperature:.6g}"]
    error = found.after.block_standard_errors["loss"]
    assert lines["loss"].split()[2:] == [f"{found.after.loss:.6g}", f"{error:.2g}"]
    one = warned("lower bound", np.array([[1.0, 0.0]]), np.array([0]))
    assert one.as_dict()["loss_change_standard_error"] is None
