"""The edge cases of the contract, each by its name."""

import numpy as np
import operations
import pytest
from contract.bad_calls import OF_INDICES_ALONE
from contract.edge_calls import INF, NAN, arr, assert_close
from support import assert_same_bits

import crossent as xe

LOSSES = [loss.forward.run for loss in operations.LOSSES if loss.name in OF_INDICES_ALONE]
losses = pytest.mark.parametrize("loss", LOSSES, ids=lambda f: f.__name__)


# ---- Empty batch -----------------------------------------------------------------------------------------------------


@losses
@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (2, 3, 0), (0, 0)], ids=str)
def test_empty_batch(loss, shape, dtype):
    x, target = np.empty(shape, dtype), np.empty((shape[0], *shape[2:]), int)
    none, grad = loss(x, target, reduction="none", return_grad=True)
    assert none.shape == target.shape
    assert none.dtype == grad.dtype == dtype
    assert grad.shape == shape
    total = loss(x, target, reduction="sum")
    assert total == 0
    assert total.dtype == dtype
    mean, grad = loss(x, target, return_grad=True)
    assert np.isnan(mean)
    assert mean.dtype == dtype
    assert grad.shape == shape
    assert loss(x, target, denominator=3.0) == 0
    assert getattr(xe, loss.__name__ + "_backward")(1.0, x, target).shape == shape


def test_empty_batch_of_normalisers(dtype):
    x = np.empty((0, 3), dtype)
    assert xe.softmax(x).shape == xe.log_softmax(x).shape == (0, 3)
    assert xe.softmax_backward(x, x).shape == xe.log_softmax_backward(x, x).shape == (0, 3)
    assert xe.logsumexp(x).shape == (0,)
    assert xe.logsumexp(x, keepdims=True).shape == (0, 1)
    assert xe.logsumexp_backward(x[:, 0], x).shape == (0, 3)
    assert xe.softmax(x, axis=1).dtype == xe.logsumexp(x).dtype == dtype


@pytest.mark.parametrize("axis", [-1, (-1,), (1, 2), None], ids=str)
def test_logsumexp_of_no_class_is_minus_infinity(axis, dtype):
    """As in SciPy and PyTorch: the logarithm of a sum of no terms."""
    x = np.empty((2, 3, 0), dtype)
    wanted = np.full({-1: (2, 3), (-1,): (2, 3), (1, 2): (2,), None: ()}[axis], -INF, dtype)
    value = xe.logsumexp(x, axis)
    assert_same_bits(np.asarray(value), wanted)
    assert isinstance(value, np.ndarray if wanted.shape else np.generic)
    kept = xe.logsumexp(x, axis, keepdims=True)
    assert_same_bits(kept, wanted.reshape(wanted.shape + (1,) * (3 - wanted.ndim)))
    out = np.zeros((*wanted.shape, 2), dtype)
    assert xe.logsumexp(x, axis, out=out[..., 0]).base is out
    np.testing.assert_array_equal(out[..., 0], -INF)
    np.testing.assert_array_equal(out[..., 1], 0)
    for g, keepdims in ((np.ones_like(wanted), False), (np.ones_like(kept), True)):
        for given in (None, np.empty_like(x)):
            grad = xe.logsumexp_backward(g, x, axis, keepdims=keepdims, out=given)
            assert grad.shape == x.shape and grad.dtype == dtype
            assert given is None or grad is given
    with pytest.raises(ValueError, match="grad_output has shape"):
        xe.logsumexp_backward(np.ones(5, dtype), x, axis)


def test_logsumexp_of_no_class_elsewhere(dtype):
    np.testing.assert_array_equal(xe.logsumexp(np.empty((0, 3), dtype), 0), [-INF] * 3)
    assert xe.logsumexp(np.empty(0, dtype)) == xe.logsumexp([]) == -INF
    assert xe.logsumexp(np.empty((0, 3, 0), dtype)).shape == (0, 3)
    assert xe.logsumexp(np.empty((2, 0), np.float16)).dtype == np.float32
    many = xe.logsumexp(np.empty((3000, 0), dtype), out=np.zeros((3000, 2), dtype)[:, 1])
    np.testing.assert_array_equal(many, -INF)
    for f in (xe.softmax, xe.log_softmax):
        with pytest.raises(ValueError, match="at least one class"):
            f(np.empty((2, 0), dtype))
    with pytest.raises(np.exceptions.AxisError):
        xe.logsumexp(np.empty((2, 0), dtype), 2)


# ---- Rows that do not count ------------------------------------------------------------------------------------------


@losses
@pytest.mark.parametrize("options", [{"target": [-100, -100]}, {"weight": [0, 0, 1]}, {"sample_weight": [0, 0]}],
                         ids=("ignored", "weight", "sample_weight"))
def test_every_row_ignored_or_denominator_0(loss, options, dtype):
    x = arr([[1, 2, 3], [4, 5, 6]], dtype)
    target, rest = options.get("target", [0, 1]), {k: v for k, v in options.items() if k != "target"}
    mean, grad = loss(x, target, return_grad=True, **rest)
    assert np.isnan(mean)
    np.testing.assert_array_equal(grad, np.zeros((2, 3)))
    value, grad = loss(x, target, denominator=2.0, return_grad=True, **rest)
    assert value == 0
    np.testing.assert_array_equal(grad, np.zeros((2, 3)))
    assert loss(x, target, reduction="sum", **rest) == 0
    np.testing.assert_array_equal(loss(x, target, reduction="none", **rest), [0, 0])


def test_every_row_of_weight_0_with_label_smoothing(dtype):
    """The losses live, their denominator is 0: x/0 is NaN by this contract, the gradient 0."""
    x = arr([[1, 2, 3], [4, 5, 6]], dtype)
    mean, grad = xe.cross_entropy(x, [0, 1], weight=[0, 0, 1], label_smoothing=0.1, return_grad=True)
    assert np.isnan(mean)
    np.testing.assert_array_equal(grad, np.zeros((2, 3)))


without_second_row = pytest.mark.parametrize("options", [
    {"target": [1, -100]}, {"weight": [1, 1, 0], "target": [1, 2]}, {"sample_weight": [1, 0], "target": [1, 2]},
], ids=("ignored", "weight_0", "sample_weight_0"))


@losses
@pytest.mark.parametrize("poison", [INF, -INF, NAN])
@without_second_row
def test_row_that_does_not_count_is_never_read(loss, options, poison, dtype):
    """pytorch#11551: ignored rows with infinite logits give NaN gradients there."""
    x = arr([[1, 2, 3], [poison] * 3], dtype)
    target, rest = options["target"], {k: v for k, v in options.items() if k != "target"}
    alone = loss(x[:1], target[:1], return_grad=True)
    for reduction in ("none", "sum", "mean"):
        value, grad = loss(x, target, reduction=reduction, return_grad=True, **rest)
        np.testing.assert_array_equal(value, [alone[0], 0] if reduction == "none" else alone[0])
        np.testing.assert_array_equal(grad, [alone[1][0], [0, 0, 0]])
        in_place = x.copy()
        loss(in_place, target, reduction=reduction, return_grad=True, grad_out=in_place, **rest)
        np.testing.assert_array_equal(in_place, grad)


@losses
@pytest.mark.parametrize("poison", [INF, -INF, NAN])
@without_second_row
def test_row_that_does_not_count_with_poisoned_upstream_gradient(loss, options, poison, dtype):
    backward = getattr(xe, loss.__name__ + "_backward")
    x, target = arr([[1, 2, 3], [1, 2, 3]], dtype), options["target"]
    rest = {k: v for k, v in options.items() if k != "target"}
    grad = backward(arr([1, poison], dtype), x, target, reduction="none", **rest)
    np.testing.assert_array_equal(grad, [loss(x[:1], target[:1], reduction="sum", return_grad=True)[1][0], [0, 0, 0]])


def test_nothing_counts_in_a_row_of_smoothing_alone(dtype):
    """Smoothing with all class weights 0 leaves no coefficient; with one positive weight the row is read."""
    x = arr([[NAN, 2, 3]], dtype)
    value, grad = xe.cross_entropy(x, [0], weight=[0, 0, 0], label_smoothing=0.5, reduction="sum", return_grad=True)
    assert value == 0
    assert not grad.any()
    assert np.isnan(xe.cross_entropy(x, [0], weight=[0, 0, 1], label_smoothing=0.5, reduction="sum"))


# ---- Infinities and NaN ----------------------------------------------------------------------------------------------


def test_masked_class(dtype):
    x = arr([[0, -INF, 0]], dtype)
    value, grad = xe.cross_entropy(x, [0], return_grad=True)
    assert_close(value, np.log(2))
    np.testing.assert_array_equal(grad, [[-0.5, 0, 0.5]])
    np.testing.assert_array_equal(xe.softmax(x), [[0.5, 0, 0.5]])
    assert_close(xe.log_softmax(x), [[-np.log(2), -INF, -np.log(2)]])


def test_target_on_a_masked_class(dtype):
    value, grad = xe.cross_entropy(arr([[0, -INF, 0]], dtype), [1], return_grad=True)
    assert value == INF
    np.testing.assert_array_equal(grad, [[0.5, -1, 0.5]])


def test_smoothing_over_a_masked_class(dtype):
    """Its weight is positive, so the loss is infinite; with weight 0 it contributes 0 (below)."""
    x = arr([[0, -INF, 0]], dtype)
    value, grad = xe.cross_entropy(x, [0], label_smoothing=0.75, return_grad=True)
    assert value == INF
    np.testing.assert_array_equal(grad, [[0, -0.25, 0.25]])


def test_weight_0_on_an_infinite_log_probability(dtype):
    x = arr([[0, -INF, 0]], dtype)
    value = xe.cross_entropy(x, [0], weight=[1, 0, 1], label_smoothing=0.75, reduction="sum")
    assert_close(value, 0.75 * np.log(2))
    assert xe.nll_loss(arr([[-1, -INF]], dtype), [1], weight=[1, 0], reduction="sum") == 0
    assert xe.nll_loss(arr([[-1, -INF]], dtype), [1]) == INF


@pytest.mark.parametrize("row", [[-INF] * 3, [0, INF, 1], [INF, INF, 0], [-INF, INF, 0], [0, NAN, 1], [NAN] * 3,
                                 [NAN, INF, -INF], [-INF, NAN, -INF]], ids=str)
@pytest.mark.parametrize("length", [3, 40, 2100])
def test_bad_row_is_nan_and_stays_alone(row, length, dtype):
    """Wherever in a long row, and whatever the rows beside it."""
    rest = -INF if row == [-INF] * 3 else 0
    for place in {0, min(length // 2, length - 3), length - 3}:
        bad = np.full(length, rest, dtype)
        bad[place:place + 3] = row
        x = np.stack([np.zeros(length, dtype), bad, np.zeros(length, dtype)])
        good = np.zeros((1, length), dtype)
        loss, grad = xe.cross_entropy(x, [1, 1, 1], reduction="none", return_grad=True)
        wanted = xe.cross_entropy(good, [1], reduction="sum", return_grad=True)
        np.testing.assert_array_equal(loss, [wanted[0], NAN, wanted[0]])
        for got, fine in ((xe.softmax(x), xe.softmax(good)[0]), (xe.log_softmax(x), xe.log_softmax(good)[0]),
                          (grad, wanted[1][0])):
            np.testing.assert_array_equal(got, [fine, np.full(length, NAN), fine])
        lse = xe.logsumexp(x)[1]
        np.testing.assert_array_equal(lse, NAN if np.isnan(row).any() else INF if INF in row else -INF)
        assert np.isnan(xe.cross_entropy(x, [1, 1, 1]))


def test_all_masked_row_of_one_class(dtype):
    x = arr([[-INF]], dtype)
    assert np.isnan(xe.softmax(x))
    assert np.isnan(xe.log_softmax(x))
    assert np.isnan(xe.cross_entropy(x, [0]))
    assert xe.logsumexp(x) == -INF


def test_gradient_of_logsumexp_at_all_masked_is_0(dtype):
    """pytorch#49724, jax#6811."""
    for length in (1, 3, 40, 2100):
        x = np.full((2, length), -INF, dtype)
        x[0] = 0
        np.testing.assert_array_equal(xe.logsumexp_backward(arr([1, 1], dtype), x)[1], np.zeros(length))
    np.testing.assert_array_equal(xe.logsumexp_backward(arr([2], dtype), arr([[0, -INF]], dtype)), [[2, 0]])
    assert np.isnan(xe.logsumexp_backward(arr([1], dtype), arr([[0, NAN]], dtype))).all()


def test_masked_classes_in_log_softmax_backward(dtype):
    log_probs = xe.log_softmax(arr([[0, -INF, 0]], dtype))
    grad = xe.log_softmax_backward(arr([[1, 1, 0]], dtype), log_probs)
    np.testing.assert_allclose(grad, [[0, 1, -1]], atol=2 * np.finfo(dtype).eps)


def test_difference_that_overflows(dtype):
    top = {np.float32: 3e38, np.float64: 1.7e308}[dtype]
    x = arr([[top, -top]], dtype)
    np.testing.assert_array_equal(xe.log_softmax(x), [[0, -INF]])
    np.testing.assert_array_equal(xe.softmax(x), [[1, 0]])
    assert xe.logsumexp(x) == dtype(top)
    value, grad = xe.cross_entropy(np.concatenate([x, x]), [0, 1], reduction="none", return_grad=True)
    np.testing.assert_array_equal(value, [0, INF])
    np.testing.assert_array_equal(grad, [[0, 0], [1, -1]])


# ---- One class, index dtypes, offsets, confident rows ----------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -5, 1e30])
def test_one_class_gives_loss_0(value, dtype):
    loss, grad = xe.cross_entropy(np.full((3, 1), value, dtype), [0, 0, 0], reduction="none", return_grad=True)
    np.testing.assert_array_equal(loss, np.zeros(3))
    np.testing.assert_array_equal(grad, np.zeros((3, 1)))
    assert_close(xe.softmax(np.full((3, 1), value, dtype)), np.ones((3, 1)))


@pytest.mark.parametrize("shape", [(2, 0), (2, 0, 3), (0,)], ids=str)
def test_no_classes_with_rows(shape, dtype):
    x, rows = np.empty(shape, dtype), shape[:1] + shape[2:] if len(shape) > 1 else ()
    axis = 1 if len(shape) > 1 else 0
    for loss in LOSSES:
        with pytest.raises(ValueError, match="class"):
            loss(x, np.zeros(rows, int))
    for function in (xe.softmax, xe.log_softmax):
        with pytest.raises(ValueError, match="class"):
            function(x, axis)


@losses
def test_unsigned_255_with_ignore_index_255(loss, dtype):
    x = arr([[1, 2], [5, 6]], dtype)
    assert loss(x, arr([0, 255], np.uint8), ignore_index=255) == loss(x[:1], [0])


@losses
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_unsigned_value_is_not_minus_100(loss, kind, dtype):
    """156 as a byte is -100: it must be out of range here, not ignored."""
    wrapped = int(np.array(-100).astype(kind))
    with pytest.raises(IndexError, match=str(wrapped)):
        loss(np.zeros((2, 2), dtype), np.array([0, wrapped], kind))


@losses
@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
@pytest.mark.parametrize("ignore_index", [-100, None, -1, 0])
def test_uint64_from_2_63_on_is_out_of_range(loss, value, ignore_index, dtype):
    with pytest.raises(IndexError, match=str(value)):
        loss(np.zeros((1, 2), dtype), np.array([value], np.uint64), ignore_index=ignore_index)


@losses
def test_ignore_index_none_ignores_nothing(loss, dtype):
    with pytest.raises(IndexError, match="-100"):
        loss(np.zeros((1, 2), dtype), [-100], ignore_index=None)
    x = arr([[1, 2], [5, 7]], dtype)
    assert loss(x, [0, 1], ignore_index=None) == loss(x, [0, 1])


@losses
def test_ignore_index_may_be_a_class(loss, dtype):
    x = arr([[1, 2], [5, 7]], dtype)
    assert loss(x, [0, 1], ignore_index=1) == loss(x[:1], [0])
    np.testing.assert_array_equal(loss(x, [0, 1], ignore_index=1, return_grad=True)[1][1], [0, 0])


@losses
def test_ignore_index_beyond_the_dtype_of_the_target(loss, dtype):
    """No int8 is 1000 or -1000, so nothing is ignored: in particular not what wraps to it."""
    x = arr([[1, 2], [5, 7]], dtype)
    for ignore_index in (1000, -1000, 256, -256, 2**62):
        assert loss(x, np.array([0, 1], np.int8), ignore_index=ignore_index) == loss(x, [0, 1])


@pytest.mark.parametrize("offset", [1e8, -1e8, 1e30, -1e30])
def test_large_common_offset(offset, dtype):
    value, grad = xe.cross_entropy(arr([[offset, offset]], dtype), [0], return_grad=True)
    assert_close(value, np.log(2))
    np.testing.assert_array_equal(grad, [[-0.5, 0.5]])


def test_confident_row():
    """pytorch#113708, #195678."""
    value, grad = xe.cross_entropy(np.array([[17, 0]], np.float32), [0], return_grad=True)
    assert_close(value, 4.1399376e-08)
    assert_close(grad, [[-4.1399376e-08, 4.1399376e-08]])


# ---- Parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [5e-324, 1e-300, 1e300])
def test_extreme_temperatures(value, dtype):
    """The limits: all mass on the maximum, or the same for every class."""
    x = arr([1, 0, -1], dtype)
    assert_close(xe.softmax(x, temperature=value), [1, 0, 0] if value < 1 else [1 / 3] * 3)
