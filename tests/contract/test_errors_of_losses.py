"""Bad arguments that only the losses of two distributions, the binary losses and the information measures take."""

import ml_dtypes
import numpy as np
import operations
import pytest
from bad_calls import (
    ALL_LOSSES,
    BINARY,
    DISTILLATION,
    FIRST,
    FORWARD,
    INFORMATION,
    SENTINEL,
    VALID,
    G,
    P,
    X,
    assert_information_raises,
    assert_raises,
    both,
    buffer_of,
)
from test_errors import BAD_FLOATS

import crossent as xe

TEACHER = (*both("kl_div_with_logits"), *DISTILLATION)
KL_DIV = both("kl_div")
SECOND = {**dict.fromkeys(TEACHER, "teacher_logits"), **dict.fromkeys((*KL_DIV, *BINARY), "target")}

# ---- Types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BAD_FLOATS)
@pytest.mark.parametrize("name", SECOND)
def test_dtype_of_the_second_distribution(name, kind):
    assert_raises(name, TypeError, SECOND[name], **{SECOND[name]: BAD_FLOATS[kind]})


@pytest.mark.parametrize("kind", BAD_FLOATS)
def test_dtype_of_probabilities_and_weights(kind):
    bad = BAD_FLOATS[kind]
    for name in (*both("cross_entropy"), *DISTILLATION):
        assert_raises(name, TypeError, "target", target=bad)
    for name in BINARY:
        assert_raises(name, TypeError, "weight", weight=bad)
    for name in both("binary_cross_entropy_with_logits"):
        assert_raises(name, TypeError, "pos_weight", pos_weight=bad)
    for name in TEACHER:
        assert_raises(name, TypeError, "sample_weight", sample_weight=bad.reshape(-1)[:2])


@pytest.mark.parametrize("kind", BAD_FLOATS)
@pytest.mark.parametrize("name", INFORMATION)
def test_dtype_of_information(name, kind):
    for argument in set(INFORMATION[name]) & {"p", "q", "logits"}:
        assert_information_raises(name, TypeError, argument, **{argument: BAD_FLOATS[kind]})


@pytest.mark.parametrize("target", (np.array([True, False]), np.array(["2", "0"]), np.array([2, 0], object),
                                    np.ma.MaskedArray([2, 0], mask=False), True), ids=repr)
def test_dtype_of_class_indices_of_distillation(target):
    for name in DISTILLATION:
        assert_raises(name, TypeError, "target", target=target)


@pytest.mark.parametrize("dtype", (ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn, "V2"), ids=str)
@pytest.mark.parametrize("name", ALL_LOSSES)
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


@pytest.mark.parametrize("argument, names", [
    ("temperature", TEACHER), ("alpha", DISTILLATION), ("beta", TEACHER), ("denominator", ALL_LOSSES),
    ("label_smoothing", (*DISTILLATION, *both("binary_cross_entropy_with_logits"))),
    ("log_floor", both("binary_cross_entropy"))], ids=lambda v: v if isinstance(v, str) else "")
def test_type_of_numbers(argument, names):
    for name in names:
        for bad in ("1", [0.5], 1j):
            mean = {"reduction": "mean"} if argument == "denominator" else {}
            assert_raises(name, TypeError, argument, **{argument: bad}, **mean)


def test_type_of_ignore_index_of_distillation():
    for name in DISTILLATION:
        for bad in (-100.0, "1", True):
            assert_raises(name, TypeError, "ignore_index", ignore_index=bad)


@pytest.mark.parametrize("kind", operations.FLOATS, ids=str)
@pytest.mark.parametrize("name", ALL_LOSSES)
def test_output_has_the_dtype_of_the_first_argument(name, kind):
    """Not that of the second one, nor the arithmetic dtype."""
    argument, _ = buffer_of(name)
    first = VALID[name][FIRST[name]].astype(kind)
    for other in operations.FLOATS:
        if other != kind:
            assert_raises(name, TypeError, argument, **{FIRST[name]: first, argument: np.full((2, 3), 7).astype(other)})


# ---- Shapes and values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SECOND)
def test_shape_of_the_second_distribution(name):
    for bad in ((2, 4), (3, 3), (2,), (3,), (), (1, 3), (2, 1), (2, 3, 1), (6,)):
        assert_raises(name, ValueError, SECOND[name], **{SECOND[name]: np.full(bad, 0.25)})


def test_shape_of_probabilities():
    for name in (*both("cross_entropy"), *DISTILLATION):
        for bad in ((2, 4), (3, 3), (2,), (), (1, 3), (2, 3, 1)):
            assert_raises(name, ValueError, "target", target=np.full(bad, 0.25))


@pytest.mark.parametrize("name", BINARY)
def test_shape_and_value_of_element_weights(name):
    for argument in ("weight", "pos_weight") if "logits" in name else ("weight",):
        for bad in ((2,), (4,), (3, 2), (2, 2, 3), (0,)):
            assert_raises(name, ValueError, argument, **{argument: np.ones(bad)})
        for value in (-1e-300, -1.0, np.nan, np.inf):
            assert_raises(name, ValueError, argument, **{argument: [1.0, value, 1.0]})
            assert_raises(name, ValueError, argument, **{argument: value})


@pytest.mark.parametrize("name", both("binary_cross_entropy_with_logits"))
@pytest.mark.parametrize("target", (np.ones((2, 3), int), np.ones((2, 3), bool), [[0, 1, 1], [0, 0, 1]]))
@pytest.mark.parametrize("argument", ("weight", "pos_weight"))
def test_value_of_the_only_array_to_check_beside_a_converted_target(name, target, argument):
    weight = np.ones((2, 3))
    weight[1, 2] = -1.0
    assert_raises(name, ValueError, argument, target=target, **{argument: weight})
    with pytest.raises(ValueError, match=rf"{argument}\[1, 2\] is -1.0"):
        getattr(xe, name)(**{**VALID[name], "target": target, argument: weight})


@pytest.mark.parametrize("kind", (np.float16, ml_dtypes.bfloat16, np.float32))
def test_infinite_weight_of_another_dtype_than_float64_logits(kind):
    """The largest float64 is no bound for smaller types: it is infinite there."""
    weight, p = np.array([1.0, np.inf, 1.0], kind), np.broadcast_to(np.array([1.0, np.inf, 1.0], kind), (2, 3))
    for name in both("cross_entropy"):
        assert_raises(name, ValueError, "weight[1] is inf", weight=weight)
    for name in BINARY:
        assert_raises(name, ValueError, "weight[0, 1] is inf", weight=p)
    for name in ("cross_entropy", "kl_divergence", "js_divergence"):
        assert_information_raises(name, ValueError, "q[0, 1] is inf", q=p)


@pytest.mark.parametrize("name", both("kl_div_with_logits"))
def test_shape_and_value_of_sample_weight(name):
    for bad in ([1.0] * 3, np.ones((2, 1)), np.ones((1, 2)), np.ones((2, 3)), []):
        assert_raises(name, ValueError, "sample_weight", sample_weight=bad)
    for value in (-1e-300, np.nan, np.inf):
        assert_raises(name, ValueError, "sample_weight", sample_weight=[1.0, value])


@pytest.mark.parametrize("name", [name for name in INFORMATION if name != "perplexity"])
def test_shape_and_axis_of_information(name):
    if "q" in INFORMATION[name]:
        for bad in ((2, 4), (3,), (), (1, 3), (2, 3, 1)):
            assert_information_raises(name, ValueError, "q", q=np.full(bad, 0.25))
    first = next(iter(INFORMATION[name]))
    for axis in (2, -3):
        assert_information_raises(name, np.exceptions.AxisError, "axis", axis=axis)
    for axis in ((0,), 1.0, "1"):
        assert_information_raises(name, TypeError, "axis", axis=axis)
    for bad in (np.float64(0.5), np.zeros(())):
        assert_information_raises(name, np.exceptions.AxisError, first,
                                  **{argument: bad for argument in INFORMATION[name]})


def test_errors_of_perplexity():
    assert_information_raises("perplexity", IndexError, "3", target=[0, 3])
    assert_information_raises("perplexity", ValueError, "target", target=[0])
    assert_information_raises("perplexity", TypeError, "target", target=[True, False])
    assert_information_raises("perplexity", np.exceptions.AxisError, "axis", axis=5)


# ---- One bad value in a million --------------------------------------------------------------------------------------

MILLION = (1000, 1000)
POSITIONS = ((0, 0), (0, 1), (499, 713), (777, 777), (999, 998), (999, 999))
PROBABILITIES = {
    "cross_entropy": ("target", {}), "kl_div": ("target", {}), "binary_cross_entropy_with_logits": ("target", {}),
    "distillation_loss": ("target", {"teacher_logits": 0}),
    "binary_cross_entropy": ("target", {}), "binary_cross_entropy_backward": ("probs", {}),
}


@pytest.mark.parametrize("position, value", list(zip(POSITIONS, (np.nan, -0.125, 1.0078125) * 2)), ids=str)
@pytest.mark.parametrize("name", PROBABILITIES)
def test_one_bad_probability_in_a_million(name, position, value):
    """In every dtype, at any place: refused before anything is written, with its position."""
    argument, more = PROBABILITIES[name]
    name = name.removesuffix("_backward")
    for dtype, order in zip(operations.FLOATS, ("C", "F", "C", "F")):
        arrays = {FIRST[name]: np.full(MILLION, 0.25, dtype), "target": np.full(MILLION, 0.25, dtype),
                  **{k: np.zeros(MILLION, dtype) for k in more}}
        arrays[argument] = np.array(arrays[argument], order=order)
        arrays[argument][position] = value
        out = np.full(MILLION, SENTINEL, dtype)
        says = rf"{argument}.*{position[0]}, {position[1]}\]"
        with pytest.raises(ValueError, match=says):
            getattr(xe, name)(**arrays, return_grad=True, grad_out=out)
        with pytest.raises(ValueError, match=says):
            getattr(xe, name + "_backward")(1.0, **arrays, out=out)
        assert (out == out.dtype.type(SENTINEL)).all()


@pytest.mark.parametrize("position", (0, 1, 499_999, 777_777, 999_999))
def test_one_bad_class_in_a_million_of_distillation(position):
    for dtype in operations.FLOATS:
        x, target = np.zeros((1_000_000, 2), dtype), np.ones(1_000_000, np.int16)
        target[position] = 2
        out = np.full_like(x, SENTINEL)
        for alpha in (0.0, 0.5, 1.0):
            with pytest.raises(IndexError, match=rf"{position}.*2"):
                xe.distillation_loss(x, x, target, alpha=alpha, return_grad=True, grad_out=out)
        assert (out == out.dtype.type(SENTINEL)).all()


def test_first_bad_probability_in_c_order_is_reported():
    q = np.full((40, 2, 50), 0.5)
    q[7, 1, 3], q[2, 1, 49], q[30, 0, 0] = 91, 92, 93
    for laid_out in (q, np.asfortranarray(q)):
        with pytest.raises(ValueError, match=r"2, 1, 49.*92"):
            xe.cross_entropy(np.zeros((40, 2, 50)), laid_out)


# ---- Buffers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SECOND)
def test_output_that_overlaps_the_second_distribution(name):
    argument, _ = buffer_of(name)
    store = np.full(12, 0.25)
    out = store[:6].reshape(2, 3)
    for second in (store[1:7].reshape(2, 3), out[::-1], out[:, ::-1]):
        assert_raises(name, ValueError, argument, **{argument: out, SECOND[name]: second})
    for weight in ("weight", "pos_weight") if "with_logits" in name and name in BINARY else ():
        assert_raises(name, ValueError, argument, **{argument: out, weight: store[2:5]})


@pytest.mark.parametrize("name", [name for name in FORWARD if name in SECOND])
def test_output_may_be_exactly_the_second_distribution(name, dtype):
    second = VALID[name][SECOND[name]].astype(dtype)
    arrays = {**VALID[name], FIRST[name]: VALID[name][FIRST[name]].astype(dtype), SECOND[name]: second}
    wanted = getattr(xe, name)(**arrays, return_grad=True)
    arrays[SECOND[name]] = out = second.copy()
    loss, grad = getattr(xe, name)(**arrays, return_grad=True, grad_out=out)
    assert grad is out and loss == wanted[0]
    np.testing.assert_array_equal(out, wanted[1])


def test_output_may_be_exactly_the_probabilities_or_the_upstream_gradient(dtype):
    x, q = X.astype(dtype), P.astype(dtype)
    wanted = xe.cross_entropy(x, q, return_grad=True)[1]
    copy = q.copy()
    assert xe.cross_entropy(x, copy, return_grad=True, grad_out=copy)[1] is copy
    np.testing.assert_array_equal(copy, wanted)
    for name in ("binary_cross_entropy_backward", "binary_cross_entropy_with_logits_backward", "kl_div_backward"):
        first, g = (q if "probs" in VALID[name] else x), (2 * G).astype(dtype)
        wanted = getattr(xe, name)(g, first, q, reduction="none")
        assert getattr(xe, name)(g, first, q, reduction="none", out=g) is g
        np.testing.assert_array_equal(g, wanted)


# ---- Zero strides, more than 2^31 elements ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize("form", operations.FORMS, ids=repr)
def test_zero_stride_inputs_are_fine_and_outputs_are_not(form, dtype, rng):
    arrays, options = form.arguments(rng, (dtype, dtype), "plain")
    repeated = [np.broadcast_to(a[:1], a.shape) for a in arrays]
    function = form.function
    for got, wanted in zip(function(*repeated, reduction="none", return_grad=True, **options),
                           function(*(a.copy() for a in repeated), reduction="none", return_grad=True, **options)):
        np.testing.assert_array_equal(got, wanted)
    out = np.lib.stride_tricks.as_strided(np.full(9, SENTINEL).astype(dtype), arrays[0].shape, (0, dtype.itemsize))
    with pytest.raises(ValueError, match="grad_out"):
        function(*arrays, return_grad=True, grad_out=out, **options)
    assert (out == dtype.type(SENTINEL)).all()


def test_more_elements_than_32_bits_count():
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
