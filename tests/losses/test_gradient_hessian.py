"""Gradient and Hessian in one pass: the Hessian against exact arithmetic, the gradient against that of the loss.

Entries of the diagonal: 4 ulp of the exact value (cpp/src/kernels/loss/hessian.hpp has the derivation); absolute
gradients: the 4 ulp of the gradient, at the larger of its terms, and half an ulp for the scale. In float16 and
bfloat16, float32 results rounded once, 1 ulp, and half an ulp for the scale of a rounded gradient.
"""

import numpy as np
import operations
import oracle
import oracle.hessian
import pytest
from contract.memory_layouts import READABLE, WRITEABLE
from hypothesis import given
from hypothesis import strategies as st
from oracle.parts import arithmetic
from support import DTYPES, assert_same_bits

import crossent as xe

FORMS = {form.name: form for form in operations.FORMS if form.loss.name in (
    "cross_entropy", "binary_cross_entropy_with_logits") and "softcap" not in form.options}
CASES = [(name, case) for name, form in FORMS.items() for case, options in form.cases.items()
         if not {"z_loss", "temperature", "entropy_weight"} & set(options)]
HESSIANS = {
    "diagonal": {}, "absolute": {"hessian": "absolute"}, "xgboost": {"hessian_scale": 2.0, "hessian_floor": 1e-16},
    "scaled": {"hessian_scale": 9 / 8}, "absolute scaled": {"hessian": "absolute", "hessian_scale": 1.3},
    "floor": {"hessian_floor": 0.125}, "tiny": {"hessian_scale": 1e-36}, "huge": {"hessian_scale": 1e30}}


def function_of(form):
    return getattr(xe, f"{form.loss.name}_gradient_hessian")


def limit_of(dtype, how):
    absolute = "absolute" in how
    return 1 + absolute / 2 if dtype.itemsize == 2 else 4 + absolute / 2


@pytest.mark.parametrize("how", HESSIANS)
@pytest.mark.parametrize(("name", "case"), CASES)
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_values(dtype, name, case, how, rng):
    form = FORMS[name]
    arrays, options = form.arguments(rng, (dtype, dtype), case)
    options = {name: np.abs(v) if name in form.weights else v for name, v in options.items()}
    grad, hess = function_of(form)(*arrays, **options, **HESSIANS[how])
    assert grad.dtype == hess.dtype == dtype
    wanted = form.function(*arrays, reduction="sum", return_grad=True, **options)[1]
    assert_same_bits(grad, wanted)
    first, target = arrays
    target = target if target.dtype.kind in "iu" else target.astype(arithmetic(dtype))
    exact = getattr(oracle.hessian, form.loss.name)(first.astype(arithmetic(dtype)), target, **options, **HESSIANS[how])
    oracle.assert_within(limit_of(dtype, how), hess, *exact)


@pytest.mark.parametrize(("name", "weight"), [("cross_entropy", "sample_weight"),
                                              ("binary_cross_entropy_with_logits", "weight")])
def test_negative_weights_are_refused(name, weight):
    """The losses take them; the Hessian would not be that of a convex function."""
    x, y = np.zeros((2, 2)), np.array([0, 1]) if name == "cross_entropy" else np.eye(2)
    grad, hess = np.full((2, 2), 7.0), np.full((2, 2), 7.0)
    w = np.array([1.0, -0.5]) if name == "cross_entropy" else np.array([[1.0, 1.0], [-0.5, 1.0]])
    with pytest.raises(ValueError, match=rf"{weight}\[1(, 0)?\] is -0.5: expected a finite number in \[0"):
        getattr(xe, f"{name}_gradient_hessian")(x, y, **{weight: w}, grad_out=grad, hess_out=hess)
    assert (grad == 7).all() and (hess == 7).all()


def rows_of_a_kind(kind, rng, dtype, classes):
    """Rows whose p are everywhere between 0 and 1, and those in which 1 - p is hard."""
    most = 100.0 if dtype == np.float32 else 740.0
    if kind == "confident":
        x = rng.normal(0, 1, (24, classes))
        x[np.arange(24), rng.integers(0, classes, 24)] += np.linspace(0, most, 24)
    elif kind == "pairs":  # two classes share nearly all of the probability, around 1/2 each
        x = rng.normal(-30, 1, (24, classes))
        x[:, 0], x[:, -1] = 0, np.linspace(-1e-3, 1e-3, 24)
    elif kind == "constant tail":
        x = np.zeros((24, classes))
        x[:, classes // 2] = np.linspace(-5, 90, 24)
    elif kind == "offset":
        x = rng.normal(0, 2, (24, classes)) + 1e8
    elif kind == "heavy tails":
        x = rng.standard_cauchy((24, classes)) * 3
    else:
        x = rng.normal(0, 3, (24, classes))
        x[:, 1:][rng.random((24, classes - 1)) < 0.3] = -np.inf
    return x.astype(dtype)


@pytest.mark.parametrize("classes", [2, 3, 10, 100, 129, 1500])
@pytest.mark.parametrize("kind", ["confident", "pairs", "constant tail", "offset", "heavy tails", "masked"])
def test_hard_rows(kind, classes, dtype, rng):
    x, y = rows_of_a_kind(kind, rng, dtype, classes), rng.integers(0, classes, 24)
    x[np.arange(24), y] = np.maximum(x[np.arange(24), y], -1e4)
    v = rng.uniform(0.1, 3, 24).astype(dtype)
    rows = slice(None) if classes < 20 else slice(0, None, 3) if classes < 200 else slice(0, None, 8)
    _, hess = xe.cross_entropy_gradient_hessian(x, y, sample_weight=v, hessian_scale=classes / (classes - 1))
    wanted, _ = oracle.hessian.cross_entropy(x[rows], y[rows], sample_weight=v[rows],
                                             hessian_scale=classes / (classes - 1))
    oracle.assert_within(4, hess[rows], wanted)


def test_many_probabilities(dtype, rng):
    """The bound holds around every p: 4,000 rows of three classes and of two."""
    for classes in (2, 3):
        x = np.zeros((2000, classes), dtype)
        x[:, 0] = np.linspace(-4, 4, 2000)
        _, hess = xe.cross_entropy_gradient_hessian(x, np.zeros(2000, int), hessian_scale=1.7)
        oracle.assert_within(4, hess, oracle.hessian.cross_entropy(x, np.zeros(2000, int), hessian_scale=1.7)[0])
    _, hess = xe.binary_cross_entropy_with_logits_gradient_hessian(x[:, 0], np.ones(2000, int), hessian_scale=1.7)
    exact = oracle.hessian.binary_cross_entropy_with_logits(x[:, 0], np.ones(2000), hessian_scale=1.7)[0]
    oracle.assert_within(4, hess, exact)


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e-10, 1e20, 1e38])
def test_weights_of_any_size(scale, dtype, rng):
    x, y = rows_of_a_kind("confident", rng, dtype, 20), rng.integers(0, 20, 24)
    v = np.full(24, scale).astype(dtype)
    for options in ({}, {"hessian_scale": 3.0}):
        _, hess = xe.cross_entropy_gradient_hessian(x, y, sample_weight=v, **options)
        oracle.assert_within(4, hess, oracle.hessian.cross_entropy(x, y, sample_weight=v, **options)[0])
    w = np.full(x.shape, scale).astype(dtype)
    _, hess = xe.binary_cross_entropy_with_logits_gradient_hessian(x, np.ones_like(x), weight=w)
    oracle.assert_within(
        4, hess, oracle.hessian.binary_cross_entropy_with_logits(x, np.ones_like(x), weight=w)[0])


def test_hessian_of_float32_beyond_its_resolution():
    """1 - p is 0 in float32 from a gap of 17 on, and p (1 - p) with it."""
    x = np.array([[17, 0], [50, 0]], np.float32)
    _, hess = xe.cross_entropy_gradient_hessian(x, [0, 0])
    np.testing.assert_allclose(hess, np.exp(-x[:, :1]) * np.ones(2), rtol=1e-6)


# ---- Layouts and bits ------------------------------------------------------------------------------------------------


@given(data=st.data(), classes=st.sampled_from((1, 2, 3, 10, 17, 100, 129, 1100)), rows=st.integers(1, 40),
       how=st.sampled_from(sorted(HESSIANS)), seed=st.integers(0, 2**32))
@pytest.mark.parametrize("form", FORMS)
def test_any_layout_has_the_same_bits(form, data, classes, rows, how, seed):
    rng, dtype = np.random.default_rng(seed), data.draw(st.sampled_from(DTYPES))
    x = rng.normal(0, 5, (rows, classes)).astype(dtype)
    if form == "cross_entropy":
        y = rng.integers(0, classes, rows)
    else:
        y = rng.uniform(0, 1, x.shape).astype(dtype) / (1 if "binary" in form else classes)
    smoothing = {"label_smoothing": data.draw(st.sampled_from((0.0, 0.1)))}
    function, options = function_of(FORMS[form]), {**smoothing, **HESSIANS[how]}
    wanted = function(np.ascontiguousarray(x), y, **options)
    draw = lambda kind, a: data.draw(st.sampled_from(kind))(a, data)
    got = function(draw(READABLE, x), y, **options)
    into = function(draw(READABLE, x), y, grad_out=draw(WRITEABLE, np.zeros_like(x)),
                    hess_out=draw(WRITEABLE, np.zeros_like(x)), **options)
    one_by_one = [function(x[i], y[i], **{**options}) for i in range(min(rows, 3))]
    in_place = x.copy()
    over_logits = function(in_place, y, grad_out=in_place, **options)
    for k in range(2):
        assert_same_bits(got[k], wanted[k])
        assert_same_bits(into[k], wanted[k])
        assert_same_bits(over_logits[k], wanted[k])
        for i, row in enumerate(one_by_one):
            assert_same_bits(row[k], wanted[k][i])


def test_memory_order_is_that_of_the_logits(dtype, rng):
    for order in "CF":
        x = np.asarray(rng.normal(0, 1, (50, 7)), dtype, order=order)
        for result in xe.cross_entropy_gradient_hessian(x, np.zeros(50, int)):
            assert result.flags[f"{order}_CONTIGUOUS"] and result.dtype == dtype


@pytest.mark.parametrize("shape", [(70_000, 3), (900, 100), (3, 300_000)])
@pytest.mark.parametrize("hessian", ["diagonal", "absolute"])
def test_threads(hessian, shape, dtype, rng):
    x, y = rng.normal(0, 4, shape).astype(dtype), rng.integers(0, shape[1], shape[0])
    results = []
    for threads in (1, 2, 5):
        with xe.num_threads(threads):
            results.append(xe.cross_entropy_gradient_hessian(x, y, hessian=hessian, label_smoothing=0.1))
    for got in results[1:]:
        assert_same_bits(got[0], results[0][0])
        assert_same_bits(got[1], results[0][1])


# ---- Rows that are not there, and rows without a result --------------------------------------------------------------


@pytest.mark.parametrize("hessian", ["diagonal", "absolute"])
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("classes", [3, 200, 2000])
def test_rows_that_do_not_count(classes, order, hessian, dtype, rng):
    x, y = rng.normal(0, 1, (20, classes)), rng.integers(0, classes, 20)
    v = np.ones(20)
    y[3], v[5] = -100, 0
    x[[3, 5]] = np.nan
    x[7, 0] = np.nan
    x[8] = -np.inf
    x[9, 1] = np.inf
    x = np.asarray(x, dtype, order=order)
    for result in xe.cross_entropy_gradient_hessian(x, y, sample_weight=v, hessian=hessian, hessian_floor=0.5):
        assert (result[[3, 5]] == 0).all()
        assert np.isnan(result[7:10]).any(axis=1).all()
        assert np.isfinite(result[10:]).all()


def test_masked_class_has_no_curvature(dtype):
    x = np.array([[1, -np.inf, 0]], dtype)
    grad, hess = xe.cross_entropy_gradient_hessian(x, [0])
    assert grad[0, 1] == hess[0, 1] == 0
    assert xe.cross_entropy_gradient_hessian(x, [0], hessian_floor=0.25)[1][0, 1] == 0.25


def test_one_class_is_certain(dtype):
    for result in xe.cross_entropy_gradient_hessian(np.array([[3.0], [-2.0]], dtype), [0, 0]):
        assert (result == 0).all()


def test_infinite_logits_of_elements(dtype):
    x = np.array([np.inf, -np.inf, np.nan], dtype)
    _, hess = xe.binary_cross_entropy_with_logits_gradient_hessian(x, [1, 1, 1])
    np.testing.assert_array_equal(hess, [0, 0, np.nan])


# ---- Labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*operations.FLOATS, np.dtype(">f4"), np.dtype(np.int8), np.dtype(np.uint64)], ids=str)
def test_labels_of_any_dtype(kind, rng):
    x, y = rng.normal(0, 1, (300, 5)), rng.integers(0, 5, 300)
    wanted = xe.cross_entropy_gradient_hessian(x, y)
    store = np.zeros(600, kind)
    store[::2] = y.astype(kind)
    for labels in (y.astype(kind), store[::2], store[::-2][::-1] if kind == np.float32 else y.astype(kind)):
        if labels.shape == y.shape and (labels.astype(float) == y).all():
            for got, one in zip(xe.cross_entropy_gradient_hessian(x, labels), wanted, strict=True):
                assert_same_bits(got, one)


def test_labels_of_one_row_and_of_many_axes(rng):
    x = rng.normal(0, 1, (4, 3, 5))
    y = rng.integers(0, 3, (4, 5))
    for got, one in zip(xe.cross_entropy_gradient_hessian(x, y.astype(np.float32)),
                        xe.cross_entropy_gradient_hessian(x, y), strict=True):
        assert_same_bits(got, one)
    for label in (1.0, np.array([1.0]), np.float32(1)):
        assert_same_bits(xe.cross_entropy_gradient_hessian(x[0, :, 0], label)[1],
                         xe.cross_entropy_gradient_hessian(x[0, :, 0], 1)[1])


def test_ignored_label_of_a_floating_dtype(rng):
    grad, hess = xe.cross_entropy_gradient_hessian(rng.normal(0, 1, (2, 3)), np.array([-100.0, 1.0]))
    assert (grad[0] == 0).all() and (hess[0] == 0).all() and (hess[1] > 0).all()


@pytest.mark.parametrize(("bad", "kind", "says"), [
    (0.5, ValueError, r"target\[100\] is 0.5: expected a class label, an integer"),
    (np.nan, ValueError, r"target\[100\] is nan"), (np.inf, ValueError, r"target\[100\] is inf"),
    (1e30, ValueError, r"target\[100\] is 1.*e\+30"), (5.0, IndexError, r"target\[100\] is 5, outside \[0, 5\)"),
    (-1.0, IndexError, r"target\[100\] is -1, outside")])
def test_numbers_that_are_no_labels(bad, kind, says, dtype):
    x, y = np.zeros((200, 5), dtype), np.ones(200, dtype)
    y[100] = y[150] = bad
    grad, hess = np.full_like(x, 7), np.full_like(x, 7)
    with pytest.raises(kind, match=says):
        xe.cross_entropy_gradient_hessian(x, y, grad_out=grad, hess_out=hess)
    assert (grad == 7).all() and (hess == 7).all()


# ---- Errors ----------------------------------------------------------------------------------------------------------


def test_shapes_of_floating_targets():
    with pytest.raises(ValueError, match="target has shape"):
        xe.cross_entropy_gradient_hessian(np.zeros((4, 3)), np.zeros(3))
    with pytest.raises(ValueError, match="target has shape"):
        xe.cross_entropy_gradient_hessian(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(TypeError, match="target has dtype bool"):
        xe.cross_entropy_gradient_hessian(np.zeros((4, 3)), np.zeros(4, bool))
    with pytest.raises(ValueError, match="ignore_index"):
        xe.cross_entropy_gradient_hessian(np.zeros((4, 3)), np.full((4, 3), 0.25), ignore_index=1)


@pytest.mark.parametrize("form", FORMS)
def test_the_hessian_lies_apart(form):
    function, store = function_of(FORMS[form]), np.full((4, 3), 0.25)
    other = [0, 1, 2, 0] if form == "cross_entropy" else np.full((4, 3), 0.25)
    for bad in (store, store[::-1]):
        with pytest.raises(ValueError, match="hess_out shares memory with logits"):
            function(store, other, hess_out=bad)
    out = np.zeros((4, 3))
    with pytest.raises(ValueError, match="hess_out shares memory with grad_out"):
        function(store, other, grad_out=out, hess_out=out)
    if form != "cross_entropy":
        with pytest.raises(ValueError, match="hess_out shares memory with target"):
            function(store, other, hess_out=other)
    for bad in (np.zeros((4, 3), np.float32), [[0.0] * 3] * 4):
        with pytest.raises(TypeError, match="hess_out"):
            function(store, other, hess_out=bad)
    read_only = np.zeros((4, 3))
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="hess_out is read-only"):
        function(store, other, hess_out=read_only)
    with pytest.raises(ValueError, match="hess_out has shape"):
        function(store, other, hess_out=np.zeros((3, 4)))
