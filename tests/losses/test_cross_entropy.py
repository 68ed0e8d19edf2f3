"""cross_entropy with class indices: values and gradients against exact arithmetic.

Tolerances: 4 ulp of the exact value for losses, reduced or not. A gradient entry is (A - b_c) p_c - b_c (1 - p_c), with
b_c the coefficient of -log p_c and A their sum, and is held to 4 ulp of the larger of these two terms: without
smoothing one of them is 0, so that is 4 ulp of the value itself; with smoothing the difference may cross 0.
The options, reductions, dtypes and layouts are in test_every_loss.py.
"""

import itertools

import distributions
import fast
import numpy as np
import oracle
import pytest
from distributions import some_rows
from fast.double_double import exp, log1p
from mpmath import mp, mpf
from operations.draws import SAMPLE_WEIGHT, WEIGHT
from support import ALL

import crossent as xe

LIMIT = 4


def assert_exact(loss, grad, x, target, **options):
    fast.assert_exact(loss, grad, fast.exact("cross_entropy", x, target, **options), LIMIT, LIMIT)


@pytest.mark.parametrize("draw", distributions.ALL, ids=lambda f: f.__name__)
def test_value_and_gradient(draw, dtype, rng):
    for n, c in distributions.SHAPES:
        x = draw(rng, n, c, dtype)
        target = rng.integers(0, c, n)
        target[::2] = x[::2].argmax(axis=1)  # half of the rows are right: their losses and gradients are the small ones
        if draw is distributions.masked:
            target[np.isneginf(x[np.arange(n), target])] = 0
        loss, grad = xe.cross_entropy(x, target, reduction="none", return_grad=True)
        if draw is distributions.wide and dtype == np.float64:  # beyond double-double
            oracle.assert_within(LIMIT, loss, oracle.cross_entropy_rows(x, target))
            oracle.assert_within(LIMIT, grad, *oracle.cross_entropy_grad(x, target))
        else:
            assert_exact(loss, grad, x, target)


@pytest.mark.parametrize("draw", [distributions.normal, distributions.confident, distributions.large_offset],
                         ids=lambda f: f.__name__)
def test_value_and_gradient_with_label_smoothing(draw, dtype, rng):
    for n, c in ((40, 2), (24, 17), (2, 1025)):
        x, target = draw(rng, n, c, dtype), rng.integers(0, c, n)
        for smoothing in (1e-6, 0.1):
            loss, grad = xe.cross_entropy(x, target, reduction="none", label_smoothing=smoothing, return_grad=True)
            assert_exact(loss, grad, x, target, label_smoothing=smoothing)


def z_loss_scale(x, z, loss):
    """What the error of a loss is measured at: logsumexp = max + log1p(tail) may cancel, and has the error of the
    latter then."""
    logsumexp, log_total = (fast.high(part) / fast.SCALE for part in fast.exact("logsumexp", x))
    of_square = z * log_total * np.maximum(2 * abs(logsumexp), log_total * np.finfo(x.dtype).eps)
    return fast.maximum(abs(loss), fast.like(loss, of_square * fast.SCALE))


@pytest.mark.parametrize("draw", [draw for draw in distributions.ALL if draw is not distributions.wide],
                         ids=lambda f: f.__name__)  # the squares of wide logits overflow
@pytest.mark.parametrize("shifted", [False, True], ids=["as drawn", "logsumexp near 0"])
def test_value_and_gradient_with_z_loss(draw, shifted, dtype, rng):
    for k, (n, c) in enumerate(((20, 2), (12, 17), (2, 1025))):
        x, target = draw(rng, n, c, dtype), rng.integers(0, c, n)
        if draw is distributions.masked:
            target = x.argmax(axis=1)
        if shifted:
            x = (x - xe.logsumexp(x, keepdims=True)).astype(dtype)
        every = ({"z_loss": 1e-4}, {"z_loss": 10.0}, {"z_loss": 0.5, "label_smoothing": 0.1},
                 {"z_loss": 0.5, "weight": np.zeros(c)})
        of_draw = k + distributions.ALL.index(draw)
        for options in every if ALL else (every[of_draw % 4], every[(of_draw + 1) % 4])[:1 + (c < 1000)]:
            loss, grad = xe.cross_entropy(x, target, reduction="none", return_grad=True, **options)
            exact = fast.exact("cross_entropy", x, target, **options)
            wanted, _ = fast.value(exact)
            fast.assert_within(LIMIT, loss, wanted, z_loss_scale(x, options["z_loss"], wanted))
            fast.assert_within(LIMIT, grad, *fast.gradient(exact))


def test_gradient_where_z_loss_cancels_the_coefficients():
    """A = 1 + 2 z logsumexp is exactly 0: the second term of a smoothed gradient is all there is."""
    x = np.array([[-1.0, -np.inf]])
    options = {"z_loss": 0.5, "reduction": "none", "return_grad": True}
    assert xe.cross_entropy(x, [0], **options)[1].tolist() == [[-1.0, 0.0]]
    assert xe.cross_entropy(x, [[1.0, 0.0]], **options)[1].tolist() == [[-1.0, 0.0]]
    loss, grad = xe.cross_entropy(x, [0], label_smoothing=0.5, **options)
    assert loss[0] == np.inf
    assert grad.tolist() == [[-0.75, -0.25]]


@pytest.mark.parametrize("classes", [2, 3, 10, 17, 1000, 5000])
def test_constant_tail_over_a_grid_of_gaps(classes, dtype):
    """Errors of equal terms are biased, and random rows hide them: 5,000 gaps per number of classes. With x_0 = gap
    and every other logit 0 the exact row is a single exponential."""
    for gaps in np.split(np.linspace(-5, 30, 5000).astype(dtype), 10):
        x = np.zeros((gaps.size, classes), dtype)
        x[:, 0] = gaps
        loss, grad = xe.cross_entropy(x, np.zeros(gaps.size, int), reduction="none", return_grad=True)
        assert (grad[:, 1:] == grad[:, 1:2]).all()
        e = exp(-fast.widen(gaps)) * (1 / fast.SCALE)
        tail = e * (classes - 1.0)
        fast.assert_within(LIMIT, loss, log1p(tail) * fast.SCALE)
        fast.assert_within(LIMIT, grad[:, 0], -tail / (tail + 1.0) * fast.SCALE)
        fast.assert_within(LIMIT, grad[:, 1], e / (tail + 1.0) * fast.SCALE)


@pytest.mark.parametrize("classes", [128_256, 1_000_000])
def test_many_classes(classes, dtype, rng):
    x = (rng.integers(-400, 400, (2, classes)) / 64).astype(dtype)
    target = np.array([classes - 1, x[1].argmax()])
    loss, grad = xe.cross_entropy(x, target, reduction="none", return_grad=True)
    assert_exact(loss, grad, x, target)


def test_confident_rows_up_to_the_largest_gap(dtype):
    """pytorch#113708, #195678: losses and gradients of confident rows are tiny, never a false 0."""
    largest = distributions.LARGEST_GAP[dtype]
    gaps = np.linspace(0, largest, 2000).astype(dtype)
    x = np.stack([gaps, np.zeros_like(gaps)], axis=1)
    target = np.zeros(gaps.size, int)
    loss, grad = xe.cross_entropy(x, target, reduction="none", return_grad=True)
    assert (loss > 0).all()
    assert (grad[:, 0] < 0).all()
    assert (grad[:, 1] > 0).all()
    assert_exact(loss, grad, x, target)


@pytest.mark.parametrize("rows", [1, 2, 17, 2000])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_reductions_round_once(rows, reduction, dtype, rng):
    """Unrounded row losses are added in float64: however many rows, 4 ulp of the exact reduction."""
    x, target = rng.normal(0, 3, (rows, 5)).astype(dtype), rng.integers(0, 5, rows)
    exact, _ = fast.value(fast.exact("cross_entropy", x, target), reduction)
    fast.assert_within(LIMIT, xe.cross_entropy(x, target, reduction=reduction), exact)


def test_spatial_axes_and_sample_weight_of_the_rows(dtype, rng):
    x = rng.normal(0, 2, (2, 5, 3, 4)).astype(dtype)
    target = rng.integers(0, 5, (2, 3, 4))
    v = rng.uniform(0, 2, (2, 3, 4)).astype(dtype)
    rows, labels = np.moveaxis(x, 1, -1).reshape(-1, 5), target.ravel()
    loss, grad = xe.cross_entropy(x, target, sample_weight=v, reduction="none", return_grad=True)
    assert loss.shape == target.shape
    assert grad.shape == x.shape
    assert_exact(loss.ravel(), np.moveaxis(grad, 1, -1).reshape(-1, 5), rows, labels, sample_weight=v.ravel())


@pytest.mark.parametrize("shape", [(3, 4), (4,), (2, 1, 1), (1, 3, 1), ()], ids=str)
def test_sample_weight_is_broadcast_to_the_rows(shape, dtype, rng):
    x, target = rng.normal(0, 2, (2, 5, 3, 4)).astype(dtype), rng.integers(0, 5, (2, 3, 4))
    v = np.asarray(rng.uniform(0.5, 2, shape), dtype)
    full = np.broadcast_to(v, (2, 3, 4)).copy()
    for reduction in ("none", "mean"):
        got = xe.cross_entropy(x, target, sample_weight=v, reduction=reduction, return_grad=True)
        wanted = xe.cross_entropy(x, target, sample_weight=full, reduction=reduction, return_grad=True)
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1], wanted[1])


@pytest.mark.parametrize("target", [2, np.int8(2), np.array(2), np.array([2]), [2]], ids=repr)
def test_unbatched(target, dtype):
    x = np.array([0.5, -1, 2, 0], dtype)
    for reduction in ("none", "sum", "mean"):
        loss, grad = xe.cross_entropy(x, target, reduction=reduction, return_grad=True)
        assert isinstance(loss, np.floating)
        assert loss.dtype == dtype
        assert grad.shape == (4,)
        oracle.assert_within(LIMIT, loss, oracle.cross_entropy_rows(x[None], [2])[0])
        oracle.assert_within(LIMIT, grad[None], *oracle.cross_entropy_grad(x[None], [2]))


@pytest.mark.parametrize("kind", "bhilqBHILQ")
def test_every_integer_dtype_is_a_target(kind, dtype, rng):
    x, target = some_rows(rng, dtype)
    wanted = xe.cross_entropy(x, target, reduction="none")
    np.testing.assert_array_equal(xe.cross_entropy(x, target.astype(kind), reduction="none"), wanted)


def test_byte_swapped_targets_and_python_lists(dtype, rng):
    x, target = some_rows(rng, dtype)
    wanted = xe.cross_entropy(x, target)
    assert xe.cross_entropy(x, target.astype(target.dtype.newbyteorder())) == wanted
    assert xe.cross_entropy(x, target.tolist()) == wanted


def test_converted_logits():
    """Lists, integers, bool and byte-swapped arrays are converted by NumPy first."""
    wanted = xe.cross_entropy(np.array([[1.0, 0.0, 1.0]]), [0])
    for logits in ([[1.0, 0.0, 1.0]], np.array([[1, 0, 1]]), np.array([[True, False, True]]),
                   np.array([[1, 0, 1]], np.uint8), np.array([[1.0, 0.0, 1.0]], ">f8"),
                   np.array([[1.0, 0.0, 1.0]], "<f8")):
        loss = xe.cross_entropy(logits, [0])
        assert loss == wanted
        assert loss.dtype == np.float64
    assert xe.cross_entropy(np.array([[1, 0, 1]], ">f4"), [0]).dtype == np.float32


def test_weights_of_the_other_dtype_are_converted(dtype, rng):
    x, target = some_rows(rng, dtype)
    other = np.float64 if dtype == np.float32 else np.float32
    w, v = np.array(WEIGHT, other), np.array(SAMPLE_WEIGHT, other)
    got = xe.cross_entropy(x, target, weight=w, sample_weight=v, return_grad=True)
    wanted = xe.cross_entropy(x, target, weight=w.astype(dtype), sample_weight=v.astype(dtype), return_grad=True)
    assert got[0] == wanted[0]
    assert got[0].dtype == dtype
    np.testing.assert_array_equal(got[1], wanted[1])


def test_textbook_smoothing(rng):
    """True class 1 - eps, every other class eps/(C-1), is label_smoothing = eps C/(C-1)."""
    x, target = rng.normal(0, 2, (6, 5)), rng.integers(0, 5, 6)
    eps = 0.2
    q = np.full((6, 5), eps / 4)
    q[np.arange(6), target] = 1 - eps
    by_hand = -(q * xe.log_softmax(x)).sum(axis=1)
    smoothed = xe.cross_entropy(x, target, label_smoothing=eps * 5 / 4, reduction="none")
    np.testing.assert_allclose(smoothed, by_hand, rtol=1e-13)  # by_hand rounds a few times


def test_accumulated_gradients_with_a_denominator(dtype, rng):
    """denominator= makes micro-batches add up to the mean of the whole batch."""
    x, target = rng.normal(0, 2, (8, 5)).astype(dtype), rng.integers(0, 5, 8)
    whole, grad = xe.cross_entropy(x, target, return_grad=True)
    parts = [xe.cross_entropy(x[k:k + 4], target[k:k + 4], denominator=8, return_grad=True) for k in (0, 4)]
    np.testing.assert_allclose(parts[0][0] + parts[1][0], whole, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(np.concatenate([parts[0][1], parts[1][1]]), grad)


def test_grad_out_is_the_second_result(dtype, rng):
    x, target = some_rows(rng, dtype)
    wanted = xe.cross_entropy(x, target, return_grad=True)[1]
    store = np.zeros((12, 18), dtype)
    for buffer in (np.empty_like(x), np.empty_like(x, order="F"), store[:, ::2], store[::-1, 1::2], x):
        grad = xe.cross_entropy(x, target, return_grad=True, grad_out=buffer)[1]
        assert grad is buffer
        np.testing.assert_array_equal(grad, wanted)


@pytest.mark.parametrize("classes", [3, 5, 6, 7, 10, 11])
@pytest.mark.parametrize("rows", [3, 5, 7, 100, 1000, 3001])
def test_row_losses_are_not_rounded_before_they_are_added(rows, classes):
    """Rows of equal logits lose log C, exact to a double: their sum is rounded to float32 once, half a unit at most."""
    loss = xe.cross_entropy(np.zeros((rows, classes), np.float32), np.zeros(rows, int), reduction="sum")
    assert oracle.error(loss, rows * mp.log(classes), loss.dtype) <= 0.5000001


@pytest.mark.parametrize(
    ("rows", "classes"), [(40, 1000), (2000, 3), (3, 20_000)] if ALL else [(8, 1000), (500, 3), (1, 20_000)])
def test_smoothing_with_class_weights_in_float64(rows, classes):
    """The sum of 1,000 class weights is not rounded as it is added, which for weights of 0.1 was off by 20 ulp; nor are
    the products and sums that a loss is made of."""
    rng = np.random.default_rng(11)
    x = np.zeros((rows, classes))
    x[:, 0] = np.linspace(0.5, 5, rows)
    if classes == 3:
        x = rng.normal(0, 3, x.shape)
    x, target = x[:, rng.permutation(classes)], rng.integers(0, classes, rows)
    target[::2] = x[::2].argmax(axis=1)
    weight = rng.uniform(0.1, 3, classes) if classes == 3 else np.full(classes, 0.1)
    options = {"weight": weight, "sample_weight": rng.uniform(0.1, 3, rows), "label_smoothing": 0.1}
    loss, grad = xe.cross_entropy(x, target, reduction="none", return_grad=True, **options)
    assert_exact(loss, grad, x, target, **options)


@pytest.mark.parametrize(("rows", "classes"), [(30, 3), (1, 500_000)])
def test_subnormal_losses_in_float64(rows, classes):
    """A confident row of many blocks, and one whose weights are multiplied in: what is subnormal is rounded last."""
    rng = np.random.default_rng(11)
    x, target = -rng.choice(rng.uniform(730, 744, 30), (rows, classes)), np.zeros(rows, int)
    x[:, 0] = 0
    for options in ({}, {"weight": rng.uniform(0.1, 3, classes), "sample_weight": rng.uniform(0.1, 3, rows)}):
        loss = xe.cross_entropy(x, target, reduction="none", **options)
        fast.assert_within(LIMIT, loss, *fast.value(fast.exact("cross_entropy", x, target, **options)))


@pytest.mark.parametrize("factor", [1.0, 10.0, 1e20])
@pytest.mark.parametrize(("classes", "smoothing"), [(2, 0.0), (17, 0.0), (1500, 0.0), (5, 0.1)])
@pytest.mark.parametrize("probabilities", [False, True])
def test_subnormal_tails_times_anything_in_float64(probabilities, classes, smoothing, factor, rng):
    """The right class is ahead by up to 750: its tail is subnormal, the loss times a weight and the gradient times an
    upstream gradient are not. With smoothing, where the other classes weigh nothing."""
    rows = 16 if ALL or classes < 100 else 4
    x, target = rng.normal(0, 1, (rows, classes)), np.full(rows, classes - 1)
    x[:, -1] = x[:, :-1].max(axis=1) + rng.uniform(690, 750, rows)
    options = {"sample_weight": np.full(rows, factor), "label_smoothing": smoothing}
    if smoothing:
        options["weight"] = np.eye(classes)[-1]
    q = np.eye(classes)[target] if probabilities else target
    upstream = rng.normal(0, factor, rows)
    loss = xe.cross_entropy(x, q, reduction="none", **options)
    grad = xe.cross_entropy_backward(upstream, x, q, reduction="none", **options)
    exact = fast.exact("cross_entropy", x, q, **options)
    fast.assert_within(LIMIT, loss, *fast.value(exact))
    fast.assert_within(LIMIT, grad, *fast.gradient(exact, grad_output=upstream))


@pytest.mark.parametrize("classes", [3, 200])
def test_targets_without_a_weight_in_float64(classes):
    """With class weight 0, or nearly 0, the entry of a target is its probability, which may be subnormal, times a
    coefficient."""
    gaps = np.array([0.5, 600, 623.8, 624.5, 690, 707, 708.8, 720, 744, 745.5, 800, 1000])
    x = np.zeros((len(gaps), classes))
    x[:, 1], x[:, 2:] = -gaps, -1
    weight = np.ones(classes)
    for of_target in (0, 1e-305, 1e-290):
        weight[1] = of_target
        for options in ({"label_smoothing": 0.1}, {"z_loss": 0.25}, {"label_smoothing": 0.25, "temperature": 0.75}):
            full = {"weight": weight, **options}
            held = gaps / options.get("temperature", 1) < 850  # in double-double; e^-gap of the others is 0
            exact = fast.gradient(fast.exact("cross_entropy", x, np.ones(len(gaps), int), **full))
            beyond = oracle.cross_entropy_grad(x[~held], np.ones(sum(~held), int), **full)
            for factor, logits in itertools.product((1.0, 1e-20, 1e100), (x, np.asfortranarray(x))):
                v = np.full(len(gaps), factor)
                grad = xe.cross_entropy(logits, np.ones(len(gaps), int), sample_weight=v, reduction="none",
                                        return_grad=True, **full)[1]
                fast.assert_within(LIMIT, grad[held], *(part[held] * factor for part in exact))
                oracle.assert_within(LIMIT, grad[~held], *(mpf(factor) * part for part in beyond))


def test_smoothed_gradient_without_fma():
    """Two terms of which one is twice as large as their scale: 4.5 ulp if each product is rounded, as without FMA."""
    x, options = np.array([[0.1841176136286624, -0.6058007760006551, -1.698341152287651]]), {
        "weight": np.array([0.10382185040392546, 2.4108718027846088, 1.8234015154420316]),
        "sample_weight": np.array([1.0624019452611417]), "label_smoothing": 0.1}
    _, grad = xe.cross_entropy(x, [0], reduction="none", return_grad=True, **options)
    oracle.assert_within(LIMIT, grad, *oracle.cross_entropy_grad(x, [0], **options))
