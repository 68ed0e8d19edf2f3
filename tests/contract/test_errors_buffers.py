"""Targets out of range and buffers that cannot be written: refused before anything of the caller's is written."""

import numpy as np
import pytest
from bad_calls import DISTILLATION, FIRST, INDEXED, LOSSES, SENTINEL, VALID, X, assert_raises, buffer_of, result_shape

import crossent as xe

# ---- Targets out of range --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", (3, -1, -100, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)))
@pytest.mark.parametrize("name", LOSSES + DISTILLATION)
def test_target_out_of_range(name, value):
    """The message has the position, the value and the number of classes."""
    for says in ("1", str(value), "3"):
        assert_raises(name, IndexError, says, target=np.array([0, value]), ignore_index=None)


@pytest.mark.parametrize("value", (3, 255, 2**63 - 1, 2**63, 2**64 - 100, 2**64 - 1))
def test_unsigned_target_out_of_range(value):
    """Never wrapped: 2^64 - 100 is not -100."""
    for name in LOSSES + DISTILLATION:
        assert_raises(name, IndexError, str(value), target=np.array([0, value], np.uint64))


@pytest.mark.parametrize("position", ((0, 0), (1, 2), (2, 3)), ids=str)
def test_position_of_a_target_in_several_axes(position):
    target = np.zeros((3, 4), int)
    target[position] = 7
    with pytest.raises(IndexError, match=rf"{position[0]}, {position[1]}.*7.*5"):
        xe.cross_entropy(np.zeros((3, 5, 4)), target)
    with pytest.raises(IndexError, match=rf"{position[0]}, {position[1]}.*7.*5"):
        xe.cross_entropy(np.zeros((3, 5, 4)), np.asfortranarray(target))


def test_first_bad_target_in_c_order_is_reported():
    target = np.zeros((40, 50), int)
    target[7, 3], target[2, 49], target[30, 0] = 91, 92, 93
    with pytest.raises(IndexError, match=r"2, 49.*92"):
        xe.cross_entropy(np.zeros((40, 2, 50)), np.asfortranarray(target))


@pytest.mark.parametrize("position", (0, 1, 499_999, 777_777, 999_998, 999_999))
@pytest.mark.parametrize("name", INDEXED)
def test_one_bad_target_in_a_million(name, position, dtype):
    x, target = np.zeros((1_000_000, 2), dtype), np.ones(1_000_000, np.int32)
    target[position] = 2
    out = np.full_like(x, SENTINEL)
    function = getattr(xe, name)
    for buffer in ({}, {"return_grad": True}, {"return_grad": True, "grad_out": out}):
        with pytest.raises(IndexError, match=rf"{position}.*2"):
            function(x, target, **buffer)
    with pytest.raises(IndexError, match=str(position)):
        getattr(xe, name + "_backward")(1.0, x, target, out=out)
    assert (out == SENTINEL).all() and not x.any()


def test_bad_target_in_place():
    """The logits are the buffer: they must come out of it unharmed."""
    for name in INDEXED:
        x = X.copy()
        with pytest.raises(IndexError):
            getattr(xe, name)(x, [0, 3], return_grad=True, grad_out=x)
        np.testing.assert_array_equal(x, X)


# ---- Buffers that cannot be written ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VALID)
def test_read_only_output(name):
    argument, _ = buffer_of(name)
    out = np.full(result_shape(name), SENTINEL)
    out.flags.writeable = False
    assert_raises(name, ValueError, argument, **{argument: out})


@pytest.mark.parametrize("name", VALID)
def test_output_that_overlaps_itself(name):
    argument, _ = buffer_of(name)
    shape = result_shape(name)
    store = np.full(16, SENTINEL)
    zero = np.lib.stride_tricks.as_strided(store, shape, (0,) * len(shape))
    window = np.lib.stride_tricks.as_strided(store, shape, (8,) * len(shape) if len(shape) == 2 else (4,))
    for bad in (zero, window):
        assert_raises(name, ValueError, argument, **{argument: bad})
    assert (store == SENTINEL).all()


@pytest.mark.parametrize("name", [name for name in VALID if name != "logsumexp"])
def test_output_that_overlaps_an_input(name):
    """Anything but exactly the same array."""
    argument, _ = buffer_of(name)
    first = FIRST[name]
    store, square = np.full(16, 0.25), np.full((3, 3), 0.25)
    x = store[:6].reshape(2, 3)
    shifted, by_one_element = store[1:7].reshape(2, 3), store[5:11].reshape(2, 3)
    for x, out in ((x, shifted), (x, by_one_element), (x, x[::-1]), (square[:2], square.T[:2])):
        assert_raises(name, ValueError, argument, **{first: x, argument: out})


@pytest.mark.parametrize("name", LOSSES + DISTILLATION)
def test_output_that_overlaps_weights_or_target(name):
    argument, _ = buffer_of(name)
    store = np.full(12, 0.25)
    out = store[:6].reshape(2, 3)
    assert_raises(name, ValueError, argument, **{argument: out}, weight=store[2:5])
    assert_raises(name, ValueError, argument, **{argument: out}, sample_weight=store[5:7])
    store[:] = 0  # the bits of the index 0
    assert_raises(name, ValueError, argument, **{argument: out}, target=store.view(np.int64)[4:6])


@pytest.mark.parametrize("name", ("logsumexp", "logsumexp_backward", "softmax_backward", "log_softmax_backward"))
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


# ---- More than 2^31 elements -----------------------------------------------------------------------------------------


def test_more_elements_than_32_bits_count():
    """An input of 2.3e9 elements through a stride of 0, and a bad target behind the 2^31st of them."""
    row = np.linspace(-4, 4, 32768, dtype=np.float32)
    x = np.broadcast_to(row, (70_000, 32768))
    target = np.zeros(70_000, np.int16)
    one = xe.cross_entropy(x[:1], target[:1])
    losses = xe.cross_entropy(x, target, reduction="none")
    assert (losses == one).all()
    target[69_999] = -1
    with pytest.raises(IndexError, match="69999.*-1"):
        xe.cross_entropy(x, target)
