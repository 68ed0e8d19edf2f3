"""Every bad dtype, shape and value: the exact exception, a message that names the argument, no buffer written."""

import numpy as np
import pytest
from bad_calls import (
    ALL_LOSSES,
    DISTILLATION,
    FIRST,
    FORWARD,
    LOSSES,
    SENTINEL,
    VALID,
    WITH_AXIS,
    assert_raises,
    buffer_of,
    result_shape,
)

import crossent as xe

# ---- Types -----------------------------------------------------------------------------------------------------------

BAD_FLOATS = {
    "complex": np.ones((2, 3), complex), "object": np.ones((2, 3), object), "string": np.full((2, 3), "a"),
    "longdouble": np.ones((2, 3), np.longdouble), "datetime": np.zeros((2, 3), "M8[s]"),
    "structured": np.zeros((2, 3), [("a", "f4")]), "masked": np.ma.MaskedArray(np.ones((2, 3)), mask=False),
}


@pytest.mark.parametrize("kind", BAD_FLOATS)
@pytest.mark.parametrize("name", VALID)
def test_dtype_of_the_first_argument(name, kind):
    assert_raises(name, TypeError, FIRST[name], **{FIRST[name]: BAD_FLOATS[kind]})


@pytest.mark.parametrize("argument", ("weight", "sample_weight"))
@pytest.mark.parametrize("kind", BAD_FLOATS)
@pytest.mark.parametrize("name", LOSSES + DISTILLATION)
def test_dtype_of_weights(name, kind, argument):
    shape = 3 if argument == "weight" else 2
    assert_raises(name, TypeError, argument, **{argument: BAD_FLOATS[kind].reshape(-1)[:shape]})


@pytest.mark.parametrize("kind", BAD_FLOATS)
@pytest.mark.parametrize("name", [name for name in VALID if "grad_output" in VALID[name]])
def test_dtype_of_grad_output(name, kind):
    bad = BAD_FLOATS[kind]
    scalar = np.ndim(VALID[name]["grad_output"]) == 0
    assert_raises(name, TypeError, "grad_output", grad_output=bad[0, 0, ...] if scalar else bad)


BAD_TARGETS = (np.array([True, False]), np.array([2j, 0]), np.array(["2", "0"]), np.array([2, 0], object),
               np.ma.MaskedArray([2, 0], mask=False), np.array([2, 0], "m8[s]"), True, None)


@pytest.mark.parametrize("target", BAD_TARGETS, ids=repr)
@pytest.mark.parametrize("name", LOSSES)
def test_dtype_of_target(name, target):
    assert_raises(name, TypeError, "target", target=target)


@pytest.mark.parametrize("target", (np.array([2.0, 0.0]), [2.0, 0.0], np.array([2, 0], np.float32)), ids=repr)
@pytest.mark.parametrize("name", ("nll_loss", "nll_loss_backward"))
def test_float_target_where_only_indices_are_taken(name, target):
    assert_raises(name, TypeError, "target", target=target)


@pytest.mark.parametrize("axis", ((0,), (0, 1), 1.0, "1", [1]), ids=repr)
@pytest.mark.parametrize("name", WITH_AXIS)
def test_type_of_axis(name, axis):
    assert_raises(name, TypeError, "axis", axis=axis)


@pytest.mark.parametrize("name", VALID)
def test_type_of_the_output(name):
    argument, _ = buffer_of(name)
    shape = result_shape(name)
    zeros = np.zeros(shape)
    for bad in (zeros.tolist(), 1.0, *(zeros.astype(kind) for kind in ("f4", "i8", ">f8")), np.ma.MaskedArray(zeros)):
        assert_raises(name, TypeError, argument, **{argument: bad})


@pytest.mark.parametrize("argument", ("temperature", "label_smoothing", "denominator", "ignore_index"))
def test_type_of_numbers(argument):
    name = "softmax" if argument == "temperature" else "cross_entropy"
    for bad in ("1", [0.5], 1j):
        assert_raises(name, TypeError, argument, **{argument: bad})
    assert_raises("cross_entropy", TypeError, "ignore_index", ignore_index=-100.0)


# ---- Shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", (2, -3, 100))
@pytest.mark.parametrize("name", WITH_AXIS)
def test_axis_out_of_range(name, axis):
    assert_raises(name, np.exceptions.AxisError, "axis", axis=axis)


@pytest.mark.parametrize("name", [name for name in WITH_AXIS if not name.startswith("kl_div") or "logits" in name])
def test_no_axes(name):
    assert_raises(name, np.exceptions.AxisError, FIRST[name], **{FIRST[name]: 1.0})


@pytest.mark.parametrize("target", ([2], [2, 0, 1], [[2, 0]], [[2], [0]], 2, []), ids=repr)
@pytest.mark.parametrize("name", LOSSES + DISTILLATION)
def test_shape_of_target(name, target):
    assert_raises(name, ValueError, "target", target=np.array(target, int))


@pytest.mark.parametrize("name", LOSSES + DISTILLATION)
def test_shape_of_weights(name):
    for bad in (1.0, [1.0, 1.0], np.ones((1, 3)), np.ones((3, 1)), []):
        assert_raises(name, ValueError, "weight", weight=bad)
    for bad in ([1.0] * 3, np.ones((2, 1)), np.ones((1, 2)), np.ones((2, 3)), []):
        assert_raises(name, ValueError, "sample_weight", sample_weight=bad)


@pytest.mark.parametrize("name", VALID)
def test_shape_of_the_output(name):
    argument, _ = buffer_of(name)
    for bad in ((2, 4), (3, 2), (6,), (1, 2, 3), (), (3,), (0, 3)):
        assert_raises(name, ValueError, argument, **{argument: np.full(bad, SENTINEL)})


@pytest.mark.parametrize("name", ("softmax_backward", "log_softmax_backward", "logsumexp_backward"))
def test_shape_of_grad_output_of_normalisers(name):
    for bad in (1.0, np.ones(3), np.ones((3, 2)), np.ones((2, 1)), np.ones((1, 2))):
        assert_raises(name, ValueError, "grad_output", grad_output=bad)


@pytest.mark.parametrize("name", [name for name in ALL_LOSSES if name.endswith("_backward")])
def test_shape_of_grad_output_of_losses(name):
    for bad in (np.ones(2), np.ones(1), np.ones((2, 3))):
        assert_raises(name, ValueError, "grad_output", grad_output=bad, reduction="mean")
        assert_raises(name, ValueError, "grad_output", grad_output=bad, reduction="sum")
    rows = name in LOSSES + DISTILLATION or name == "kl_div_with_logits_backward"
    for bad in (1.0, np.ones(1), np.ones(3), np.ones((2, 1)), np.ones((2, 3) if rows else 2)):
        assert_raises(name, ValueError, "grad_output", grad_output=bad, reduction="none")


@pytest.mark.parametrize("name", LOSSES)
def test_no_classes(name):
    assert_raises(name, ValueError, FIRST[name], **{FIRST[name]: np.ones((2, 0))})


# ---- Values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", (-1e-300, -1.0, np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("name", LOSSES + DISTILLATION)
def test_value_of_weights(name, value):
    assert_raises(name, ValueError, "weight", weight=[1.0, value, 1.0])
    assert_raises(name, ValueError, "sample_weight", sample_weight=[1.0, value])


@pytest.mark.parametrize("value", (-0.1, 1.0000001, np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("name", ("cross_entropy", "cross_entropy_backward", *DISTILLATION,
                                  "binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits_backward"))
def test_value_of_label_smoothing(name, value):
    """pytorch#134767: negative smoothing."""
    assert_raises(name, ValueError, "label_smoothing", label_smoothing=value)


@pytest.mark.parametrize("value", (0, 0.0, -1.0, np.nan, np.inf, -np.inf))
def test_value_of_temperature_and_denominator(value):
    for name in ("softmax", "log_softmax", "softmax_backward", "log_softmax_backward", *DISTILLATION,
                 "kl_div_with_logits", "kl_div_with_logits_backward"):
        assert_raises(name, ValueError, "temperature", temperature=value)
    for name in ALL_LOSSES:
        assert_raises(name, ValueError, "denominator", denominator=value, reduction="mean")


@pytest.mark.parametrize("reduction", ("none", "sum"))
@pytest.mark.parametrize("name", ALL_LOSSES)
def test_denominator_without_mean(name, reduction):
    shape = 2 if name in LOSSES + DISTILLATION or "kl_div_with" in name else (2, 3)
    upstream = {"grad_output": np.ones(shape)} if name.endswith("backward") and reduction == "none" else {}
    assert_raises(name, ValueError, "denominator", denominator=2.0, reduction=reduction, **upstream)


@pytest.mark.parametrize("reduction", ("batchmean", "exp_mean", "Mean", "", None, 0))
@pytest.mark.parametrize("name", ALL_LOSSES)
def test_unknown_reduction(name, reduction):
    """batchmean is for the Kullback-Leibler losses only, exp_mean for nobody."""
    if reduction == "batchmean" and name.startswith("kl_div"):
        reduction = "batch_mean"
    assert_raises(name, ValueError, "reduction", reduction=reduction)


@pytest.mark.parametrize("name", FORWARD)
def test_grad_out_without_return_grad(name):
    assert_raises(name, ValueError, "grad_out", return_grad=False)


# ---- Threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", (0, -1, -(2**40)))
@pytest.mark.parametrize("function", (xe.set_num_threads, xe.num_threads), ids=lambda f: f.__name__)
def test_thread_counts_below_one(function, n):
    before = xe.get_num_threads()
    with pytest.raises(ValueError, match="n "):
        function(n)
    assert xe.get_num_threads() == before


@pytest.mark.parametrize("n", (1.0, "2", None), ids=repr)
@pytest.mark.parametrize("function", (xe.set_num_threads, xe.num_threads), ids=lambda f: f.__name__)
def test_type_of_thread_counts(function, n):
    with pytest.raises(TypeError, match="n "):
        function(n)
