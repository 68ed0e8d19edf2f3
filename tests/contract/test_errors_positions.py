"""One bad target or probability in a large array: refused with its position, before anything is written."""

import numpy as np
import operations
import pytest
from contract.bad_calls import FORWARD, OF_INDICES, OF_INDICES_ALONE, SENTINEL, X, assert_raises
from operations import FUNCTIONS
from operations.kinds import FRACTIONS, PROBABILITIES

import crossent as xe

INDEX_LOSSES = [name for name in FORWARD if name in OF_INDICES_ALONE]
MILLION = (1000, 1000)
POSITIONS = ((0, 0), (0, 1), (499, 713), (777, 777), (999, 998), (999, 999))


# ---- Class indices ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [3, -1, -100, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("name", OF_INDICES)
def test_target_out_of_range(name, value):
    """The message has the position, the value and the number of classes."""
    for says in ("1", str(value), "3"):
        assert_raises(name, IndexError, says, target=np.array([0, value]), ignore_index=None)


@pytest.mark.parametrize("value", [3, 255, 2**63 - 1, 2**63, 2**64 - 100, 2**64 - 1])
def test_unsigned_target_out_of_range(value):
    """Never wrapped: 2^64 - 100 is not -100."""
    for name in OF_INDICES:
        assert_raises(name, IndexError, str(value), target=np.array([0, value], np.uint64))


@pytest.mark.parametrize("position", [(0, 0), (1, 2), (2, 3)], ids=str)
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


@pytest.mark.parametrize("position", [0, 1, 499_999, 777_777, 999_998, 999_999])
@pytest.mark.parametrize("name", INDEX_LOSSES)
def test_one_bad_target_in_a_million(name, position, dtype):
    x, target = np.zeros((1_000_000, 2), dtype), np.ones(1_000_000, np.int32)
    target[position] = 2
    out = np.full_like(x, SENTINEL)
    function = FUNCTIONS[name].run
    for buffer in ({}, {"return_grad": True}, {"return_grad": True, "grad_out": out}):
        with pytest.raises(IndexError, match=rf"{position}.*2"):
            function(x, target, **buffer)
    with pytest.raises(IndexError, match=str(position)):
        FUNCTIONS[name + "_backward"].run(1.0, x, target, out=out)
    assert (out == SENTINEL).all()
    assert not x.any()


@pytest.mark.parametrize("position", [0, 1, 499_999, 777_777, 999_999])
def test_one_bad_class_in_a_million_of_distillation(position):
    for dtype in operations.FLOATS:
        x, target = np.zeros((1_000_000, 2), dtype), np.ones(1_000_000, np.int16)
        target[position] = 2
        out = np.full_like(x, SENTINEL)
        for alpha in (0.0, 0.5, 1.0):
            with pytest.raises(IndexError, match=rf"{position}.*2"):
                xe.distillation_loss(x, x, target, alpha=alpha, return_grad=True, grad_out=out)
        assert (out == out.dtype.type(SENTINEL)).all()


def test_bad_target_in_place():
    """The logits are the buffer: they must come out of it unharmed."""
    for name in INDEX_LOSSES:
        x = X.copy()
        with pytest.raises(IndexError):
            FUNCTIONS[name].run(x, [0, 3], return_grad=True, grad_out=x)
        np.testing.assert_array_equal(x, X)


# ---- Probabilities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "value"), list(zip(POSITIONS, (np.nan, -0.125, 1.0078125) * 2, strict=True)), ids=str)
@pytest.mark.parametrize(("form", "argument"), [
    (form, argument) for form in operations.FORMS for argument, kind in form.arrays.items()
    if kind in (PROBABILITIES, FRACTIONS)], ids=str)
def test_one_bad_probability_in_a_million(form, argument, position, value):
    """In every dtype, at any place: refused before anything is written, with its position."""
    for dtype, order in zip(operations.FLOATS, ("C", "F", "C", "F"), strict=True):
        arrays = {name: np.full(MILLION, 0.25, dtype) for name in form.arrays}
        arrays[argument] = np.array(arrays[argument], order=order)
        arrays[argument][position] = value
        out = np.full(MILLION, SENTINEL, dtype)
        says = rf"{argument}.*{position[0]}, {position[1]}\]"
        with pytest.raises(ValueError, match=says):
            form.function(**arrays, **form.fixed, return_grad=True, grad_out=out)
        with pytest.raises(ValueError, match=says):
            form.backward(1.0, **arrays, **form.fixed, out=out)
        assert (out == out.dtype.type(SENTINEL)).all()


def test_first_bad_probability_in_c_order_is_reported():
    q = np.full((40, 2, 50), 0.5)
    q[7, 1, 3], q[2, 1, 49], q[30, 0, 0] = 91, 92, 93
    for laid_out in (q, np.asfortranarray(q)):
        with pytest.raises(ValueError, match=r"2, 1, 49.*92"):
            xe.cross_entropy(np.zeros((40, 2, 50)), laid_out)


# ---- More than 2^31 elements -----------------------------------------------------------------------------------------


def test_more_elements_than_32_bits_count_of_class_indices():
    """An input of 2.3e9 elements through a stride of 0, and a bad target behind the 2^31st of them."""
    row = np.linspace(-4, 4, 32768, dtype=np.float32)
    x = np.broadcast_to(row, (70_000, 32768))
    target = np.zeros(70_000, np.int16)
    one = xe.cross_entropy(x[:1], target[:1])
    losses = xe.cross_entropy(x, target, reduction="none")
    assert (losses == one).all()
    target[69_999] = -1
    with pytest.raises(IndexError, match=r"69999.*-1"):
        xe.cross_entropy(x, target)


def test_more_elements_than_32_bits_count_of_probabilities():
    """Inputs of 2.3e9 elements through a stride of 0, and a bad probability behind the 2^31st of them."""
    row = np.linspace(-4, 4, 32768).astype(np.float16)
    x = np.broadcast_to(row, (70_000, 32768))
    one = xe.kl_div_with_logits(x[:1], x[:1, ::-1])
    v = np.zeros(70_000, np.float32)  # rows of weight 0 are not read, so that this ends soon
    v[[0, 69_999]] = 1
    assert xe.kl_div_with_logits(x, x[:, ::-1], sample_weight=v) == one
    big = np.broadcast_to(np.array([[0.5], [7]], np.float16)[[0, 0, 1]], (3, 2**30))
    with pytest.raises(ValueError, match=r"target\[2, 0\]"):
        xe.binary_cross_entropy_with_logits(big, big)
