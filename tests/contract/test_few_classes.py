"""Rows of few classes, neither weighted nor smoothed, have a kernel of their own: it gives the bits of the others.

A weight of 1 for every row leaves each bit as it is, and takes the general path.
"""

import numpy as np
import pytest
from contract.memory_layouts import READABLE, WRITEABLE
from hypothesis import given
from hypothesis import strategies as st
from support import DTYPES, assert_same_bits

import crossent as xe

# On both sides of a tile's side (4, 2), of the classes that have the kernel (64 of float64, 128), and between.
CLASSES = (1, 2, 3, 4, 5, 7, 8, 10, 16, 17, 21, 33, 63, 64, 65, 100, 127, 128, 129)
INDICES = (np.int64, np.int32, np.uint8, np.int16)


@st.composite
def cases(draw):
    """(logits with the classes at 1, class indices, options)"""
    dtype = draw(st.sampled_from(DTYPES))
    classes = draw(st.sampled_from(CLASSES))
    rows = draw(st.lists(st.integers(1, 40), min_size=1, max_size=2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (rows[0], classes, *rows[1:])
    x = rng.normal(0, draw(st.sampled_from((0.01, 3, 100, 2000))), shape).astype(dtype)
    if draw(st.booleans()):
        x = np.round(x)   # maxima that are not alone
    if draw(st.booleans()):
        special = rng.random(shape) < 0.05
        x[special] = rng.choice(np.array([-np.inf, np.inf, np.nan, 6e4], dtype), special.sum())
    y = rng.integers(0, classes, rows).astype(draw(st.sampled_from(INDICES)))
    options = {"reduction": draw(st.sampled_from(("none", "sum", "mean")))}
    if draw(st.booleans()):
        options["ignore_index"] = draw(st.sampled_from((0, 1, 200 if y.dtype == np.uint8 else -100)))
        y[rng.random(rows) < 0.3] = options["ignore_index"]
    return x, y, options


@given(case=cases(), data=st.data())
def test_values_and_gradients(case, data):
    x, y, options = case
    laid_out = data.draw(st.sampled_from(READABLE))(x, data)
    out = data.draw(st.sampled_from(WRITEABLE))(np.zeros_like(x), data)
    ones = np.ones(y.shape, x.dtype)
    wanted, wanted_grad = xe.cross_entropy(x, y, sample_weight=ones, return_grad=True, **options)
    assert_same_bits(xe.cross_entropy(laid_out, y, **options), wanted)
    value, grad = xe.cross_entropy(laid_out, y, return_grad=True, **options)
    assert_same_bits(value, wanted)
    assert_same_bits(grad, wanted_grad)
    value, grad = xe.cross_entropy(laid_out, y, return_grad=True, grad_out=out, **options)
    assert_same_bits(value, wanted)
    assert_same_bits(grad, wanted_grad)


@given(case=cases(), exponent=st.integers(-300, 300), data=st.data())
def test_backward(case, exponent, data):
    """With upstream gradients of every size: the largest and the smallest take the general path, tile by tile."""
    x, y, options = case
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    limits = np.finfo(dtype)
    of_every_row = options["reduction"] == "none"
    g = np.random.default_rng(exponent % 7).normal(size=y.shape if of_every_row else ())
    with np.errstate(all="ignore"):
        g = np.clip(g * 2.0**exponent, limits.min, limits.max).astype(dtype)
    if of_every_row:
        g.flat[:: data.draw(st.integers(2, 9))] = data.draw(st.sampled_from((0, 1, -1)))
    ones = np.ones(y.shape, x.dtype)
    wanted = xe.cross_entropy_backward(g, x, y, sample_weight=ones, **options)
    assert_same_bits(xe.cross_entropy_backward(g, x, y, **options), wanted)


@given(case=cases(), row=st.integers(0, 2**20))
def test_a_class_that_does_not_exist_is_found_before_anything_is_written(case, row):
    x, y, options = case
    y = y.astype(np.int64) % x.shape[1]
    row %= y.size
    y.flat[row] = x.shape[1]
    options.pop("ignore_index", None)
    out = np.full_like(x, 7)
    for grad_out in (None, out):
        with pytest.raises(IndexError, match=f"is {x.shape[1]}, outside"):
            xe.cross_entropy(x, y, return_grad=grad_out is not None, grad_out=grad_out, **options)
    assert (out == 7).all()
