"""The edge cases of the contract in the losses with a second distribution, each by its name."""

import numpy as np
import operations
import pytest
from contract.edge_calls import (
    ELEMENT_LOSSES,
    INF,
    NAN,
    ROW_LOSSES,
    arr,
    assert_close,
    call,
    others_of,
    rows_of,
)
from oracle.divergence import DIVERGENCES

import crossent as xe
from crossent import information

Q = [[0.5, 0.25, 0.25], [0.125, 0.25, 0.625]]

row_losses = pytest.mark.parametrize("form", ROW_LOSSES, ids=repr)
divergences = pytest.mark.parametrize("divergence", DIVERGENCES)


# ---- Empty batch, no classes, one class ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (2, 3, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("form", operations.FORMS, ids=repr)
def test_empty_batch(form, shape, dtype):
    x = np.empty(shape, dtype)
    wanted_shape = shape if form.per_element else rows_of(x)
    none, grad = call(form, x, reduction="none", return_grad=True)
    assert none.shape == wanted_shape
    assert none.dtype == grad.dtype == dtype
    assert grad.shape == shape
    total = call(form, x, reduction="sum")
    assert total == 0
    assert total.dtype == dtype
    mean, grad = call(form, x, reduction="mean", return_grad=True)
    assert np.isnan(mean)
    assert mean.dtype == dtype
    assert grad.shape == shape
    assert call(form, x, reduction="mean", denominator=3.0) == 0
    assert form.backward(1.0, x, *others_of(form, x), **form.fixed).shape == shape
    if "batchmean" in form.reductions and shape[0] == 0:
        assert np.isnan(call(form, x, reduction="batchmean"))


def test_empty_batch_of_information(dtype):
    p = np.empty((0, 3), dtype)
    assert information.entropy(p).shape == information.entropy_with_logits(p).shape == (0,)
    for function in (information.cross_entropy, information.kl_divergence, information.js_divergence):
        assert function(p, p).shape == (0,)
        assert function(p, p).dtype == dtype
    assert np.isnan(information.perplexity(p, np.empty(0, int)))


@pytest.mark.parametrize("shape", [(2, 0), (2, 0, 3), (0,)], ids=str)
@pytest.mark.parametrize("form", [form for form in operations.FORMS if not form.per_element], ids=repr)
def test_no_classes_with_rows(form, shape, dtype):
    x = np.empty(shape, dtype)
    with pytest.raises(ValueError, match="class"):
        call(form, x, axis=min(1, len(shape) - 1))
    for function in (information.entropy, information.entropy_with_logits):
        with pytest.raises(ValueError, match="class"):
            function(x, min(1, len(shape) - 1))


@pytest.mark.parametrize("value", [0, -5, 1e30])
@row_losses
def test_one_class_gives_loss_0(form, value, dtype):
    loss, grad = call(form, np.full((3, 1), value, dtype), reduction="none", return_grad=True)
    np.testing.assert_array_equal(loss, np.zeros(3))
    np.testing.assert_array_equal(grad, np.zeros((3, 1)))
    np.testing.assert_array_equal(information.entropy_with_logits(np.full((3, 1), value, dtype)), np.zeros(3))


# ---- Rows that do not count ------------------------------------------------------------------------------------------


@row_losses
def test_every_row_of_sample_weight_0(form, dtype):
    x = arr([[1, 2, 3], [4, 5, 6]], dtype)
    mean, grad = call(form, x, sample_weight=[0, 0], reduction="mean", return_grad=True)
    assert np.isnan(mean)
    np.testing.assert_array_equal(grad, np.zeros((2, 3)))
    value, grad = call(form, x, sample_weight=0.0, reduction="mean", denominator=2.0, return_grad=True)
    assert value == 0
    np.testing.assert_array_equal(grad, np.zeros((2, 3)))
    assert call(form, x, sample_weight=[0, 0], reduction="sum") == 0


def test_every_row_ignored_in_distillation(dtype):
    x, t = arr([[1, 2, 3], [4, 5, 6]], dtype), arr([[3, 2, 1], [4, 5, 7]], dtype)
    for options in ({}, {"alpha": 1.0}, {"alpha": 0.0}):
        mean, grad = xe.distillation_loss(x, t, [-100, -100], return_grad=True, **options)
        assert np.isnan(mean)
        np.testing.assert_array_equal(grad, np.zeros((2, 3)))
        assert xe.distillation_loss(x, t, [-100, -100], denominator=2.0, **options) == 0
        assert xe.distillation_loss(x, t, [-100, -100], reduction="sum", **options) == 0


def test_every_element_of_weight_0_in_the_binary_losses(dtype):
    """Their mean divides by the element count, which is not 0."""
    for form in (form for form in ELEMENT_LOSSES if "weight" in form.weights):
        value, grad = call(form, arr([[0.5, 0.25]], dtype), weight=0.0, return_grad=True)
        assert value == 0
        np.testing.assert_array_equal(grad, [[0, 0]])


@pytest.mark.parametrize("poison", [INF, -INF, NAN])
@row_losses
def test_row_that_does_not_count_is_never_read(form, poison, dtype):
    """By sample_weight 0: neither its logits nor its teacher nor its upstream gradient."""
    x = arr([[1, 2, 3], [poison] * 3], dtype)
    others = others_of(form, arr([[1, 2, 3]] * 2, dtype))
    if "teacher_logits" in form.arrays:
        others[0][1] = poison
    alone, alone_grad = call(form, x[:1], *(a[:1] for a in others), reduction="sum", return_grad=True)
    for reduction in ("none", "sum", "mean"):
        value, grad = call(form, x, *others, sample_weight=[1, 0], reduction=reduction, return_grad=True)
        np.testing.assert_array_equal(value, [alone, 0] if reduction == "none" else alone)
        np.testing.assert_array_equal(grad, [alone_grad[0], [0, 0, 0]])
    grad = form.backward(arr([1, poison], dtype), x, *others, sample_weight=[1, 0], reduction="none", **form.fixed)
    np.testing.assert_array_equal(grad, [alone_grad[0], [0, 0, 0]])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("poison", [INF, -INF, NAN])
def test_ignored_row_of_distillation_is_never_read(poison, alpha, dtype):
    x, t = arr([[1, 2, 3], [poison] * 3], dtype), arr([[3, 1, 3], [poison] * 3], dtype)
    alone, alone_grad = xe.distillation_loss(x[:1], t[:1], [1], alpha=alpha, return_grad=True)
    for reduction in ("none", "sum", "mean"):
        value, grad = xe.distillation_loss(x, t, [1, -100], alpha=alpha, reduction=reduction, return_grad=True)
        np.testing.assert_array_equal(value, [alone, 0] if reduction == "none" else alone)
        np.testing.assert_array_equal(grad, [alone_grad[0], [0, 0, 0]])
    grad = xe.distillation_loss_backward(arr([1, poison], dtype), x, t, [1, -100], alpha=alpha, reduction="none")
    np.testing.assert_array_equal(grad, [alone_grad[0], [0, 0, 0]])


@pytest.mark.parametrize("poison", [INF, -INF, NAN])
def test_row_of_probabilities_that_are_all_0_is_never_read(poison, dtype):
    x, q = arr([[1, 2, 3], [poison] * 3], dtype), arr([Q[0], [0, 0, 0]], dtype)
    value, grad = xe.cross_entropy(x, q, reduction="none", return_grad=True)
    np.testing.assert_array_equal(value, [xe.cross_entropy(x[:1], q[:1]), 0])
    np.testing.assert_array_equal(grad[1], [0, 0, 0])
    for smoothing in (0.0, 0.5, 1.0):
        options = {"weight": [0, 0, 0], "label_smoothing": smoothing, "reduction": "none", "return_grad": True}
        value, grad = xe.cross_entropy(x, arr(Q, dtype), **options)
        assert not value.any()
        assert not grad.any()
        value, grad = xe.distillation_loss(x, np.zeros_like(x), arr(Q, dtype), alpha=0, **options)
        assert not value.any()
        assert not grad.any()


@pytest.mark.parametrize("poison", [INF, -INF, NAN])
def test_element_of_weight_0_is_never_read(poison, dtype):
    x, y = arr([1, poison, 1], dtype), arr([0.5, 0.5, 1], dtype)
    value, grad = xe.binary_cross_entropy_with_logits(x, y, weight=[1, 0, 1], reduction="none", return_grad=True)
    assert value[1] == 0
    assert grad[1] == 0
    assert value[0] > 0
    grad = xe.binary_cross_entropy_with_logits_backward(arr([1, poison, 1], dtype), x, y, weight=[1, 0, 1],
                                                        reduction="none")
    assert grad[1] == 0
    assert np.isfinite(grad).all()


def test_term_of_distillation_without_a_share_is_never_read(dtype):
    """alpha=0 is cross_entropy whatever the teacher says; alpha=1 is the divergence whatever the targets are."""
    x, t = arr([[0, -INF, 1]], dtype), arr([[NAN, 1, INF]], dtype)
    assert xe.distillation_loss(x, t, [0], alpha=0) == xe.cross_entropy(x, [0])
    t = arr([[1, -INF, 0]], dtype)
    for target in ([1], arr([[0, 1, 0]], dtype)):
        value, grad = xe.distillation_loss(x, t, target, alpha=1, return_grad=True)
        wanted, wanted_grad = xe.kl_div_with_logits(x, t, return_grad=True)
        assert value == wanted
        np.testing.assert_array_equal(grad, wanted_grad)


# ---- Float16 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", operations.FLOATS[:2], ids=str)
def test_more_rows_than_a_half_counts(dtype):
    """pytorch#85791: 65,520 and more rows make the mean of float16 losses infinite or wrong there."""
    n = 70_000
    x, y = np.zeros((n, 2), dtype), np.zeros(n, int)
    t = np.tile(arr([1, 0], dtype), (n, 1))
    for loss, wanted in ((xe.cross_entropy(x, y), np.log(2)), (xe.cross_entropy(x, np.full_like(x, 0.5)), np.log(2)),
                         (xe.kl_div_with_logits(x, t), xe.kl_div_with_logits(x[:1], t[:1])),
                         (xe.distillation_loss(x, t, y), xe.distillation_loss(x[:1], t[:1], y[:1])),
                         (xe.binary_cross_entropy_with_logits(x, t), np.log(2)),
                         (xe.kl_div(x - dtype.type(0.5), np.full_like(x, 0.5), reduction="mean"),
                          0.5 * (0.5 - np.log(2)))):
        assert loss.dtype == np.float32
        np.testing.assert_allclose(loss, wanted, rtol=2 * np.finfo(np.float32).eps)
    loss, grad = xe.cross_entropy(x, y, reduction="sum", return_grad=True)
    assert_close(loss, np.float32(n * np.log(2)))
    np.testing.assert_array_equal(grad, np.tile(arr([-0.5, 0.5], dtype), (n, 1)))


@pytest.mark.parametrize("dtype", operations.FLOATS[:2], ids=str)
def test_more_classes_than_a_half_counts(dtype):
    c = 70_000
    x = np.zeros((2, c), dtype)
    assert_close(xe.cross_entropy(x, [0, c - 1], reduction="none"), np.log(np.full(2, c, np.float32)))
    assert_close(information.entropy_with_logits(x), np.log(np.full(2, c, np.float32)))
    assert xe.kl_div_with_logits(x, x) == 0
    with np.errstate(under="ignore"):
        np.testing.assert_array_equal(xe.softmax(x), np.full((2, c), np.float32(1 / c)).astype(dtype))
        grad = xe.cross_entropy(x, [0, c - 1], reduction="sum", return_grad=True)[1]
        np.testing.assert_array_equal(grad[0, 1:], np.full(c - 1, np.float32(1 / c)).astype(dtype))
    assert grad[0, 0] == -1


def test_mean_gradient_of_float16_may_underflow():
    """Inherent: 0.5 / 2^25 is below half of the least float16, 2^-24. A smaller `denominator` keeps it in range."""
    x = np.zeros((4, 2), np.float16)
    assert not xe.cross_entropy(x, [0] * 4, denominator=2.0**25, return_grad=True)[1].any()
    assert xe.cross_entropy(x, [0] * 4, denominator=2.0, return_grad=True)[1][0, 0] == -0.25


# ---- Offsets, confident rows, indices --------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [1e8, -1e8, 1e30, -1e30])
def test_large_common_offset(offset, dtype):
    x, zero = arr([[offset, offset]], dtype), arr([[0, 0]], dtype)
    value, grad = xe.cross_entropy(x, arr([[0.5, 0.5]], dtype), return_grad=True)
    assert_close(value, np.log(2))
    np.testing.assert_allclose(grad, [[0, 0]], atol=np.finfo(dtype).eps)  # 4 ulp of terms of 1/4
    for divergence in DIVERGENCES:
        assert xe.kl_div_with_logits(x, zero, divergence=divergence) == 0
        assert xe.kl_div_with_logits(zero, x, divergence=divergence, temperature=0.1) == 0
    assert_close(xe.distillation_loss(x, zero, [0]), np.log(2) / 2)
    assert_close(information.entropy_with_logits(x), np.log([2]))


def test_confident_row():
    """pytorch#113708, #195678, with probabilities: one-hot is the class index."""
    value, grad = xe.cross_entropy(np.array([[17, 0]], np.float32), np.array([[1, 0]], np.float32), return_grad=True)
    assert_close(value, 4.1399376e-08)
    assert_close(grad, [[-4.1399376e-08, 4.1399376e-08]])


def test_one_hot_and_index_differ_under_weights(dtype):
    """Class weights never enter the denominator of probabilities."""
    x, w = arr([[1, 2], [3, 1]], dtype), arr([2, 8], dtype)
    index, hot = xe.cross_entropy(x, [0, 1], weight=w), xe.cross_entropy(x, np.eye(2, dtype=dtype), weight=w)
    assert_close(hot, index * dtype(5))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_unsigned_255_with_ignore_index_255_in_distillation(kind, dtype):
    x, t = arr([[1, 2], [5, 6]], dtype), arr([[1, 0], [0, 1]], dtype)
    got = xe.distillation_loss(x, t, arr([0, 255], kind), ignore_index=255)
    assert got == xe.distillation_loss(x[:1], t[:1], [0])
    with pytest.raises(IndexError, match="156"):
        xe.distillation_loss(x, t, arr([0, 156], kind))
    with pytest.raises(IndexError, match="-100"):
        xe.distillation_loss(x, t, [0, -100], ignore_index=None)
