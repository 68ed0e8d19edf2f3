"""The normalisers over several axes, all axes, and of a number: as over one axis that has their entries in C order."""

import math

import numpy as np
import operations
import pytest
from contract.bad_calls import assert_raises
from operations import NORMALISERS
from support import assert_same_bits, at_offset

import crossent as xe
from crossent import _axes, _core

SHAPE = (3, 4, 2, 5)
AXES = (None, (), (0,), (-1,), (1, 2), (2, 1), (-1, -2), (0, 1), (0, 2), (0, -1), (1, 3), (0, 1, 2, 3), (3, 0, 1))
LAYOUTS = {
    "c": lambda a: a, "f": np.asfortranarray,
    "negative": lambda a: np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1],
    "sliced": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "permuted": lambda a: np.ascontiguousarray(a.transpose(2, 0, 3, 1)).transpose(1, 3, 0, 2),
    "unaligned": lambda a: at_offset(a, 1)}


def classes_of(axis, ndim):
    return tuple(range(ndim)) if axis is None else tuple(sorted(a % ndim for a in axis))


def together(x, axes):
    """(rows, classes) of an array, by the definition."""
    moved = np.moveaxis(x, axes, range(x.ndim - len(axes), x.ndim))
    count = math.prod(x.shape[a] for a in axes)
    return np.ascontiguousarray(moved).reshape(-1, count)


def kept(x, axes):
    return tuple(1 if a in axes else n for a, n in enumerate(x.shape))


def rows(x, axes):
    return tuple(n for a, n in enumerate(x.shape) if a not in axes)


@pytest.fixture(params=operations.FLOATS, ids=str)
def x(request, rng):
    return rng.normal(0, 3, SHAPE).astype(request.param)


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return LAYOUTS[request.param]


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_values(axis, layout, x):
    axes, laid_out = classes_of(axis, 4), layout(x)
    for function in (xe.softmax, xe.log_softmax):
        got = function(laid_out, axis, temperature=0.7)
        assert got.shape == SHAPE
        assert got.dtype == x.dtype
        assert_same_bits(together(got, axes), function(together(x, axes), temperature=0.7))
        assert got.strides == np.empty_like(laid_out).strides
    wanted = xe.logsumexp(together(x, axes))
    for keepdims in (False, True):
        got = xe.logsumexp(laid_out, axis, keepdims=keepdims)
        assert np.shape(got) == (kept(x, axes) if keepdims else rows(x, axes))
        assert got.dtype == wanted.dtype
        assert_same_bits(np.asarray(got).reshape(-1), wanted)


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_gradients(axis, layout, x, rng):
    axes, laid_out = classes_of(axis, 4), layout(x)
    g = rng.normal(0, 2, SHAPE).astype(x.dtype)
    for name in ("softmax", "log_softmax"):
        y, backward = getattr(xe, name)(laid_out, axis), getattr(xe, name + "_backward")
        got = backward(layout(g), y, axis, temperature=2.0)
        assert_same_bits(together(got, axes), backward(together(g, axes), together(y, axes), temperature=2.0))
    for keepdims in (False, True):
        upstream = g.reshape(-1)[:math.prod(rows(x, axes))]
        got = xe.logsumexp_backward(upstream.reshape(kept(x, axes) if keepdims else rows(x, axes)), laid_out, axis,
                                    keepdims=keepdims)
        assert_same_bits(together(got, axes), xe.logsumexp_backward(upstream, together(x, axes)))


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_output(axis, layout, x, rng):
    """Given, of any strides, also in place."""
    axes = classes_of(axis, 4)
    for function in (xe.softmax, xe.log_softmax):
        wanted, out, in_place = function(x, axis), layout(np.zeros_like(x)), layout(x).copy(order="K")
        assert function(x, axis, out=out) is out
        assert_same_bits(out, wanted)
        assert function(in_place, axis, out=in_place) is in_place
        assert_same_bits(in_place, wanted)
    p = xe.softmax(x, axis)
    wanted, in_place = xe.softmax_backward(x, p, axis), layout(x).copy(order="K")
    assert_same_bits(xe.softmax_backward(in_place, p, axis, out=in_place), wanted)
    wanted, in_place = xe.logsumexp_backward(np.ones(rows(x, axes)), x, axis), layout(x).copy(order="K")
    assert_same_bits(xe.logsumexp_backward(np.ones(rows(x, axes)), in_place, axis, out=in_place), wanted)
    for keepdims in (False, True):
        wanted = xe.logsumexp(x, axis, keepdims=keepdims)
        every_other = (*(slice(None, None, 2),) * np.ndim(wanted), ...)
        out = np.zeros([2 * n for n in np.shape(wanted)], wanted.dtype)[every_other]
        assert xe.logsumexp(x, axis, keepdims=keepdims, out=out) is out
        assert_same_bits(out, wanted)


@pytest.mark.parametrize("axis", [None, (), 0, -1], ids=str)
@pytest.mark.parametrize("number", [3.0, np.float32(3), np.array(3.0), np.array(3.0, np.float16), 3], ids=repr)
def test_number(number, axis):
    """One class: probability 1. The result is a scalar, as for all 0-d results."""
    for function, value in ((xe.softmax, 1), (xe.log_softmax, 0), (xe.logsumexp, 3)):
        got = function(number, axis)
        assert got == value
        assert isinstance(got, np.generic)
    assert xe.softmax_backward(2.0, 1.0, axis) == xe.log_softmax_backward(2.0, 0.0, axis) == 0
    assert xe.logsumexp_backward(2.0, number, axis) == 2
    out = np.zeros(())
    assert xe.softmax(3.0, axis, out=out) is out
    assert out == 1


def test_axes_that_lie_as_one_are_not_copied(monkeypatch):
    """Nor is the output: the core sees the memory of both."""
    x, seen = np.zeros((3, 4, 5, 6), np.float32), []
    monkeypatch.setattr(_core, "softmax", lambda x, axis, temperature, dtype, out: seen.append((x, out)))
    for a, axis in ((x, (1, 2)), (x, (2, 3)), (x, None), (x[::2], (2, 3)), (x[:, :, ::-1], (0, 1)), (x[:, :1], (1, 3))):
        out = np.zeros(a.shape, np.float32) if a.strides[2] > 0 else np.zeros_like(x)[:, :, ::-1]
        _axes.softmax(a, axis, 1.0, None, out)
        given, to = seen.pop()
        assert np.shares_memory(given, a)
        assert np.shares_memory(to, out)


def test_empty():
    assert xe.softmax(np.zeros((0, 3)), (1,)).shape == (0, 3)
    assert xe.softmax(np.zeros((0, 3, 0)), (1, 2)).shape == (0, 3, 0)
    assert xe.logsumexp(np.zeros((0, 3, 2)), (1, 2)).shape == (0,)
    for axis in (None, (0, 1)):
        with pytest.raises(ValueError, match=r"x has shape \(0, 3\)"):
            xe.softmax(np.zeros((0, 3)), axis)


@pytest.mark.parametrize("function", NORMALISERS, ids=repr)
@pytest.mark.parametrize(("axis", "kind"), [
    ((2,), np.exceptions.AxisError), ((0, -3), np.exceptions.AxisError), ((0, 0), ValueError), ((1, -1), ValueError),
    ((0.0,), TypeError), (("0",), TypeError), ((None,), TypeError), ([0, 1], TypeError)], ids=repr)
def test_bad_axes(function, axis, kind):
    arrays = [np.ones((2, 3)) for _ in function.arrays]
    with pytest.raises(kind, match=r"axis"):
        function.run(*arrays, axis)


@pytest.mark.parametrize("function", NORMALISERS, ids=repr)
@pytest.mark.parametrize("axis", [(0, 1), None], ids=str)
def test_other_errors_are_those_of_one_axis(function, axis):
    arrays = [np.ones((2, 3)) for _ in function.arrays]
    if function.name == "logsumexp_backward":
        arrays[0] = 1.0
    shape = () if function.name == "logsumexp" else (2, 3)
    for out, kind in ((np.zeros(5), ValueError), (np.zeros(shape, np.int32), TypeError), ("out", TypeError),
                      (np.broadcast_to(0.0, shape), ValueError)):
        with pytest.raises(kind, match="out"):
            function.run(*arrays, axis, out=out)
    if "temperature" in function.options:
        out = np.full(shape, 7.0)
        with pytest.raises(ValueError, match="temperature"):
            function.run(*arrays, axis, temperature=0.0, out=out)
        assert (out == 7).all()
    if len(arrays) == 2:
        with pytest.raises(ValueError, match="grad_output"):
            function.run(np.ones((3, 2)), arrays[1], axis)
    with pytest.raises(TypeError, match="complex"):
        function.run(*[np.ones((2, 3), complex) for _ in arrays], axis)


@pytest.mark.parametrize("axis", [(0,), (0, 1), ()], ids=str)
@pytest.mark.parametrize("name", sorted({*operations.taking("axis")} - {function.name for function in NORMALISERS}))
def test_several_axes_elsewhere(name, axis):
    assert_raises(name, TypeError, "axis", axis=axis)


def test_one_class_in_place_of_the_upstream_gradient():
    """One class over several axes: the upstream gradient with its axes kept is an array of the shape of the result."""
    x, g = np.random.default_rng(5).normal(size=(2, 2, 5, 1))
    wanted = xe.logsumexp_backward(g, x, (2,), keepdims=True)
    assert xe.logsumexp_backward(g, x, (2,), keepdims=True, out=g) is g
    assert_same_bits(g, wanted)
