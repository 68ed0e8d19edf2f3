"""A float16 array of more than 2^31 elements, for real: 4.3 GB. Its own session, and named so that pytest finds it only
when asked: pytest tests/large/more_than_32_bits.py
"""

import numpy as np
import pytest

import crossent as xe

ROWS, CLASSES = 2**16 + 8, 2**15


@pytest.fixture(scope="module")
def x():
    x = np.zeros((ROWS, CLASSES), np.float16)
    x[-1, -1] = 10
    x[-2, 0] = -np.inf
    return x


def test_forward(x):
    target = np.zeros(ROWS, np.int32)
    target[-1] = CLASSES - 1
    losses = xe.cross_entropy(x, target, reduction="none")
    rest = np.float32(np.log(CLASSES))
    np.testing.assert_array_equal(losses[:-2], np.full(ROWS - 2, losses[0]))
    np.testing.assert_allclose(losses[0], rest, rtol=2 * np.finfo(np.float32).eps)
    assert losses[-2] == np.inf
    np.testing.assert_allclose(losses[-1], np.log1p((CLASSES - 1) * np.exp(-10.0)), rtol=2 * np.finfo(np.float32).eps)


def test_a_bad_target_behind_the_last_32_bit_position(x):
    target = np.zeros(ROWS, np.int32)
    target[-1] = CLASSES
    with pytest.raises(IndexError, match=f"{ROWS - 1}.*{CLASSES}"):
        xe.cross_entropy(x, target)


def test_a_bad_probability_behind_the_last_32_bit_position(x):
    """The probabilities are the logits' own array: 0, and 10 at the very end."""
    x[-2, 0] = 0
    with pytest.raises(ValueError, match=rf"target\[{ROWS - 1}, {CLASSES - 1}\]"):
        xe.cross_entropy(x, x)


def test_elementwise(x):
    x[-2, 0], x[-1, -1] = 0, 1
    loss = xe.binary_cross_entropy_with_logits(x, x)
    assert loss.dtype == np.float32
    np.testing.assert_allclose(loss, np.log(2), rtol=4 * np.finfo(np.float32).eps)
