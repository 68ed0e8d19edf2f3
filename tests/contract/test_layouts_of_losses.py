"""Any memory layout of any argument gives the bits of the C-contiguous call: the losses of two distributions, in every
dtype, and the information measures. The layouts are those of test_layouts.py."""

import numpy as np
import operations
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import assert_same_bits
from test_layouts import READABLE, WRITEABLE

import crossent as xe
from crossent import information

# How the second argument is made of uniform numbers in [0, 1], and what else is given.
LOSSES = {
    "cross_entropy": (lambda u: u, {"label_smoothing": 0.1}), "kl_div_with_logits": (lambda u: 8 * u - 4, {}),
    "kl_div_with_logits js": (lambda u: 8 * u - 4, {"divergence": "js", "temperature": 0.3}),
    "kl_div_with_logits reverse": (lambda u: 8 * u - 4, {"divergence": "reverse"}),
    "distillation_loss": (lambda u: 8 * u - 4, {"temperature": 2.0}), "kl_div rows": (lambda u: u, {}),
    "kl_div": (lambda u: u, {}), "kl_div log_target": (lambda u: -4 * u, {"log_target": True}),
    "binary_cross_entropy": (lambda u: u, {}), "binary_cross_entropy_with_logits": (lambda u: u, {}),
}
PER_ELEMENT = ("kl_div", "kl_div log_target", "binary_cross_entropy", "binary_cross_entropy_with_logits")


@st.composite
def cases(draw, name):
    """(first, second) with the classes at 1, C-contiguous, and the axis to move the classes to."""
    first, second = (draw(st.sampled_from(operations.FLOATS)) for _ in range(2))
    classes = draw(st.sampled_from((1, 2, 3, 5, 10, 16, 17, 33, 100)))
    rows = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (rows[0], classes, *rows[1:])
    x, u = rng.normal(0, 3, shape), rng.uniform(0, 1, shape)
    if name == "binary_cross_entropy":
        x = rng.uniform(0, 1, shape)
    elif draw(st.booleans()):
        x = np.where(rng.random(shape) < 0.05, rng.choice([-np.inf, np.inf, np.nan, 3e4], shape), x)
    return x.astype(first), LOSSES[name][0](u).astype(second), draw(st.integers(0, len(rows)))


@given(data=st.data())
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, data):
    x, second, axis = data.draw(cases(name))
    function, options = getattr(xe, name.split()[0]), {"reduction": "none", **LOSSES[name][1]}
    backward = getattr(xe, name.split()[0] + "_backward")
    rows = x.shape[:1] + x.shape[2:]
    fixed = {} if name in PER_ELEMENT else {"axis": 1}
    moved = {} if name in PER_ELEMENT else {"axis": axis}
    g = np.random.default_rng(4).normal(0, 1, x.shape if name in PER_ELEMENT else rows).astype(second.dtype)
    wanted, wanted_grad = function(x, second, return_grad=True, **options, **fixed)
    wanted_backward = backward(g, x, second, **options, **fixed)

    def placed(a):
        layout = data.draw(st.sampled_from(READABLE))
        return layout(np.moveaxis(a, 1, axis) if a.ndim == x.ndim else a, data)

    back = lambda a: np.moveaxis(a, axis, 1) if a.ndim == x.ndim else a
    arguments = placed(x), placed(second)
    out = data.draw(st.sampled_from(WRITEABLE))(np.zeros(arguments[0].shape, x.dtype), data)
    value, grad = function(*arguments, return_grad=True, grad_out=out, **options, **moved)
    assert grad is out
    assert_same_bits(back(value), wanted)
    assert_same_bits(np.moveaxis(grad, axis, 1), wanted_grad)
    upstream = placed(g)
    assert_same_bits(np.moveaxis(backward(upstream, *arguments, **options, **moved), axis, 1), wanted_backward)
    same = data.draw(st.sampled_from(WRITEABLE))(np.moveaxis(x.copy(), 1, axis), data)
    value, grad = function(same, arguments[1], return_grad=True, grad_out=same, **options, **moved)
    assert_same_bits(back(value), wanted)
    assert_same_bits(np.moveaxis(same, axis, 1), wanted_grad)


@given(data=st.data())
@pytest.mark.parametrize("name", ("entropy", "cross_entropy", "kl_divergence", "js_divergence", "entropy_with_logits"))
def test_information(name, data):
    p, q, axis = data.draw(cases("binary_cross_entropy"))
    function = getattr(information, name)
    arguments = (p,) if name.startswith("entropy") else (p, q)
    wanted = function(*arguments, 1)
    laid_out = [data.draw(st.sampled_from(READABLE))(np.moveaxis(a, 1, axis), data) for a in arguments]
    assert_same_bits(function(*laid_out, axis), wanted)
    assert_same_bits(function(*laid_out, axis=axis - p.ndim), wanted)


@pytest.mark.parametrize("form", operations.FORMS, ids=repr)
def test_gradients_keep_the_memory_order_and_inputs_are_left_alone(form, rng):
    for dtype in operations.FLOATS:
        arrays, options = form.arguments(rng, (dtype, dtype), "plain")
        function, backward = form.function, form.backward
        before = [a.copy() for a in arrays]
        for lay in (np.asarray, np.asfortranarray, lambda a: a[::-1]):
            first = lay(arrays[0])
            wanted = np.empty_like(first).strides
            assert function(first, *arrays[1:], return_grad=True, **options)[1].strides == wanted
            assert backward(1.0, first, *arrays[1:], **options).strides == wanted
        for array, copy in zip(arrays, before):
            assert array.tobytes() == copy.tobytes()


@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_large_arrays_in_every_orientation(dtype, rng):
    """Several blocks of classes and several tiles of rows, beyond what hypothesis draws."""
    x, t = rng.normal(0, 3, (37, 2051)).astype(dtype), rng.normal(0, 3, (37, 2051)).astype(dtype)
    q = rng.uniform(0, 1, (37, 2051)).astype(dtype)
    for function, second in ((xe.cross_entropy, q), (xe.kl_div_with_logits, t), (xe.distillation_loss, t),
                             (xe.binary_cross_entropy_with_logits, q), (xe.kl_div, q)):
        axis = {"axis": 1} if function is xe.kl_div else {}
        wanted, wanted_grad = function(x, second, reduction="none", return_grad=True, **axis)
        totals = [function(x, second, reduction=reduction, **axis) for reduction in ("sum", "mean")]
        for lay in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2],
                    lambda a: a[::-1, ::-1].copy()[::-1, ::-1]):
            value, grad = function(lay(x), lay(second), reduction="none", return_grad=True, **axis)
            assert_same_bits(value, wanted)
            assert_same_bits(grad, wanted_grad)
            for reduction, total in zip(("sum", "mean"), totals):
                assert_same_bits(function(lay(x), lay(second), reduction=reduction, **axis), total)
