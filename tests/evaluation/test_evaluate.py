"""Every figure of `evaluate` against its definition in extended precision; rows that do not count; errors."""

import json
import math
import tracemalloc

import exact_figures
import ml_dtypes
import numpy as np
import pytest

from crossent.evaluation import Evaluation, calibration_error, evaluate

# row_statistics is within 4 ULP: half a spacing of a number is at most 2^-24 of it in float32, 2^-53 in float64, and a
# spacing at most 2^-23 and 2^-52. The means of positive numbers are as near; 1 ULP more for the sums and the quotient.
RELATIVE = {np.dtype(np.float64): 5 * 2.0**-52, np.dtype(np.float32): 5 * 2.0**-23}


def draw(rng, rows=700, classes=37, dtype=np.float64, spread=3.0):
    """Logits that know something of the targets; every ninth row is ignored."""
    target = rng.integers(0, classes, rows)
    logits = rng.normal(0, spread, (rows, classes))
    logits[np.arange(rows), target] += spread
    target[4::9] = -100
    return logits.astype(dtype), target


def check(result, logits, target, blocks=None, temperature=1.0, relative=5 * 2.0**-52):
    """Returns the largest relative difference of a mean."""
    counted = target != -100
    numbers, confidence = exact_figures.rows(logits[counted], target[counted], temperature)
    worst = 0.0
    for name, x in numbers.items():
        # The sum of squares is within 4 ULP of itself: of at most 1, and the Brier score may be less.
        tolerance = relative * (x.mean() + (name == "brier_score"))
        assert abs(getattr(result, name) - x.mean()) <= tolerance, name
        worst = max(worst, float(abs(getattr(result, name) / x.mean() - 1)))
        # Numbers x (1 + e) have deviations that are off by e x and by the mean of that.
        error = 2 * relative * (np.sqrt((x**2).mean()) + (name == "brier_score")) / math.sqrt(x.size - 1)
        error += 1e-13 * exact_figures.standard_error(x)
        assert abs(result.standard_errors[name] - exact_figures.standard_error(x)) <= error, name
        if blocks is not None:
            exact = exact_figures.block_standard_error(x, blocks[counted])
            # The deviations of a block may be off in the same direction.
            together = np.unique(blocks[counted], return_counts=True)[1].max()
            assert abs(result.block_standard_errors[name] - exact) <= 2 * together * error + 1e-13 * exact, name
    assert result.perplexity == pytest.approx(float(np.exp(numbers["loss"].mean())), rel=relative * 10)
    correct = numbers["accuracy"]
    ece, mce = exact_figures.equal_width(confidence, correct, 15)
    adaptive, _ = exact_figures.equal_mass(confidence, correct, 15)
    for ours, exact in ((result.ece, ece), (result.mce, mce), (result.adaptive_ece, adaptive)):
        assert abs(ours - exact) <= relative + 1e-14  # of confidences of at most 1
    return worst


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda d: d.__name__)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_every_figure(rng, dtype, temperature):
    logits, target = draw(rng, dtype=dtype)
    blocks = np.arange(len(target)) // 50
    result = evaluate(logits, target, blocks=50, temperature=temperature)
    worst = check(result, logits, target, blocks, temperature, RELATIVE.get(np.dtype(dtype), 5 * 2.0**-23))
    assert worst < (1e-14 if dtype is np.float64 else 1e-6)
    assert (result.tokens, result.ignored, result.nan_rows, result.blocks) == (622, 78, 0, 14)


def test_confident_rows(rng):
    """Brier scores of 1e-12, where the sum of squares and 1 - 2 p are -1 and 1 to the last bit."""
    logits = np.zeros((40, 3), np.float32)
    logits[:, 1] = 14
    target = np.ones(40, int)
    exact, _ = exact_figures.rows(logits, target)
    result = evaluate(logits, target)
    assert 1e-12 < result.brier_score < 1e-11
    assert result.brier_score == pytest.approx(float(exact["brier_score"].mean()), rel=0.34)  # between bounds 2 to 1
    assert result.loss == pytest.approx(float(exact["loss"].mean()), rel=5 * 2.0**-23)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_same_bits_however_it_is_cut(rng, dtype):
    logits, target = draw(rng, rows=333, classes=101, dtype=dtype)
    logits[17, 3] = np.nan
    whole = evaluate(logits, target, blocks=16, skip_nan=True)
    for rows_at_a_time in (1, 2, 7, 100, 332, 333, 10_000):
        cut = evaluate(logits, target, blocks=16, skip_nan=True, rows_at_a_time=rows_at_a_time)
        assert repr(cut) == repr(whole), rows_at_a_time


def test_layouts_and_files_give_the_same(rng, tmp_path):
    logits, target = draw(rng, dtype=np.float32)
    whole = repr(evaluate(logits, target))
    np.save(tmp_path / "logits.npy", logits)
    np.save(tmp_path / "targets.npy", target.astype(np.int16))
    assert repr(evaluate(np.asfortranarray(logits), target)) == whole
    assert repr(evaluate(tmp_path / "logits.npy", str(tmp_path / "targets.npy"))) == whole
    padded = np.concatenate([logits, np.full((len(logits), 3), 100, np.float32)], axis=1)
    assert repr(evaluate(padded, target, vocab_size=logits.shape[1])) == whole


def test_memory_does_not_grow_with_the_classes(rng, tmp_path):
    """Of NumPy's memory at the peak: a few blocks of ten rows, and some numbers of each of the 2,000 rows."""
    target = rng.integers(0, 4000, 2000)
    np.save(tmp_path / "logits.npy", rng.normal(size=(2000, 4000)).astype(np.float32))  # 32 MB
    tracemalloc.start()
    try:
        evaluate(tmp_path / "logits.npy", target, blocks=50, rows_at_a_time=10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 10 * 4000 * 4 + 200 * 2000 + 200_000  # the last: modules that are imported


def test_ignored_rows_are_as_if_not_there(rng):
    logits, target = draw(rng)
    logits[target == -100] = np.nan
    counted = target != -100
    ids = np.arange(len(target)) // 7
    with_them = evaluate(logits, target, blocks=ids).as_dict()
    without = evaluate(logits[counted], target[counted], blocks=ids[counted], ignore_index=None).as_dict()
    assert with_them.pop("ignored") == 78 and without.pop("ignored") == 0
    assert with_them == without


def test_nan_rows_are_named_or_counted(rng):
    logits, target = draw(rng, rows=300)
    bad = [23, 150, 290]
    logits[bad, 2] = np.nan, np.inf, np.nan
    logits[7] = -np.inf
    target[[7, *bad]] = 0
    for size in (None, 10):
        with pytest.raises(ValueError, match=r"^logits\[7\] has a NaN or an infinite maximum"):
            evaluate(logits, target, rows_at_a_time=size)
    logits[7] = 0
    with pytest.raises(ValueError, match=r"^logits\[23\] has a NaN"):
        evaluate(logits, target, rows_at_a_time=10)
    result = evaluate(logits, target, skip_nan=True, rows_at_a_time=10)
    left = np.delete(np.arange(300), bad)
    assert result.nan_rows == 3
    assert result.loss == evaluate(logits[left], target[left]).loss


def test_impossible_targets_have_infinite_loss():
    result = evaluate(np.array([[0.0, -np.inf], [0.0, 0.0], [1.0, 0.0]]), np.array([1, 0, 0]))
    assert (result.infinite_losses, result.loss, result.perplexity) == (1, math.inf, math.inf)
    assert math.isnan(result.standard_errors["loss"]) and math.isnan(result.standard_errors["perplexity"])
    assert math.isfinite(result.mean_rank) and math.isfinite(result.brier_score)
    assert result.as_dict()["loss"] is None
    assert evaluate(np.array([[0.0, -2000.0]]), np.array([1])).perplexity == math.inf


def test_one_row_has_no_standard_error():
    result = evaluate(np.array([[1.0, 0.0]]), np.array([0]), blocks=1)
    assert math.isnan(result.standard_errors["loss"]) and math.isnan(result.block_standard_errors["loss"])
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["standard_errors"]["loss"] is None


def test_result_is_frozen_readable_and_json(rng):
    result = evaluate(*draw(rng), blocks=50)
    assert isinstance(result, Evaluation)
    with pytest.raises(AttributeError):
        result.loss = 0.0
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False)) == result.as_dict()
    text = str(result)
    assert "± by block" in text and f"{result.perplexity:,.6g}" in text
    assert all(line == line.rstrip() for line in text.split("\n"))
    assert "by block" not in str(evaluate(*draw(rng)))
    assert set(result.standard_errors) == set(result.block_standard_errors) == {*exact_figures.MEANS, "perplexity"}


def test_calibration_is_that_of_calibration_error(rng):
    import crossent as xe

    logits, target = draw(rng)
    result = evaluate(logits, target, bins=7)
    statistics = xe.row_statistics(logits, target)
    assert (result.ece, result.mce) == calibration_error(statistics, target, bins=7)
    assert result.adaptive_ece == calibration_error(statistics, target, bins=7, kind="equal_mass")[0]


@pytest.mark.parametrize("changed, error, message", [
    ({"target": np.array([0, 9, 1])}, IndexError, r"target\[1\] is 9, outside \[0, 4\) and not ignore_index"),
    ({"target": np.array([0, -1, 1])}, IndexError, r"target\[1\] is -1"),
    ({"target": np.array([0, 1, -100]), "ignore_index": None}, IndexError, r"target\[2\] is -100, outside \[0, 4\)$"),
    ({"target": np.array([0.0, 1.0, 2.0])}, TypeError, "target has dtype float64"),
    ({"target": np.array([0, 1])}, ValueError, "target"),
    ({"target": np.full(3, -100)}, ValueError, "no row is left: 3 are ignored"),
    ({"logits": np.zeros((0, 4)), "target": np.zeros(0, int)}, ValueError, "no row is left"),
    ({"temperature": 0.0}, ValueError, "temperature is 0.0"),
    ({"blocks": 0}, ValueError, "blocks is 0"),
    ({"blocks": 1.5}, TypeError, "blocks has dtype float64"),
    ({"blocks": [0, 1]}, ValueError, r"blocks has shape \(2,\): expected \(3,\)"),
    ({"bins": 0}, ValueError, "bins is 0"),
    ({"bins": 1.5}, TypeError, "bins is 1.5"),
    ({"vocab_size": 5}, ValueError, "vocab_size"),
    ({"rows_at_a_time": 0}, ValueError, "rows_at_a_time is 0"),
    ({"rows_at_a_time": 0.5}, TypeError, "rows_at_a_time is 0.5"),
    ({"logits": np.zeros((3, 4), complex)}, TypeError, "complex128"),
], ids=str)
def test_errors(changed, error, message):
    arguments = {"logits": np.zeros((3, 4)), "target": np.array([0, 1, 2]), **changed}
    with pytest.raises(error, match=message):
        evaluate(**arguments)
