"""Arguments of wrong types: a TypeError that names the argument, no buffer written."""

import ml_dtypes
import numpy as np
import operations
import pytest
from contract.bad_calls import (
    FIRST,
    OF_LOSSES,
    OF_PROBABILITIES,
    VALID,
    WEIGHTS,
    WITH_OUTPUT,
    X,
    assert_raises,
    buffer_of,
    result_shape,
)
from operations import FUNCTIONS, OPTIONS
from operations.kinds import CLASS_INDICES, PER_CLASS, PER_ROW, TEMPERATURES

import crossent as xe

BAD_FLOATS = {
    "complex": np.ones((2, 3), complex), "object": np.ones((2, 3), object), "string": np.full((2, 3), "a"),
    "longdouble": np.ones((2, 3), np.longdouble), "datetime": np.zeros((2, 3), "M8[s]"),
    "structured": np.zeros((2, 3), [("a", "f4")]), "masked": np.ma.MaskedArray(np.ones((2, 3)), mask=False),
}
WITH_INDICES = [name for name, function in FUNCTIONS.items() if CLASS_INDICES in function.arrays.values()]


@pytest.mark.parametrize("kind", BAD_FLOATS)
@pytest.mark.parametrize(("name", "argument"), [
    (name, argument) for name, function in FUNCTIONS.items() for argument, kind in function.arrays.items()
    if argument != "grad_output" and kind != CLASS_INDICES])
def test_dtype_of_an_array(name, argument, kind):
    assert_raises(name, TypeError, argument, **{argument: BAD_FLOATS[kind]})


@pytest.mark.parametrize("kind", BAD_FLOATS)
@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_dtype_of_class_probabilities(name, kind):
    assert_raises(name, TypeError, "target", target=BAD_FLOATS[kind])


@pytest.mark.parametrize("kind", BAD_FLOATS)
@pytest.mark.parametrize(("name", "option", "of"), WEIGHTS)
def test_dtype_of_weights(name, option, of, kind):
    count = {PER_CLASS: 3, PER_ROW: 2, TEMPERATURES: 2}.get(of)
    assert_raises(name, TypeError, option, **{
        option: BAD_FLOATS[kind] if count is None else BAD_FLOATS[kind].reshape(-1)[:count]})


@pytest.mark.parametrize("kind", BAD_FLOATS)
@pytest.mark.parametrize("name", [name for name in VALID if "grad_output" in VALID[name]])
def test_dtype_of_grad_output(name, kind):
    bad = BAD_FLOATS[kind]
    scalar = np.ndim(VALID[name]["grad_output"]) == 0
    assert_raises(name, TypeError, "grad_output", grad_output=bad[0, 0, ...] if scalar else bad)


BAD_TARGETS = (np.array([True, False]), np.array([2j, 0]), np.array(["2", "0"]), np.array([2, 0], object),
               np.ma.MaskedArray([2, 0], mask=False), np.array([2, 0], "m8[s]"), True, None)


@pytest.mark.parametrize("target", BAD_TARGETS, ids=repr)
@pytest.mark.parametrize("name", WITH_INDICES)
def test_dtype_of_class_indices(name, target):
    if target is None and "target=None" in FUNCTIONS[name].signature:
        others = {argument: value for argument, value in VALID[name].items() if argument != "log_prob"}  # of a target
        FUNCTIONS[name].run(**{**others, "target": None})
    else:
        assert_raises(name, TypeError, "target", target=target)


@pytest.mark.parametrize("target", [np.array([2.0, 0.0]), [2.0, 0.0], np.array([2, 0], np.float32)], ids=repr)
@pytest.mark.parametrize("name", sorted(set(WITH_INDICES) & set(OF_LOSSES) - set(OF_PROBABILITIES)))
def test_float_target_where_only_indices_are_taken(name, target):
    assert_raises(name, TypeError, "target", target=target)


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn, "V2"], ids=str)
@pytest.mark.parametrize("name", OF_LOSSES)
def test_other_small_dtypes_are_not_bfloat16(name, dtype):
    first = np.zeros((2, 3), np.uint16).view("V2") if dtype == "V2" else X.astype(dtype)
    assert_raises(name, TypeError, FIRST[name], **{FIRST[name]: first})


def test_the_bits_of_bfloat16_in_uint16_are_integers():
    """bfloat16 is the type of ml_dtypes and nothing else."""
    x = np.array([[1.5, -2.0]]).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(xe.log_softmax(x.view(np.uint16)), xe.log_softmax(x.view(np.uint16).astype(float)))
    assert xe.cross_entropy(x.view(np.uint16), [0]).dtype == np.float64
    with pytest.raises(ValueError, match="target"):  # class indices, of the wrong shape
        xe.cross_entropy(np.zeros((1, 2)), x.view(np.uint16))
    with pytest.raises(ValueError, match="target"):  # 16320 is no probability
        xe.binary_cross_entropy_with_logits(np.zeros((1, 2)), x.view(np.uint16))


@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_type_of_the_output(name):
    argument, _ = buffer_of(name)
    shape = result_shape(name)
    zeros = np.zeros(shape)
    for bad in (zeros.tolist(), 1.0, *(zeros.astype(kind) for kind in ("f4", "i8", ">f8")), np.ma.MaskedArray(zeros)):
        assert_raises(name, TypeError, argument, **{argument: bad})


@pytest.mark.parametrize("kind", operations.FLOATS, ids=str)
@pytest.mark.parametrize("name", OF_LOSSES)
def test_output_has_the_dtype_of_the_first_argument(name, kind):
    """Not that of the second one, nor the arithmetic dtype."""
    argument, _ = buffer_of(name)
    first = VALID[name][FIRST[name]].astype(kind)
    for other in operations.FLOATS:
        if other != kind:
            assert_raises(name, TypeError, argument, **{FIRST[name]: first, argument: np.full((2, 3), 7).astype(other)})


@pytest.mark.parametrize(("name", "option"), [
    (name, option) for name, function in FUNCTIONS.items() for option in function.options if OPTIONS[option].bad_types])
def test_type_of_options(name, option):
    for bad in OPTIONS[option].bad_types:
        assert_raises(name, TypeError, option, **{**OPTIONS[option].needs, option: bad})
