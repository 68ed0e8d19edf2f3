"""`compare`: rows that do not count, rows that are odd, and errors."""

import json
import math

import numpy as np
import pytest
from test_compare import draw

from crossent.evaluation import Comparison, compare


def test_ignored_rows_are_as_if_not_there(rng):
    base, other, target = draw(rng)
    base[target == -100] = np.nan
    other[4] = np.inf
    counted = target != -100
    ids = np.arange(len(target)) // 7
    with_them = compare(base, other, target, blocks=ids, worst=0).as_dict()
    without = compare(base[counted], other[counted], target[counted], blocks=ids[counted], worst=0).as_dict()
    assert with_them.pop("ignored") == 78 and without.pop("ignored") == 0
    assert with_them == without


def test_nan_rows_are_named_or_counted(rng):
    base, other, target = draw(rng, rows=300)
    target[[23, 150]] = 0
    base[23, 2], other[150, 2] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"^base\[23\] has a NaN or an infinite maximum"):
        compare(base, other, target, rows_at_a_time=10)
    base[23, 2] = 0
    with pytest.raises(ValueError, match=r"^other\[150\] has a NaN or an infinite maximum"):
        compare(base, other)
    base[23, 2] = np.nan
    result = compare(base, other, target, skip_nan=True, worst=0)
    left = np.delete(np.arange(300), [23, 150])
    assert result.nan_rows == 2
    assert result.kl == compare(base[left], other[left], target[left]).kl


def test_impossible_classes_make_it_infinite():
    base = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, -np.inf]])
    other = np.array([[0.0, -np.inf, -1.0], [0.0, 1.0, 2.0]])
    result = compare(base, other, np.array([1, 0]))
    assert (result.infinite_kl, result.kl, result.kl_quantiles["max"], result.reverse_kl) == (1, *[math.inf] * 3)
    assert result.other_perplexity == result.perplexity_ratio == math.inf
    assert 0 < result.js < math.log(2) and math.isfinite(result.delta_p)
    assert math.isnan(result.correlation) and math.isnan(result.standard_errors["kl"])
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["kl"] is None
    assert "inf" in str(result)


def test_few_classes_and_one_row():
    result = compare(np.array([[1.0, 0.0, 0.5]]), np.array([[0.0, 1.0, 0.5]]), np.array([0]), blocks=1)
    assert (result.top1_agreement, result.top5_agreement, result.top10_agreement) == (0, 1, 1)
    assert math.isnan(result.standard_errors["kl"]) and math.isnan(result.correlation)
    assert compare(np.zeros((2, 1)), np.ones((2, 1)), np.array([0, 0])).kl == 0


def test_result_is_frozen_readable_and_json(rng):
    result = compare(*draw(rng), blocks=50)
    assert isinstance(result, Comparison)
    with pytest.raises(AttributeError):
        result.kl = 0.0
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False)) == result.as_dict()
    text = str(result)
    for part in ("± by block", f"{result.kl:,.6g}", "quantile", "base confidence", "position", "worst tokens"):
        assert part in text
    assert all(line == line.rstrip() for line in text.split("\n"))


@pytest.mark.parametrize("changed, error, message", [
    ({"other": np.zeros((4, 4))}, ValueError, r"^other has 4 rows of 4 classes: expected 3 of 4, as base has$"),
    ({"other": np.zeros((3, 5))}, ValueError, r"^other has 3 rows of 5 classes: expected 3 of 4, as base has$"),
    ({"target": np.array([0, 4, 1])}, IndexError, r"target\[1\] is 4, outside \[0, 4\) and not ignore_index"),
    ({"target": np.array([0.0, 1.0, 2.0])}, TypeError, "target has dtype float64"),
    ({"target": np.array([0, 1])}, ValueError, "target has 2 targets: expected 3"),
    ({"target": np.full(3, -100)}, ValueError, "no row is left: 3 are ignored"),
    ({"blocks": 0}, ValueError, "blocks is 0"),
    ({"blocks": [0, 1]}, ValueError, r"blocks has shape \(2,\): expected \(3,\)"),
    ({"worst": -1}, ValueError, "worst is -1"),
    ({"worst": 1.5}, TypeError, "worst is 1.5"),
    ({"vocab_size": 5}, ValueError, "vocab_size"),
    ({"rows_at_a_time": 0}, ValueError, "rows_at_a_time is 0"),
    ({"base": np.zeros((3, 4), complex)}, TypeError, "complex128"),
    ({"base": 3}, TypeError, "base is a int"),
    ({"llama": True}, ValueError, "base is not a file of llama-perplexity"),
], ids=str)
def test_errors(changed, error, message):
    arguments = {"base": np.zeros((3, 4)), "other": np.zeros((3, 4)), "target": np.array([0, 1, 2]), **changed}
    with pytest.raises(error, match=message):
        compare(**arguments)
