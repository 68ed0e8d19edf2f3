"""nll_loss against exact arithmetic: 4 ulp of the exact value (a row is one or two products, a gradient entry too)."""

import numpy as np
import oracle
import pytest
from test_cross_entropy import LIMIT, OPTIONS, arrays, some_rows

import crossent as xe

NLL_OPTIONS = {name: options for name, options in OPTIONS.items() if "label_smoothing" not in options}
NLL_OPTIONS["everything"] = {k: v for k, v in OPTIONS["everything"].items() if k != "label_smoothing"}


def some_log_probs(rng, dtype):
    x, target = some_rows(rng, dtype)
    return xe.log_softmax(x), target


@pytest.mark.parametrize("name", NLL_OPTIONS)
@pytest.mark.parametrize("reduction", ("none", "sum", "mean", "denominator"))
def test_options(name, reduction, dtype, rng):
    log_probs, target = some_log_probs(rng, dtype)
    options = arrays(NLL_OPTIONS[name], dtype)
    own = 37.5 if reduction == "denominator" else None
    reduction = "mean" if own else reduction
    loss, grad = xe.nll_loss(log_probs, target, reduction=reduction, denominator=own, return_grad=True, **options)
    exact = oracle.nll_loss_rows(log_probs, target, **options)
    if reduction != "none":
        exact = oracle.reduce(exact, reduction, own or oracle.denominator(12, 9, target, **options))
    oracle.assert_within(LIMIT, loss, exact)
    exact_grad = oracle.nll_loss_grad(log_probs, target, reduction, mean_denominator=own, **options)
    oracle.assert_within(LIMIT, grad, *exact_grad)
    assert loss.dtype == grad.dtype == dtype
    assert isinstance(loss, np.ndarray if reduction == "none" else np.floating)


@pytest.mark.parametrize("name", NLL_OPTIONS)
@pytest.mark.parametrize("reduction", ("none", "sum", "mean", "denominator"))
def test_backward(name, reduction, dtype, rng):
    log_probs, target = some_log_probs(rng, dtype)
    options = arrays(NLL_OPTIONS[name], dtype)
    own = 37.5 if reduction == "denominator" else None
    reduction = "mean" if own else reduction
    upstream = rng.normal(0, 1, 12).astype(dtype) if reduction == "none" else dtype(-1.75)
    grad = xe.nll_loss_backward(upstream, log_probs, target, reduction=reduction, denominator=own, **options)
    oracle.assert_within(LIMIT, grad, *oracle.nll_loss_grad(log_probs, target, reduction, upstream, own, **options))


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
    assert grad.sum() == -24 and (np.take_along_axis(grad, target[:, None], 1) == -1).all()


@pytest.mark.parametrize("target", (2, np.uint8(2), np.array(2), np.array([2]), [2]), ids=repr)
def test_unbatched(target, dtype):
    loss, grad = xe.nll_loss(np.array([-0.5, -1, -2], dtype), target, return_grad=True)
    assert loss == 2 and isinstance(loss, np.floating) and loss.dtype == dtype
    np.testing.assert_array_equal(grad, [0, 0, -1])


def test_grad_out_is_the_second_result(dtype, rng):
    log_probs, target = some_log_probs(rng, dtype)
    wanted = xe.nll_loss(log_probs, target, return_grad=True)[1]
    for buffer in (np.empty_like(log_probs), np.empty_like(log_probs, order="F"), log_probs):
        assert xe.nll_loss(log_probs, target, return_grad=True, grad_out=buffer)[1] is buffer
        np.testing.assert_array_equal(buffer, wanted)
