"""nll_loss beside cross_entropy and the log-probabilities themselves.

Exact values, options, reductions, dtypes and layouts are in test_every_loss.py.
"""

import numpy as np
import pytest
from distributions import some_rows

import crossent as xe


def some_log_probs(rng, dtype):
    x, target = some_rows(rng, dtype)
    return xe.log_softmax(x), target


def test_nll_of_log_softmax_is_cross_entropy(dtype, rng):
    """To the rounding of the log-probabilities: half an ulp and the 4 ulp each function may take."""
    x, target = some_rows(rng, dtype)
    np.testing.assert_allclose(xe.nll_loss(xe.log_softmax(x), target, reduction="none"),
                               xe.cross_entropy(x, target, reduction="none"), rtol=9 * np.finfo(dtype).eps)


def test_one_row_without_weight_is_the_log_probability_itself(dtype, rng):
    log_probs, target = some_log_probs(rng, dtype)
    np.testing.assert_array_equal(xe.nll_loss(log_probs, target, reduction="none"), -log_probs[np.arange(12), target])


def test_only_the_target_is_read(dtype):
    """NaN in other classes is none of the loss's business."""
    log_probs = np.array([[np.nan, -1, np.inf], [-2, np.nan, np.nan]], dtype)
    loss, grad = xe.nll_loss(log_probs, [1, 0], reduction="sum", return_grad=True)
    assert loss == 3
    np.testing.assert_array_equal(grad, [[0, -1, 0], [-1, 0, 0]])


def test_spatial_axes(dtype, rng):
    log_probs = xe.log_softmax(rng.normal(0, 2, (2, 5, 3, 4)).astype(dtype), axis=1)
    target = rng.integers(0, 5, (2, 3, 4))
    loss, grad = xe.nll_loss(log_probs, target, reduction="none", return_grad=True)
    np.testing.assert_array_equal(loss, -np.take_along_axis(log_probs, target[:, None], 1)[:, 0])
    assert grad.sum() == -24
    assert (np.take_along_axis(grad, target[:, None], 1) == -1).all()


@pytest.mark.parametrize("target", [2, np.uint8(2), np.array(2), np.array([2]), [2]], ids=repr)
def test_unbatched(target, dtype):
    loss, grad = xe.nll_loss(np.array([-0.5, -1, -2], dtype), target, return_grad=True)
    assert loss == 2
    assert isinstance(loss, np.floating)
    assert loss.dtype == dtype
    np.testing.assert_array_equal(grad, [0, 0, -1])


def test_grad_out_is_the_second_result(dtype, rng):
    log_probs, target = some_log_probs(rng, dtype)
    wanted = xe.nll_loss(log_probs, target, return_grad=True)[1]
    for buffer in (np.empty_like(log_probs), np.empty_like(log_probs, order="F"), log_probs):
        assert xe.nll_loss(log_probs, target, return_grad=True, grad_out=buffer)[1] is buffer
        np.testing.assert_array_equal(buffer, wanted)
