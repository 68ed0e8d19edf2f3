"""Arguments of wrong shapes and values: the exact exception, which names the argument, no buffer written."""

import ml_dtypes
import numpy as np
import operations
import pytest
from contract.bad_calls import (
    FIRST,
    FORWARD,
    INFORMATION,
    NORMALISERS,
    OF_ELEMENTS,
    OF_INDICES,
    OF_INDICES_ALONE,
    OF_LOSSES,
    OF_PROBABILITIES,
    OF_ROWS,
    SECOND,
    SENTINEL,
    VALID,
    WEIGHTED_CLASSES,
    WEIGHTED_ELEMENTS,
    WEIGHTS,
    WITH_OUTPUT,
    assert_raises,
    buffer_of,
    loss_functions,
    valid_arguments,
)
from operations import FUNCTIONS, OPTIONS
from operations.kinds import PER_CLASS, PER_ELEMENT, PER_ROW, TEMPERATURES, may_be

import crossent as xe

weights = pytest.mark.parametrize(("name", "option", "kind"), WEIGHTS)


# ---- Shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [2, -3, 100])
@pytest.mark.parametrize("name", operations.taking("axis"))
def test_axis_out_of_range(name, axis):
    assert_raises(name, np.exceptions.AxisError, "axis", axis=axis)


@pytest.mark.parametrize("name", [
    name for name in operations.taking("axis") if name not in OF_ELEMENTS + INFORMATION + NORMALISERS])
def test_no_axes(name):
    assert_raises(name, np.exceptions.AxisError, FIRST[name], **{FIRST[name]: 1.0})


@pytest.mark.parametrize("name", [name for name in INFORMATION if "target" not in VALID[name]])
def test_no_axes_of_information(name):
    for bad in (np.float64(0.5), np.zeros(())):
        assert_raises(name, np.exceptions.AxisError, FIRST[name], **dict.fromkeys(VALID[name], bad))


@pytest.mark.parametrize("target", [[2], [2, 0, 1], [[2, 0]], [[2], [0]], 2, []], ids=repr)
@pytest.mark.parametrize("name", OF_INDICES)
def test_shape_of_target(name, target):
    assert_raises(name, ValueError, "target", target=np.array(target, int))


def test_target_of_perplexity():
    assert_raises("information.perplexity", IndexError, "3", target=[0, 3])
    assert_raises("information.perplexity", ValueError, "target", target=[0])


@pytest.mark.parametrize("name", SECOND)
def test_shape_of_the_second_distribution(name):
    for bad in ((2, 4), (3, 3), (2,), (3,), (), (1, 3), (2, 1), (2, 3, 1), (6,)):
        assert_raises(name, ValueError, SECOND[name], **{SECOND[name]: np.full(bad, 0.25)})


@pytest.mark.parametrize("name", OF_PROBABILITIES)
@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (2,), (), (1, 3), (2, 3, 1)], ids=str)
def test_shape_of_class_probabilities(name, shape):
    assert_raises(name, ValueError, "target", target=np.full(shape, 0.25))


@pytest.mark.parametrize("name", [name for name in INFORMATION if "q" in VALID[name]])
def test_shape_of_the_second_distribution_of_information(name):
    for bad in ((2, 4), (3,), (), (1, 3), (2, 3, 1)):
        assert_raises(name, ValueError, "q", q=np.full(bad, 0.25))


BAD_WEIGHT_SHAPES = {PER_CLASS: ((), (2,), (1, 3), (3, 1), (0,)), PER_ROW: ((3,), (2, 1), (1, 2), (2, 3), (0,)),
                     PER_ELEMENT: ((2,), (4,), (3, 2), (2, 2, 3), (0,))}
BAD_WEIGHT_SHAPES[TEMPERATURES] = BAD_WEIGHT_SHAPES[PER_ROW]


@weights
def test_shape_of_weights(name, option, kind):
    for bad in BAD_WEIGHT_SHAPES[kind]:
        assert_raises(name, ValueError, option, **{option: np.ones(bad)})


@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_shape_of_the_output(name):
    argument, _ = buffer_of(name)
    for bad in ((2, 4), (3, 2), (6,), (1, 2, 3), (), (3,), (0, 3)):
        assert_raises(name, ValueError, argument, **{argument: np.full(bad, SENTINEL)})


@pytest.mark.parametrize("name", [name for name in NORMALISERS if "grad_output" in VALID[name]])
def test_shape_of_grad_output_of_normalisers(name):
    for bad in (1.0, np.ones(3), np.ones((3, 2)), np.ones((2, 1)), np.ones((1, 2))):
        assert_raises(name, ValueError, "grad_output", grad_output=bad)


@pytest.mark.parametrize("name", [name for name in OF_LOSSES if name.endswith("_backward")])
def test_shape_of_grad_output_of_losses(name):
    for bad in (np.ones(2), np.ones(1), np.ones((2, 3))):
        assert_raises(name, ValueError, "grad_output", grad_output=bad, reduction="mean")
        assert_raises(name, ValueError, "grad_output", grad_output=bad, reduction="sum")
    for bad in (1.0, np.ones(1), np.ones(3), np.ones((2, 1)), np.ones((2, 3) if name in OF_ROWS else 2)):
        assert_raises(name, ValueError, "grad_output", grad_output=bad, reduction="none")


@pytest.mark.parametrize("name", OF_INDICES_ALONE)
def test_no_classes(name):
    assert_raises(name, ValueError, FIRST[name], **{FIRST[name]: np.ones((2, 0))})


# ---- Values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -1e-300, -1.0, np.nan, np.inf, -np.inf])
@weights
def test_value_of_weights(name, option, kind, value):
    if may_be(option, kind, value):
        return  # right: losses/test_signed_weights.py, losses/test_logits.py
    for bad in {PER_CLASS: ([1.0, value, 1.0],), PER_ROW: ([1.0, value],), TEMPERATURES: ([1.0, value],),
                PER_ELEMENT: ([1.0, value, 1.0], value)}[kind]:
        assert_raises(name, ValueError, option, **{option: bad})
        if np.ndim(bad):
            at = "0, 1" if kind == PER_ELEMENT else "1"
            for dtype in (np.float32, np.float64) if abs(value) != 1e-300 else (np.float64,):
                array = np.array(np.broadcast_to(bad, (2, 3)) if kind == PER_ELEMENT else bad, dtype)
                assert_raises(name, ValueError, f"{option}[{at}] is {value:g}", **{option: array})


@pytest.mark.parametrize("name", loss_functions(lambda loss: "pos_weight" in loss.options))
@pytest.mark.parametrize("target", [np.ones((2, 3), int), np.ones((2, 3), bool), [[0, 1, 1], [0, 0, 1]]])
@pytest.mark.parametrize("argument", ["weight", "pos_weight"])
def test_value_of_the_only_array_to_check_beside_a_converted_target(name, target, argument):
    weight = np.ones((2, 3))
    weight[1, 2] = -np.inf
    assert_raises(name, ValueError, argument, target=target, **{argument: weight})
    with pytest.raises(ValueError, match=rf"{argument}\[1, 2\] is -inf"):
        FUNCTIONS[name].run(**{**VALID[name], "target": target, argument: weight})


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_infinite_weight_of_another_dtype_than_float64_logits(kind):
    """The largest float64 is no bound for smaller types, nor is its opposite: they are infinite there."""
    weight, p = np.array([1.0, np.inf, 1.0], kind), np.broadcast_to(np.array([1.0, np.inf, 1.0], kind), (2, 3))
    for name in WEIGHTED_CLASSES:
        assert_raises(name, ValueError, "weight[1] is inf", weight=weight)
        assert_raises(name, ValueError, "sample_weight[1] is -inf", sample_weight=-weight[:2])
    for name in WEIGHTED_ELEMENTS:
        assert_raises(name, ValueError, "weight[0, 1] is inf", weight=p)
        assert_raises(name, ValueError, "weight[0, 1] is -inf", weight=-p)
    for name in (name for name in INFORMATION if "q" in VALID[name]):
        assert_raises(name, ValueError, "q[0, 1] is inf", q=p)


@pytest.mark.parametrize(("name", "option"), [
    (name, option) for name, function in FUNCTIONS.items()
    for option in function.options if OPTIONS[option].bad_values])
def test_value_of_options(name, option):
    """pytorch#134767: negative smoothing."""
    for bad in OPTIONS[option].bad_values:
        assert_raises(name, ValueError, option, **{**OPTIONS[option].needs, option: bad})


@pytest.mark.parametrize("name", [name for name, loss in OF_LOSSES.items() if "batchmean" not in loss.reductions])
def test_batchmean_is_for_divergences_only(name):
    assert_raises(name, ValueError, "reduction", reduction="batchmean")


@pytest.mark.parametrize(("form", "option"), [
    (form, option) for form in operations.FORMS for option in form.options if OPTIONS[option].bad_values], ids=str)
def test_value_of_options_in_every_form(form, option):
    arrays, needed = valid_arguments(form.arrays), {**form.fixed, **OPTIONS[option].needs}
    form.function(**arrays, **needed)
    for bad in OPTIONS[option].bad_values:
        with pytest.raises(ValueError, match=option):
            form.function(**{**arrays, **needed, option: bad})


@pytest.mark.parametrize(("form", "option"), [
    (form, option) for form in operations.FORMS for option in form.lacks], ids=str)
def test_option_that_a_form_lacks(form, option):
    arrays, value = valid_arguments(form.arrays), OPTIONS[option].example
    with pytest.raises(ValueError, match=option):
        form.function(**arrays, **form.fixed, **{option: np.ones(3) if value == PER_CLASS else value})


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize("name", OF_LOSSES)
def test_denominator_without_mean(name, reduction):
    shape = 2 if name in OF_ROWS else (2, 3)
    upstream = {"grad_output": np.ones(shape)} if name.endswith("backward") and reduction == "none" else {}
    assert_raises(name, ValueError, "denominator", denominator=2.0, reduction=reduction, **upstream)


@pytest.mark.parametrize("name", FORWARD)
def test_grad_out_without_return_grad(name):
    assert_raises(name, ValueError, "grad_out", return_grad=False)


# ---- Threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, -1, -(2**40)])
@pytest.mark.parametrize("function", [xe.set_num_threads, xe.num_threads], ids=lambda f: f.__name__)
def test_thread_counts_below_one(function, n):
    before = xe.get_num_threads()
    with pytest.raises(ValueError, match="n "):
        function(n)
    assert xe.get_num_threads() == before


@pytest.mark.parametrize("n", [1.0, "2", None], ids=repr)
@pytest.mark.parametrize("function", [xe.set_num_threads, xe.num_threads], ids=lambda f: f.__name__)
def test_type_of_thread_counts(function, n):
    with pytest.raises(TypeError, match="n "):
        function(n)
