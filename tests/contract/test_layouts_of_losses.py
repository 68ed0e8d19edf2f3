"""Any memory layout of any argument gives the bits of the C-contiguous call: every form of every loss, in every dtype,
and the information measures."""

import numpy as np
import operations
import pytest
from contract.memory_layouts import READABLE, WRITEABLE
from hypothesis import given
from hypothesis import strategies as st
from operations import MEASURES, kinds
from support import assert_same_bits

import crossent as xe

# Each kind of numbers from uniform ones in [0, 1], which every dtype of the second argument keeps in their range.
OF_UNIFORM = {kinds.LOGITS: lambda u: 8 * u - 4, kinds.PROBABILITIES: lambda u: u, kinds.FRACTIONS: lambda u: u,
              kinds.LOG_PROBABILITIES: lambda u: -4 * u, kinds.LISTED_LOGITS: lambda u: 8 * u - 4,
              kinds.LISTED_LOG_PROBABILITIES: lambda u: -4 * u - np.log(u.shape[1])}


@st.composite
def cases(draw, of_kinds):
    """Arrays of these kinds with the classes at 1, C-contiguous, and the axis to move the classes to."""
    first, second = (draw(st.sampled_from(operations.FLOATS)) for _ in range(2))
    classes = draw(st.sampled_from((1, 2, 3, 5, 10, 16, 17, 33, 100)))
    rows = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (rows[0], classes, *rows[1:])
    x = rng.uniform(0, 1, shape) if of_kinds[0] in (kinds.PROBABILITIES, kinds.FRACTIONS) else rng.normal(0, 3, shape)
    if of_kinds[0] in (kinds.LOGITS, kinds.LOG_PROBABILITIES) and draw(st.booleans()):
        x = np.where(rng.random(shape) < 0.05, rng.choice([-np.inf, np.inf, np.nan, 3e4], shape), x)
    others = [rng.integers(0, classes, rows) if kind == kinds.CLASS_INDICES else
              rng.integers(-1, classes, shape) if kind == kinds.LISTED_CLASSES else
              OF_UNIFORM[kind](rng.uniform(0, 1, shape)).astype(second) for kind in of_kinds[1:]]
    return x.astype(first), others, second, draw(st.integers(0, len(rows)))


@given(data=st.data())
@pytest.mark.parametrize("case", ["plain", "last"])
@pytest.mark.parametrize("form", operations.FORMS, ids=repr)
def test_losses(form, case, data):
    x, others, second, axis = data.draw(cases(list(form.arrays.values())))
    rows = x.shape[:1] + x.shape[2:]
    rng = np.random.default_rng(4)
    shapes = {kinds.PER_CLASS: x.shape[1:2], kinds.PER_ROW: rows, kinds.PER_ELEMENT: x.shape,
              kinds.TEMPERATURES: rows}

    def weights(name, kind):
        return rng.uniform(0.25 * (kind == kinds.TEMPERATURES), 2, shapes[kind]).astype(second)

    options = operations.resolved({**form.fixed, **({} if case == "plain" else form.last_case)}, weights)
    options["reduction"] = "none"
    g = rng.normal(0, 1, x.shape if form.per_element else rows).astype(second)
    wanted, wanted_grad = form.function(x, *others, return_grad=True, **options)
    wanted_backward = form.backward(g, x, *others, **options)

    def placed(a):
        layout = data.draw(st.sampled_from(READABLE))
        return layout(np.moveaxis(a, 1, axis) if a.shape == x.shape else a, data)

    def back(a):
        return np.moveaxis(a, axis, 1) if a.ndim == x.ndim else a

    moved = {name: placed(value) if isinstance(value, np.ndarray) else value for name, value in options.items()}
    if not form.per_element:
        moved["axis"] = axis
    arguments = [placed(a) for a in (x, *others)]
    out = data.draw(st.sampled_from(WRITEABLE))(np.zeros(arguments[0].shape, x.dtype), data)
    value, grad = form.function(*arguments, return_grad=True, grad_out=out, **moved)
    assert grad is out
    assert_same_bits(back(value), wanted)
    assert_same_bits(np.moveaxis(grad, axis, 1), wanted_grad)
    upstream = placed(g)
    assert_same_bits(np.moveaxis(form.backward(upstream, *arguments, **moved), axis, 1), wanted_backward)
    same = data.draw(st.sampled_from(WRITEABLE))(np.moveaxis(x.copy(), 1, axis), data)
    value, grad = form.function(same, *arguments[1:], return_grad=True, grad_out=same, **moved)
    assert_same_bits(back(value), wanted)
    assert_same_bits(np.moveaxis(same, axis, 1), wanted_grad)


@given(data=st.data())
@pytest.mark.parametrize("function", [
    function for function in MEASURES if kinds.CLASS_INDICES not in function.arrays.values()], ids=repr)
def test_information(function, data):
    p, others, _, axis = data.draw(cases([kinds.PROBABILITIES] * len(function.arrays)))
    arguments, function = (p, *others), function.run
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
        for array, copy in zip(arrays, before, strict=True):
            assert array.tobytes() == copy.tobytes()


@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize("form", operations.FORMS, ids=repr)
def test_large_arrays_in_every_orientation(form, dtype, rng):
    """Several blocks of classes and several tiles of rows, beyond what hypothesis draws."""
    arrays = [a if a.dtype.kind == "i" else a.astype(dtype)
              for a in (operations.DRAW[kind](rng, 37, 2051) for kind in form.arrays.values())]
    wanted, wanted_grad = form.function(*arrays, reduction="none", return_grad=True, **form.fixed)
    totals = {reduction: form.function(*arrays, reduction=reduction, **form.fixed) for reduction in ("sum", "mean")}
    for lay in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
                lambda a: np.flip(np.flip(a).copy())):
        value, grad = form.function(*map(lay, arrays), reduction="none", return_grad=True, **form.fixed)
        assert_same_bits(value, wanted)
        assert_same_bits(grad, wanted_grad)
        for reduction, total in totals.items():
            assert_same_bits(form.function(*map(lay, arrays), reduction=reduction, **form.fixed), total)


@pytest.mark.parametrize("dtype", operations.FLOATS)
@pytest.mark.parametrize("classes", [129, 165, 300])
def test_a_term_that_vanishes(classes, dtype):
    """An entry whose own coefficient is 0 is A p. Below every number that is a product rounded to -0 in one layout, and
    one with an exponential of 0 in the other: the sign of the zero is not to tell which."""
    rng = np.random.default_rng(9)
    rows = 40
    x = rng.normal(0, 10, (rows, classes))
    x[:, 5] = np.linspace(60, 900, rows)
    q, keep = rng.uniform(0, 1, (rows, classes)), rng.random(classes) < 0.5
    x, q, keep = (a.astype(dtype) for a in (x, q, keep))
    for smoothing in (0, 0.25):
        def gradient(x, q, s=smoothing):
            return xe.cross_entropy_backward(-4.75, x, q, weight=keep, label_smoothing=s, reduction="sum")

        assert_same_bits(gradient(np.asfortranarray(x), np.asfortranarray(q)), gradient(x, q))
