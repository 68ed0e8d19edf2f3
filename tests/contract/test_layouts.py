"""Any memory layout gives the bits of the C-contiguous call with the class axis at 1 (NaNs count as equal)."""

import numpy as np
import operations
import pytest
from contract.bad_calls import OF_INDICES_ALONE
from contract.memory_layouts import READABLE, WRITEABLE
from hypothesis import given
from hypothesis import strategies as st
from support import DTYPES, assert_same_bits, at_offset

import crossent as xe

LOSSES = [loss for loss in operations.LOSSES if loss.name in OF_INDICES_ALONE]
losses = pytest.mark.parametrize("loss", [loss.forward.run for loss in LOSSES])

# ---- Cases -----------------------------------------------------------------------------------------------------------


@st.composite
def cases(draw):
    """(logits with the classes at 1 and C-contiguous, target, the axis to move the classes to)."""
    dtype = draw(st.sampled_from(DTYPES))
    classes = draw(st.sampled_from((1, 2, 3, 5, 10, 16, 17, 31, 33, 64, 100)))
    rows = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (rows[0], classes, *rows[1:])
    x = rng.normal(0, 4, shape).astype(dtype)
    if draw(st.booleans()):
        special = rng.random(shape) < 0.05
        x[special] = rng.choice(np.array([-np.inf, np.inf, np.nan, 1e30], dtype), special.sum())
    return x, rng.integers(0, classes, rows), draw(st.integers(0, len(rows)))


@given(case=cases(), data=st.data())
@losses
def test_losses(loss, case, data):
    x, target, axis = case
    laid_out = data.draw(st.sampled_from(READABLE))(np.moveaxis(x, 1, axis), data)
    labels = data.draw(st.sampled_from(READABLE))(target, data)
    for reduction in ("none", "sum", "mean"):
        wanted, wanted_grad = loss(x, target, reduction=reduction, return_grad=True)
        value, grad = loss(laid_out, labels, axis=axis, reduction=reduction, return_grad=True)
        assert_same_bits(value, wanted)
        assert_same_bits(np.moveaxis(grad, axis, 1), wanted_grad)
        assert_same_bits(loss(laid_out, labels, axis=axis - x.ndim, reduction=reduction), wanted)


@given(case=cases(), data=st.data())
@losses
def test_grad_out_of_any_strides_and_weights_of_any_strides(loss, case, data):
    x, target, axis = case
    rng = np.random.default_rng(1)
    weight, rows = rng.random(x.shape[1]).astype(x.dtype), rng.random(target.shape).astype(x.dtype)
    wanted, wanted_grad = loss(x, target, weight=weight, sample_weight=rows, reduction="none", return_grad=True)
    moved = np.moveaxis(x, 1, axis)
    laid_out = data.draw(st.sampled_from(READABLE))(moved, data)
    out = data.draw(st.sampled_from(WRITEABLE))(np.zeros_like(moved), data)
    options = {"axis": axis, "weight": data.draw(st.sampled_from(READABLE))(weight, data),
               "sample_weight": data.draw(st.sampled_from(READABLE))(rows, data)}
    value, grad = loss(laid_out, target, reduction="none", return_grad=True, grad_out=out, **options)
    assert grad is out
    assert_same_bits(value, wanted)
    assert_same_bits(np.moveaxis(grad, axis, 1), wanted_grad)


@given(case=cases(), data=st.data())
@losses
def test_in_place(loss, case, data):
    x, target, axis = case
    wanted, wanted_grad = loss(x, target, reduction="none", return_grad=True)
    laid_out = data.draw(st.sampled_from(WRITEABLE))(np.moveaxis(x.copy(), 1, axis), data)
    value, grad = loss(laid_out, target, axis=axis, reduction="none", return_grad=True, grad_out=laid_out)
    assert grad is laid_out
    assert_same_bits(value, wanted)
    assert_same_bits(np.moveaxis(grad, axis, 1), wanted_grad)


@given(case=cases(), data=st.data())
@pytest.mark.parametrize("function", [loss.backward.run for loss in LOSSES])
def test_loss_backward(function, case, data):
    x, target, axis = case
    g = np.random.default_rng(2).normal(0, 1, target.shape).astype(x.dtype)
    wanted = function(g, x, target, reduction="none")
    laid_out = data.draw(st.sampled_from(READABLE))(np.moveaxis(x, 1, axis), data)
    upstream = data.draw(st.sampled_from(READABLE))(g, data)
    out = data.draw(st.sampled_from(WRITEABLE))(np.zeros(laid_out.shape, x.dtype), data)
    assert function(upstream, laid_out, target, axis=axis, reduction="none", out=out) is out
    assert_same_bits(np.moveaxis(out, axis, 1), wanted)
    assert_same_bits(np.moveaxis(function(upstream, laid_out, target, axis=axis, reduction="none"), axis, 1), wanted)


@given(case=cases(), data=st.data())
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_normalisers(name, case, data):
    function = getattr(xe, name)
    x, _, axis = case
    temperature = data.draw(st.sampled_from((1.0, 0.3)))
    wanted = function(x, 1, temperature=temperature)
    laid_out = data.draw(st.sampled_from(READABLE))(np.moveaxis(x, 1, axis), data)
    assert_same_bits(np.moveaxis(function(laid_out, axis, temperature=temperature), axis, 1), wanted)
    out = data.draw(st.sampled_from(WRITEABLE))(np.zeros(laid_out.shape, x.dtype), data)
    assert function(laid_out, axis, temperature=temperature, out=out) is out
    assert_same_bits(np.moveaxis(out, axis, 1), wanted)
    in_place = data.draw(st.sampled_from(WRITEABLE))(np.moveaxis(x.copy(), 1, axis), data)
    assert function(in_place, axis, temperature=temperature, out=in_place) is in_place
    assert_same_bits(np.moveaxis(in_place, axis, 1), wanted)


@given(case=cases(), data=st.data())
def test_logsumexp(case, data):
    x, _, axis = case
    wanted = xe.logsumexp(x, 1)
    laid_out = data.draw(st.sampled_from(READABLE))(np.moveaxis(x, 1, axis), data)
    assert_same_bits(xe.logsumexp(laid_out, axis), wanted)
    out = data.draw(st.sampled_from(WRITEABLE))(np.zeros_like(wanted), data)
    assert xe.logsumexp(laid_out, axis, out=out) is out
    assert_same_bits(out, wanted)


@given(case=cases(), data=st.data())
@pytest.mark.parametrize("name", ["softmax_backward", "log_softmax_backward", "logsumexp_backward"])
def test_normaliser_backward(name, case, data):
    function = getattr(xe, name)
    x, _, axis = case
    g = np.random.default_rng(3).normal(0, 1, x.shape).astype(x.dtype)
    if name == "logsumexp_backward":
        g = np.ascontiguousarray(g[:, 0])
        upstream = data.draw(st.sampled_from(READABLE))(g, data)
    else:
        x = np.ascontiguousarray(xe.softmax(x, 1) if name == "softmax_backward" else xe.log_softmax(x, 1))
        upstream = data.draw(st.sampled_from(READABLE))(np.moveaxis(g, 1, axis), data)
    wanted = function(g, x, 1)
    laid_out = data.draw(st.sampled_from(READABLE))(np.moveaxis(x, 1, axis), data)
    assert_same_bits(np.moveaxis(function(upstream, laid_out, axis), axis, 1), wanted)
    out = data.draw(st.sampled_from(WRITEABLE))(np.zeros(laid_out.shape, x.dtype), data)
    assert function(upstream, laid_out, axis, out=out) is out
    assert_same_bits(np.moveaxis(out, axis, 1), wanted)


# ---- Layouts of their own kind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1, 2)], ids=str)
def test_zero_stride_input(axes, dtype, rng):
    """An input that repeats itself through strides of 0 is read like its copy."""
    shape = [1 if k in axes else n for k, n in enumerate((5, 33, 4))]
    x = np.broadcast_to(rng.normal(0, 3, shape).astype(dtype), (5, 33, 4))
    target = np.broadcast_to(rng.integers(0, 33, (5, 1)), (5, 4))
    weight = np.broadcast_to(dtype(0.7), 33)
    value, grad = xe.cross_entropy(x, target, weight=weight, return_grad=True)
    wanted, wanted_grad = xe.cross_entropy(x.copy(), target.copy(), weight=weight.copy(), return_grad=True)
    assert_same_bits(value, wanted)
    assert_same_bits(grad, wanted_grad)
    for function in (xe.softmax, xe.log_softmax, xe.logsumexp):
        assert_same_bits(function(x, 1), function(x.copy(), 1))
    g = np.broadcast_to(dtype(1.5), (5, 4))
    assert_same_bits(xe.cross_entropy_backward(g, x, target, reduction="none"),
                     xe.cross_entropy_backward(g.copy(), x.copy(), target.copy(), reduction="none"))
    assert_same_bits(xe.logsumexp_backward(g, x, 1), xe.logsumexp_backward(g.copy(), x.copy(), 1))


def test_results_keep_the_memory_order_of_the_input(dtype, rng):
    x = rng.normal(0, 1, (4, 5, 6)).astype(dtype)
    target = rng.integers(0, 5, (4, 6))
    for laid_out in (x, np.asfortranarray(x), np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0), x[::-1]):
        wanted = np.empty_like(laid_out).strides
        g = np.ones_like(laid_out)
        assert xe.softmax(laid_out).strides == xe.log_softmax(laid_out).strides == wanted
        assert xe.softmax_backward(g, laid_out).strides == xe.log_softmax_backward(g, laid_out).strides == wanted
        assert xe.logsumexp_backward(g[..., 0], laid_out).strides == wanted
        for loss in ("cross_entropy", "nll_loss"):
            assert getattr(xe, loss)(laid_out, target, return_grad=True)[1].strides == wanted
            assert getattr(xe, loss + "_backward")(1.0, laid_out, target).strides == wanted


def test_large_arrays_in_every_orientation(dtype, rng):
    """Several blocks of classes and several tiles of rows, beyond what hypothesis draws."""
    x = rng.normal(0, 3, (37, 2051)).astype(dtype)
    target = rng.integers(0, 2051, 37)
    wanted, wanted_grad = xe.cross_entropy(x, target, reduction="none", return_grad=True)
    columns = np.zeros((37, 2 * 2051), dtype)[:, ::2]
    columns[...] = x
    for laid_out in (np.asfortranarray(x), columns, x[::-1, ::-1].copy()[::-1, ::-1], at_offset(x, 3)):
        value, grad = xe.cross_entropy(laid_out, target, reduction="none", return_grad=True)
        assert_same_bits(value, wanted)
        assert_same_bits(grad, wanted_grad)
        for function in (xe.softmax, xe.log_softmax, xe.logsumexp):
            assert_same_bits(function(laid_out), function(x))


def test_inputs_are_left_alone(dtype, rng):
    x, target = rng.normal(0, 3, (6, 5)).astype(dtype), rng.integers(0, 5, 6)
    g, rows = rng.normal(0, 1, (6, 5)).astype(dtype), rng.random(6).astype(dtype)
    before = [a.copy() for a in (x, target, g, rows)]
    xe.cross_entropy(x, target, sample_weight=rows, return_grad=True)
    xe.cross_entropy_backward(rows, x, target, reduction="none")
    xe.nll_loss(x, target, sample_weight=rows, return_grad=True)
    for function in (xe.softmax_backward, xe.log_softmax_backward):
        function(g, x)
    xe.logsumexp_backward(rows, x)
    for function in (xe.softmax, xe.log_softmax, xe.logsumexp):
        function(x)
    for array, copy in zip((x, target, g, rows), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_subclass_in_gives_a_plain_array_out(tmp_path, dtype, rng):
    x = np.memmap(tmp_path / "logits", dtype=dtype, mode="w+", shape=(4, 5))
    x[...] = rng.normal(0, 1, (4, 5))
    for result in (xe.softmax(x), xe.logsumexp(x), xe.cross_entropy(x, [0] * 4, return_grad=True)[1]):
        assert type(result) is np.ndarray
