"""Sums and standard errors: exact formulas, and the spread of means of random blocks."""

import math
from fractions import Fraction

import numpy as np
import pytest

from crossent.evaluation import evaluate
from crossent.evaluation._statistics import Blocks, mean_of, ordered_sum


@pytest.mark.parametrize("size", [0, 1, 2, 3, 17, 1000, 16_384, 16_385, 100_001])
def test_sums_are_within_an_ulp(rng, size):
    x = rng.normal(size=size) * 10.0 ** rng.integers(-12, 12, size)
    exact = float(sum(map(Fraction, x.tolist()), Fraction(0)))
    assert abs(ordered_sum(x) - exact) <= math.ulp(exact)


def test_sums_of_the_infinite():
    assert ordered_sum(np.array([1.0, np.inf, 2.0])) == math.inf


def test_each_row_a_block_is_independence(rng):
    x = rng.normal(size=500)
    mean = mean_of(x, Blocks(np.arange(500), 500))
    assert mean.block_standard_error == pytest.approx(mean.standard_error, rel=1e-14)


def test_equal_blocks_are_the_mean_of_their_means(rng):
    means = rng.normal(size=40)
    x = means[:, None] + rng.normal(size=(40, 25))
    found = mean_of(x.ravel(), Blocks(np.repeat(np.arange(40), 25), 40)).block_standard_error
    assert found == pytest.approx(np.std(x.mean(axis=1), ddof=1) / math.sqrt(40), rel=1e-13)


def test_errors_are_the_spread_of_the_mean(rng):
    """Documents of unequal length with something in common: 4,000 corpora of 60 documents."""
    repeats, documents = 4000, 60
    means, squares, token_squares = [], [], []
    for _ in range(repeats):
        lengths = rng.integers(5, 40, documents)
        index = np.repeat(np.arange(documents), lengths)
        x = (0.5 * rng.normal(size=documents))[index] + rng.normal(size=index.size)
        mean = mean_of(x, Blocks(index, documents))
        means.append(mean.value)
        squares.append(mean.block_standard_error**2)
        token_squares.append(mean.standard_error**2)
    spread = np.std(means)
    # The spread of 4,000 numbers is known within 1.1 % (one standard deviation); the bias is of the order of 1 / 60.
    assert math.sqrt(np.mean(squares)) == pytest.approx(spread, rel=0.05)
    assert math.sqrt(np.mean(token_squares)) < 0.6 * spread


def test_delta_method_and_bits(rng):
    result = evaluate(rng.normal(size=(400, 5)), rng.integers(0, 5, 400), blocks=20)
    for errors in (result.standard_errors, result.block_standard_errors):
        assert errors["perplexity"] == pytest.approx(errors["loss"] * result.perplexity, rel=1e-15)
        assert errors["bits_per_token"] == pytest.approx(errors["loss"] / math.log(2), rel=1e-15)


def test_blocks_by_length_and_by_number(rng):
    logits, target = rng.normal(size=(100, 5)), rng.integers(0, 5, 100)
    by_length = evaluate(logits, target, blocks=30)
    assert by_length.blocks == 4
    assert repr(by_length) == repr(evaluate(logits, target, blocks=np.arange(100) // 30))
    renamed = np.array([-7, 2**40, 3, 5])[np.arange(100) // 30]
    errors = evaluate(logits, target, blocks=renamed).block_standard_errors
    assert errors == pytest.approx(by_length.block_standard_errors, rel=1e-14)  # added in another order


def test_blocks_without_rows_that_count_are_not_there(rng):
    logits, target = rng.normal(size=(90, 5)), rng.integers(0, 5, 90)
    target[30:60] = -100
    assert evaluate(logits, target, blocks=30).blocks == 2
