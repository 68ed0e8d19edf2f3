"""Outputs that cannot be written, or that lie where an input lies: refused before anything is written."""

import numpy as np
import operations
import pytest
from contract.bad_calls import (
    FIRST,
    FORWARD,
    OF_INDICES,
    OF_LOSSES,
    SECOND,
    SENTINEL,
    VALID,
    WITH_OUTPUT,
    G,
    P,
    X,
    assert_raises,
    buffer_of,
    result_shape,
)
from operations import FUNCTIONS
from operations.kinds import PER_ELEMENT

import crossent as xe


@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_read_only_output(name):
    argument, _ = buffer_of(name)
    out = np.full(result_shape(name), SENTINEL)
    out.flags.writeable = False
    assert_raises(name, ValueError, argument, **{argument: out})


@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_output_that_overlaps_itself(name):
    argument, _ = buffer_of(name)
    shape = result_shape(name)
    store = np.full(16, SENTINEL)
    zero = np.lib.stride_tricks.as_strided(store, shape, (0,) * len(shape))
    window = np.lib.stride_tricks.as_strided(store, shape, (8,) * len(shape) if len(shape) == 2 else (4,))
    for bad in (zero, window):
        assert_raises(name, ValueError, argument, **{argument: bad})
    assert (store == SENTINEL).all()


@pytest.mark.parametrize("name", [name for name in WITH_OUTPUT if name != "logsumexp"])
def test_output_that_overlaps_an_input(name):
    """Anything but exactly the same array."""
    argument, _ = buffer_of(name)
    first = FIRST[name]
    store, square = np.full(16, 0.25), np.full((3, 3), 0.25)
    whole = store[:6].reshape(2, 3)
    shifted, by_one_element = store[1:7].reshape(2, 3), store[5:11].reshape(2, 3)
    for x, out in ((whole, shifted), (whole, by_one_element), (whole, whole[::-1]), (square[:2], square.T[:2])):
        assert_raises(name, ValueError, argument, **{first: x, argument: out})


@pytest.mark.parametrize("name", OF_INDICES)
def test_output_that_overlaps_weights_or_target(name):
    argument, _ = buffer_of(name)
    store = np.full(12, 0.25)
    out = store[:6].reshape(2, 3)
    assert_raises(name, ValueError, argument, **{argument: out}, weight=store[2:5])
    assert_raises(name, ValueError, argument, **{argument: out}, sample_weight=store[5:7])
    store[:] = 0  # the bits of the index 0
    assert_raises(name, ValueError, argument, **{argument: out}, target=store.view(np.int64)[4:6])


@pytest.mark.parametrize("name", SECOND)
def test_output_that_overlaps_the_second_distribution(name):
    argument, _ = buffer_of(name)
    store = np.full(12, 0.25)
    out = store[:6].reshape(2, 3)
    for second in (store[1:7].reshape(2, 3), out[::-1], out[:, ::-1]):
        assert_raises(name, ValueError, argument, **{argument: out, SECOND[name]: second})
    for weight in [option for option, kind in OF_LOSSES[name].weights.items() if kind == PER_ELEMENT]:
        assert_raises(name, ValueError, argument, **{argument: out, weight: store[2:5]})


@pytest.mark.parametrize("name", ["logsumexp", "logsumexp_backward", "softmax_backward", "log_softmax_backward"])
def test_output_that_overlaps_the_other_input(name):
    store = np.full(12, 0.25)
    if name == "logsumexp":
        assert_raises(name, ValueError, "out", x=store[:6].reshape(2, 3), out=store[4:6])
    else:
        upstream = store[3:5] if name == "logsumexp_backward" else store[1:7].reshape(2, 3)
        assert_raises(name, ValueError, "out", grad_output=upstream, out=store[:6].reshape(2, 3))


def test_interleaved_views_that_share_no_byte_are_fine(dtype):
    store = np.arange(24, dtype=dtype).reshape(4, 6)
    x, out = store[:, ::2], store[:, 1::2]
    wanted = xe.softmax(x.copy())
    xe.softmax(x, out=out)
    np.testing.assert_array_equal(out, wanted)
    store = np.arange(24, dtype=dtype).reshape(4, 6)
    wanted = xe.cross_entropy(store[:, ::2].copy(), [0] * 4, return_grad=True)[1]
    xe.cross_entropy(store[:, ::2], [0] * 4, return_grad=True, grad_out=store[:, 1::2])
    np.testing.assert_array_equal(store[:, 1::2], wanted)


def test_output_may_be_exactly_the_gradient_input(dtype):
    g, p = np.arange(6, dtype=dtype).reshape(2, 3), xe.softmax(X.astype(dtype))
    for function in (xe.softmax_backward, xe.log_softmax_backward):
        wanted, copy = function(g, p), g.copy()
        assert function(copy, p, out=copy) is copy
        np.testing.assert_array_equal(copy, wanted)


@pytest.mark.parametrize("name", [name for name in FORWARD if name in SECOND])
def test_output_may_be_exactly_the_second_distribution(name, dtype):
    second = VALID[name][SECOND[name]].astype(dtype)
    arrays = {**VALID[name], FIRST[name]: VALID[name][FIRST[name]].astype(dtype), SECOND[name]: second}
    wanted = FUNCTIONS[name].run(**arrays, return_grad=True)
    arrays[SECOND[name]] = out = second.copy()
    loss, grad = FUNCTIONS[name].run(**arrays, return_grad=True, grad_out=out)
    assert grad is out
    assert loss == wanted[0]
    np.testing.assert_array_equal(out, wanted[1])


def test_output_may_be_exactly_the_probabilities_or_the_upstream_gradient(dtype):
    x, q = X.astype(dtype), P.astype(dtype)
    wanted = xe.cross_entropy(x, q, return_grad=True)[1]
    copy = q.copy()
    assert xe.cross_entropy(x, copy, return_grad=True, grad_out=copy)[1] is copy
    np.testing.assert_array_equal(copy, wanted)
    for name in ("binary_cross_entropy_backward", "binary_cross_entropy_with_logits_backward", "kl_div_backward"):
        first, g = (q if "probs" in VALID[name] else x), (2 * G).astype(dtype)
        wanted = FUNCTIONS[name].run(g, first, q, reduction="none")
        assert FUNCTIONS[name].run(g, first, q, reduction="none", out=g) is g
        np.testing.assert_array_equal(g, wanted)


@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize("form", operations.FORMS, ids=repr)
def test_zero_stride_inputs_are_fine_and_outputs_are_not(form, dtype, rng):
    arrays, options = form.arguments(rng, (dtype, dtype), "plain")
    repeated = [np.broadcast_to(a[:1], a.shape) for a in arrays]
    function = form.function
    some = {"reduction": "none", "return_grad": True, **options}
    for got, wanted in zip(function(*repeated, **some), function(*(a.copy() for a in repeated), **some), strict=True):
        np.testing.assert_array_equal(got, wanted)
    out = np.lib.stride_tricks.as_strided(np.full(9, SENTINEL).astype(dtype), arrays[0].shape, (0, dtype.itemsize))
    with pytest.raises(ValueError, match="grad_out"):
        function(*arrays, return_grad=True, grad_out=out, **options)
    assert (out == dtype.type(SENTINEL)).all()
