"""The edge cases of the contract with infinities and NaN, and those of parameters, in the other losses."""

import numpy as np
import operations
import oracle.divergence
import pytest
from contract.edge_calls import ELEMENT_LOSSES, INF, NAN, ROW_LOSSES, arr, assert_close, call, others_of
from operations.kinds import FRACTIONS, PROBABILITIES
from oracle.divergence import DIVERGENCES

import crossent as xe
from crossent import information

row_losses = pytest.mark.parametrize("form", ROW_LOSSES, ids=repr)
divergences = pytest.mark.parametrize("divergence", DIVERGENCES)


def assert_terms(grad, wanted):
    """Gradient entries whose terms are 1/2 at most, 4 ulp of which are 2 eps; where both are 0, 0."""
    np.testing.assert_allclose(grad, wanted, rtol=0, atol=2 * np.finfo(grad.dtype).eps)
    assert not grad[..., 1].any() or np.all(np.asarray(wanted)[..., 1] != 0)


# ---- Masked classes --------------------------------------------------------------------------------------------------


def test_masked_class_with_probabilities(dtype):
    """Probability 0 there contributes 0; a positive one makes the loss infinite and the gradient -q."""
    x = arr([[0, -INF, 0]], dtype)
    value, grad = xe.cross_entropy(x, arr([[0.5, 0, 0.5]], dtype), return_grad=True)
    assert_close(value, np.log(2))
    assert_terms(grad, [[0, 0, 0]])
    value, grad = xe.cross_entropy(x, arr([[0.5, 0.25, 0.25]], dtype), return_grad=True)
    assert value == INF
    assert_terms(grad, [[0, -0.25, 0.25]])
    assert_close(xe.cross_entropy(x, arr([[0.5, 0.25, 0.25]], dtype), weight=[1, 0, 1]), 0.75 * np.log(2))
    assert_close(xe.cross_entropy(x, arr([[0, 0, 1]], dtype), label_smoothing=0.75, weight=[1, 0, 1]),
                 0.75 * np.log(2))


@divergences
def test_class_masked_in_both(divergence, dtype):
    x, t = arr([[0, -INF, 1]], dtype), arr([[1, -INF, 0]], dtype)
    value, grad = xe.kl_div_with_logits(x, t, divergence=divergence, return_grad=True)
    wanted, wanted_grad = xe.kl_div_with_logits(x[:, ::2], t[:, ::2], divergence=divergence, return_grad=True)
    assert_close(value, wanted)
    assert grad[0, 1] == 0
    np.testing.assert_allclose(grad[:, ::2], wanted_grad, rtol=8 * np.finfo(dtype).eps)


@divergences
def test_class_masked_in_one(divergence, dtype):
    """Forward needs the student wherever the teacher is, reverse the other way round, Jensen-Shannon neither."""
    whole, part = arr([[0, 0, 0]], dtype), arr([[0, -INF, 0]], dtype)
    for x, t, finite in ((whole, part, divergence != "reverse"), (part, whole, divergence != "forward")):
        value, grad = xe.kl_div_with_logits(x, t, divergence=divergence, return_grad=True)
        exact, exact_grad, _ = oracle.divergence.kl_row(x[0], t[0], divergence=divergence)
        if finite:
            assert_close(value, float(exact))
            assert_terms(grad[0], exact_grad.astype(float))
        else:
            assert value == INF
    value, grad = xe.kl_div_with_logits(part, whole, return_grad=True)
    assert_terms(grad, [[1 / 6, -1 / 3, 1 / 6]])  # s - t stays finite where the loss does not


@divergences
@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.7, 1e-12])
@pytest.mark.parametrize("classes", [3, 300, 2500])
@pytest.mark.parametrize("order", "CF")
def test_class_masked_in_one_that_underflows_in_the_other(order, classes, temperature, divergence, dtype):
    """As where its probability is large: by mathematics it is not 0. The gradient is that of the other classes."""
    whole, part = np.zeros((2, 5, classes), dtype, order)
    gaps = np.array([100, 150, 1000, 1e30, np.finfo(dtype).max], dtype)
    for c in {1, classes - 1}:
        whole[...], part[...] = np.arange(classes) % 3, 0
        whole[:, c], part[:, c] = -gaps, -INF
        others = np.arange(classes) != c
        options = {"divergence": divergence, "temperature": temperature, "reduction": "none"}
        for x, t, finite in ((whole, part, divergence != "reverse"), (part, whole, divergence != "forward")):
            value, grad = xe.kl_div_with_logits(x, t, return_grad=True, **options)
            wanted, of_others = xe.kl_div_with_logits(x[:, others], t[:, others], return_grad=True, **options)
            again = xe.kl_div_with_logits(x, t, **options)
            if finite:
                np.testing.assert_allclose(value[2:], wanted[2:], rtol=8 * np.finfo(dtype).eps)
                np.testing.assert_allclose(again, value)
            else:
                np.testing.assert_array_equal(value, INF)
                np.testing.assert_array_equal(again, INF)
                assert np.isposinf(xe.distillation_loss(x, t, np.zeros(5, int), **options)).all()
            np.testing.assert_array_equal(grad[2:, c], 0)
            atol = np.finfo(dtype).eps / temperature
            np.testing.assert_allclose(grad[2:, others], of_others[2:], rtol=1e-5, atol=atol)


@pytest.mark.parametrize("classes", [3, 300])
def test_log_ratios_out_of_range_are_not_masks(classes, dtype):
    """A class of finite logits whose probabilities both underflow adds nothing, however far apart they are."""
    x, t = np.zeros((2, 2, classes), dtype)
    x[:, 1], t[:, 1] = -np.finfo(dtype).max, -1000
    x[0, 2] = t[0, 2] = -INF
    for divergence in DIVERGENCES:
        for pair in ((x, t), (t, x)):
            value, grad = xe.kl_div_with_logits(*pair, temperature=0.25, divergence=divergence, reduction="none",
                                                return_grad=True)
            np.testing.assert_array_equal(value, 0)
            np.testing.assert_array_equal(grad, 0)


def test_rows_without_a_common_class(dtype):
    x, t = arr([[0, -INF]], dtype), arr([[-INF, 3]], dtype)
    assert xe.kl_div_with_logits(x, t) == xe.kl_div_with_logits(x, t, divergence="reverse") == INF
    assert_close(xe.kl_div_with_logits(x, t, divergence="js"), np.log(2))
    assert_close(xe.kl_div_with_logits(x, t, divergence="js", beta=0.25), 0.5 * np.log(2) - 0.75 * np.log(0.75))


def test_masked_class_in_distillation(dtype):
    x, t = arr([[0, -INF, 0]], dtype), arr([[1, -INF, 1]], dtype)
    value, grad = xe.distillation_loss(x, t, [0], alpha=0.5, return_grad=True)
    assert_close(value, np.log(2) / 2)
    assert_terms(grad, [[-0.25, 0, 0.25]])
    value, grad = xe.distillation_loss(x, t, [1], alpha=0.5, return_grad=True)
    assert value == INF
    assert_terms(grad, [[0.25, -0.5, 0.25]])


def test_probability_0_on_an_infinite_log_probability_in_kl_div(dtype):
    log_p = arr([[-INF, 0]], dtype)
    for axis in (None, 1):
        assert xe.kl_div(log_p, arr([[0, 1]], dtype), axis=axis, reduction="sum") == 0
        assert xe.kl_div(log_p, arr([[-INF, 0]], dtype), log_target=True, axis=axis, reduction="sum") == 0
        assert xe.kl_div(log_p, arr([[0.5, 0.5]], dtype), axis=axis, reduction="sum") == INF
        assert xe.kl_div(log_p, arr([[-1, 0]], dtype), log_target=True, axis=axis, reduction="sum") == INF
        for target, log_target in (([[0, 1]], False), ([[-INF, 0]], True)):
            grad = xe.kl_div(log_p, arr(target, dtype), log_target=log_target, axis=axis, reduction="sum",
                             return_grad=True)[1]
            np.testing.assert_array_equal(grad, [[0, -1]])


def test_weight_0_on_an_infinite_logarithm_in_binary_cross_entropy(dtype):
    p, y = arr([0, 1, 0], dtype), arr([1, 0, 1], dtype)
    value, grad = xe.binary_cross_entropy(p, y, weight=[0, 0, 1], log_floor=None, reduction="none", return_grad=True)
    np.testing.assert_array_equal(value, [0, 0, INF])
    np.testing.assert_array_equal(grad, [0, 0, -INF])
    # 0 log 0 with an exact logarithm
    assert xe.binary_cross_entropy(arr([0, 1], dtype), arr([0, 1], dtype), log_floor=None) == 0


# ---- Bad rows --------------------------------------------------------------------------------------------------------

BAD_ROWS = ([-INF] * 3, [0, INF, 1], [INF, INF, 0], [-INF, INF, 0], [0, NAN, 1], [NAN] * 3, [NAN, INF, -INF])


@pytest.mark.parametrize("row", BAD_ROWS, ids=str)
@pytest.mark.parametrize("length", [3, 40, 2100])
@row_losses
def test_bad_row_is_nan_and_stays_alone(form, length, row, dtype):
    """Wherever in a long row, whatever the rows beside it, in the logits or in the teacher's."""
    rest = -INF if row == [-INF] * 3 else 0
    for place in {0, length - 3}:
        bad = np.full(length, rest, dtype)
        bad[place:place + 3] = row
        x, good = np.stack([np.zeros(length, dtype), bad, np.zeros(length, dtype)]), np.zeros((3, length), dtype)
        wanted, wanted_grad = call(form, good, reduction="none", return_grad=True)
        others = others_of(form, good)
        swapped = ((good, (x, *others[1:])),) if "teacher_logits" in form.arrays else ()
        for logits, rest_of in ((x, others), *swapped):
            loss, grad = call(form, logits, *rest_of, reduction="none", return_grad=True)
            np.testing.assert_array_equal(loss, [wanted[0], NAN, wanted[2]])
            np.testing.assert_array_equal(grad, [wanted_grad[0], np.full(length, NAN), wanted_grad[2]])
            assert np.isnan(call(form, logits, *rest_of, reduction="mean"))
        np.testing.assert_array_equal(np.isnan(information.entropy_with_logits(x)), [False, True, False])


@pytest.mark.parametrize("form", [form for form in ELEMENT_LOSSES if form.arrays[form.first] != FRACTIONS], ids=repr)
def test_nan_element_is_nan_and_stays_alone(form, dtype):
    x = np.full((3, 5), -1, dtype)
    x[1, 2] = NAN
    loss, grad = call(form, x, reduction="none", return_grad=True)
    np.testing.assert_array_equal(np.isnan(loss), np.isnan(x))
    # The gradient of kl_div does not depend on the log-probabilities.
    np.testing.assert_array_equal(np.isnan(grad), np.isnan(x) & ("kl" not in form.name))
    assert np.isnan(call(form, x, reduction="sum"))


def test_nan_in_a_log_target(dtype):
    loss, grad = xe.kl_div(arr([-1, -1], dtype), arr([NAN, -1], dtype), log_target=True, reduction="none",
                           return_grad=True)
    np.testing.assert_array_equal(np.isnan(loss), [True, False])
    np.testing.assert_array_equal(np.isnan(grad), [True, False])


@divergences
def test_difference_that_overflows(divergence, dtype):
    top = {np.float32: 3e38, np.float64: 1.7e308}[dtype]
    x = arr([[top, -top], [top, -top], [0, 0]], dtype)
    t = arr([[top, -top], [0, 0], [top, -top]], dtype)
    loss, grad = xe.kl_div_with_logits(x, t, divergence=divergence, reduction="none", return_grad=True)
    assert loss[0] == 0
    assert not np.isnan(loss).any()
    assert (loss[1:] > 0).all()
    np.testing.assert_array_equal(grad[0], [0, 0])
    if divergence != "reverse":
        assert_close(loss[2], np.log(2) if divergence == "forward" else 0.75 * np.log(4 / 3))
    if divergence == "forward":
        np.testing.assert_array_equal(grad, [[0, 0], [0.5, -0.5], [-0.5, 0.5]])
    np.testing.assert_array_equal(information.entropy_with_logits(x[:1]), [0])


def test_binary_cross_entropy_with_infinite_logits(dtype):
    """pytorch#135359, #102894: the limits, not NaN."""
    x, y = arr([INF, INF, -INF, -INF], dtype), arr([0, 1, 0, 1], dtype)
    for options in ({}, {"pos_weight": 3.0}, {"weight": 2.0}):
        loss, grad = xe.binary_cross_entropy_with_logits(x, y, reduction="none", return_grad=True, **options)
        np.testing.assert_array_equal(loss, [INF, 0, 0, INF])
        np.testing.assert_array_equal(grad, [options.get("weight", 1), 0, 0,
                                             -options.get("weight", 1) * options.get("pos_weight", 1)])
    loss = xe.binary_cross_entropy_with_logits(x, y, pos_weight=0.0, reduction="none")
    np.testing.assert_array_equal(loss, [INF, 0, 0, 0])
    loss = xe.binary_cross_entropy_with_logits(x, np.full_like(y, 0.5), reduction="none")
    np.testing.assert_array_equal(loss, [INF] * 4)
    assert xe.binary_cross_entropy_with_logits(x, y, label_smoothing=0.1, reduction="none").tolist() == [INF] * 4


# ---- Parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kl_div_with_logits", "distillation_loss"])
@pytest.mark.parametrize("beta", [0, 1, 0.0, 1.0])
def test_beta_of_a_divergence_that_is_none(name, beta):
    with pytest.raises(ValueError, match="beta"):
        getattr(xe, name)([[0.0, 1.0]], [[1.0, 0.0]], divergence="js", beta=beta)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.999])
def test_alpha_without_a_target(alpha):
    with pytest.raises(ValueError, match="alpha"):
        xe.distillation_loss([[0.0, 1.0]], [[1.0, 0.0]], alpha=alpha)


@pytest.mark.parametrize("ignore_index", [0, None])
def test_ignore_index_with_probabilities(ignore_index):
    with pytest.raises(ValueError, match="ignore_index"):
        xe.distillation_loss([[0.0, 1.0]], [[1.0, 0.0]], [[0.5, 0.5]], ignore_index=ignore_index)
    with pytest.raises(ValueError, match="ignore_index"):
        xe.cross_entropy([[0.0, 1.0]], [[0.5, 0.5]], ignore_index=ignore_index)


def test_beta_0_and_1_name_what_other_libraries_mean():
    with pytest.raises(ValueError, match="forward"):
        xe.kl_div_with_logits([[0.0, 1.0]], [[1.0, 0.0]], divergence="js", beta=0)
    with pytest.raises(ValueError, match="reverse"):
        xe.kl_div_with_logits([[0.0, 1.0]], [[1.0, 0.0]], divergence="js", beta=1)
    for beta in (0, 1):  # not used, so not in the way
        assert xe.kl_div_with_logits([[0.0, 1.0]], [[1.0, 0.0]], beta=beta) > 0


@pytest.mark.parametrize("value", [-1e-3, 1.0078125, 2, NAN, INF, -INF])
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_probabilities_outside_0_1(dtype, value):
    """pytorch#110865: refused, not computed with. The message has the position."""
    q = arr([[0.5, 0.5], [0.5, 0.5]], dtype)
    q[1, 0] = value
    for form in operations.FORMS:
        if form.arrays.get("target") in (PROBABILITIES, FRACTIONS):
            others = [np.full((2, 2), 0.5)] * (len(form.arrays) - 1)
            with pytest.raises(ValueError, match=r"target.*1, 0"):
                form.function(*others, q, **form.fixed)
    with pytest.raises(ValueError, match=r"probs.*1, 0"):
        xe.binary_cross_entropy(q, np.full((2, 2), 0.5))


@pytest.mark.parametrize("value", [-1e-3, -1, NAN, INF, -INF])
def test_probabilities_of_information_below_0(value, dtype):
    p, good = arr([[0.5, 0.5], [value, 0.5]], dtype), arr([[0.5, 0.5], [0.5, 7]], dtype)
    with pytest.raises(ValueError, match=r"p\b.*1, 0"):
        information.entropy(p)
    for function in (information.cross_entropy, information.kl_divergence, information.js_divergence):
        with pytest.raises(ValueError, match=r"p\b.*1, 0"):
            function(p, good)
        with pytest.raises(ValueError, match=r"q\b.*1, 0"):
            function(good, p)


@pytest.mark.parametrize("base", [1, 1.0, 0, -2, NAN])
def test_base_of_information(base):
    for name in ("entropy", "cross_entropy", "kl_divergence", "js_divergence"):
        arrays = ([0.5, 0.5],) if name == "entropy" else ([0.5, 0.5], [0.5, 0.5])
        with pytest.raises(ValueError, match="base"):
            getattr(information, name)(*arrays, base=base)


@pytest.mark.parametrize("shape", [(2, 4), (2, 2), (3, 3), (2, 3, 1), (3,), (1, 3), ()], ids=str)
def test_teacher_of_another_shape(shape, dtype):
    """Of different class counts, and never broadcast."""
    x, t = np.zeros((2, 3), dtype), np.zeros(shape, dtype)
    for function in (xe.kl_div_with_logits, xe.distillation_loss):
        with pytest.raises(ValueError, match="teacher_logits"):
            function(x, t)
    with pytest.raises(ValueError, match="target"):
        xe.kl_div(x, t)
    for name in DIVERGENCES:
        with pytest.raises(ValueError, match="teacher_logits"):
            xe.kl_div_with_logits_backward(1.0, x, t, divergence=name)
