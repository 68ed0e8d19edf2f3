"""sparse_distillation_loss against exact numbers where the registry has no case for it: every kind of values and each
tail, temperatures, weights, and what holds between them.

Losses and gradient entries: 4 ulp, at the sizes of oracle.sparse. A teacher's rest is 1 - sum, in float64 known to
2^-57: teachers here leave at least 1/32 to it.
"""

import itertools

import fast
import numpy as np
import operations
import oracle.sparse
import pytest
from operations.draws import listed_teacher
from oracle.parts import arithmetic, gradient_limit
from oracle.sparse import TAILS
from support import assert_same_bits

import crossent as xe

VALUES = ("log_probs", "logits", "probs", "weights")
KINDS = [(values, tail, divergence) for values, tail, divergence in itertools.product(
    VALUES, TAILS, ("forward", "reverse", "js")) if divergence == "forward" or tail == "bucket" or
    (divergence == "js" and tail == "renormalize") if not (divergence == "reverse" and values == "weights")]
ROWS, CLASSES = 12, 9


def of_teacher(values_are, temperature, logits, classes):
    """(values of the listed classes, the options that say what they are) of a teacher's logits."""
    rows, listed = np.arange(len(logits))[:, None], np.where(classes < 0, 0, classes)
    of_all = np.log(np.exp(logits / temperature).sum(axis=1))
    log_p = logits / temperature - of_all[:, None]
    if values_are == "probs":
        return np.exp(log_p)[rows, listed], {}
    if values_are == "weights":
        return np.round(20 * np.exp(log_p))[rows, listed], {}
    if values_are == "logits" or temperature != 1:
        return logits[rows, listed], {"teacher_logsumexp": of_all}
    return log_p[rows, listed], {}


def drawn(rng, dtype, values_are, temperature=1.0):
    """Student, classes and values, and the options, of a teacher that leaves something to its rest."""
    x, classes, _ = listed_teacher(rng, dtype, np.float64)
    if values_are != "weights":  # which may be listed twice
        classes[1] = np.where(np.arange(CLASSES) < 3, np.arange(CLASSES)[::-1], -1)
    values, options = of_teacher(values_are, temperature, rng.normal(0, 1, (ROWS, CLASSES)), classes)
    single = arithmetic(np.dtype(dtype))
    options = {name: value.astype(single) for name, value in options.items()}
    return x, classes, values.astype(single), {"values_are": values_are, "temperature": temperature, **options}


def assert_exact(x, classes, values, scale_by_temperature=False, **options):
    options["scale_by_temperature"] = scale_by_temperature
    loss, grad = xe.sparse_distillation_loss(x, classes, values, reduction="none", return_grad=True, **options)
    limit = 4 if options.get("divergence", "forward") == "forward" else 8
    exact = fast.exact("sparse_distillation_loss", x, classes, values, **options)
    fast.assert_exact(loss, grad, exact, gradient_limit=gradient_limit(x.dtype, limit))


@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize(("values_are", "tail", "divergence"), KINDS)
def test_every_teacher_and_tail(values_are, tail, divergence, dtype, rng):
    x, classes, values, options = drawn(rng, dtype, values_are)
    assert_exact(x, classes, values, tail=tail, divergence=divergence, **options)


@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize("temperature", [0.7, 2.0, 7.0])
@pytest.mark.parametrize(("values_are", "tail", "divergence"), [k for k in KINDS if k[0] in ("log_probs", "logits")])
def test_temperatures(values_are, tail, divergence, temperature, dtype, rng):
    x, classes, values, options = drawn(rng, dtype, values_are, temperature)
    for scaled in (False, True):
        assert_exact(x, classes, values, tail=tail, divergence=divergence, scale_by_temperature=scaled, **options)


@pytest.mark.parametrize("tail", TAILS)
def test_logits_without_a_normaliser_are_those_of_the_listed_classes(tail, dtype, rng):
    x, classes, values, _ = drawn(rng, dtype, "logits")
    assert_exact(x, classes, 5 * values, tail=tail, values_are="logits", temperature=1.0)


@pytest.mark.parametrize("classes", [1, 2, 3, 40, 1024, 1025, 2100])
@pytest.mark.parametrize("tail", TAILS)
def test_counts_of_classes(tail, classes, dtype, rng):
    """Blocks in which no class is listed, some are, or all; and all classes of a row."""
    x = rng.normal(0, 2, (5, classes)).astype(dtype)
    some = min(classes, 24)
    listed = np.array([rng.permutation(classes)[:some] for _ in range(5)])
    listed[1] = -1
    listed[2], listed[3] = np.arange(some), np.arange(classes)[-some:]
    values = np.log(rng.dirichlet(np.ones(some), 5) * 0.9).astype(dtype)
    assert_exact(x, listed, values, tail=tail, temperature=1.0)


@pytest.mark.parametrize("gap", [17, 60, 300, 700])
def test_confident_rows(gap, dtype):
    """Student and teacher are sure of the same class, listed or not: 1 - p is all there is to the loss."""
    x = np.array([[gap, 0, 1, -1], [0, gap, 1, -1]], dtype)
    if gap > 80 and dtype == np.float32:
        x = x / 8
    r = np.exp(-gap / 2 if dtype == np.float64 else -gap / 16)
    for tail in ("bucket", "renormalize"):
        arguments = x, np.array([[0], [0]]), np.array([[-r], [np.log(r)]], dtype)
        loss, grad = xe.sparse_distillation_loss(*arguments, tail=tail, reduction="none", return_grad=True)
        with oracle.mp.workdps(700):  # more than double-double has
            wanted, size, wanted_grad, grad_size = oracle.sparse.sparse_rows(*arguments, tail=tail)
        oracle.assert_within(4, loss, wanted, size)
        oracle.assert_within(4, grad, wanted_grad, grad_size)


# ---- Reductions and weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", TAILS)
def test_weights_and_reductions(tail, dtype, rng):
    x, classes, values, options = drawn(rng, dtype, "log_probs")
    v = np.array(operations.draws.SAMPLE_WEIGHT, dtype)
    call = {"tail": tail, **options}
    rows, grads = xe.sparse_distillation_loss(x, classes, values, reduction="none", return_grad=True, **call)
    weighed, weighed_grads = xe.sparse_distillation_loss(
        x, classes, values, reduction="none", return_grad=True, sample_weight=v, **call)
    eps = 4 * np.finfo(dtype).eps  # of the terms, which are at most the weight
    np.testing.assert_allclose(weighed, v * rows, rtol=eps)
    np.testing.assert_allclose(weighed_grads, v[:, None] * grads, atol=eps * abs(v).max())
    for reduction, denominator, divisor in (("sum", None, 1), ("mean", None, v.sum()), ("mean", 7.5, 7.5)):
        loss, grad = xe.sparse_distillation_loss(x, classes, values, reduction=reduction, denominator=denominator,
                                                 return_grad=True, sample_weight=v, **call)
        np.testing.assert_allclose(loss, (v * rows).sum() / divisor, rtol=eps, atol=eps * abs(v * rows).sum() / divisor)
        np.testing.assert_allclose(grad, v[:, None] * grads / divisor, atol=eps * abs(v).max() / divisor)


@pytest.mark.parametrize("shape", [(5, 7, 3), (7,), (2, 7, 3, 2)], ids=str)
@pytest.mark.parametrize("tail", TAILS)
def test_shapes(tail, shape, dtype, rng):
    """(N, K, d1, ..) beside (N, C, d1, ..), and (K,) beside (C,): rows in any shape, with any number of classes."""
    axis = min(1, len(shape) - 1)
    x = rng.normal(0, 2, shape).astype(dtype)
    listed = (*shape[:axis], 3, *shape[axis + 1:])
    classes, values = rng.integers(-1, 7, listed), (-2 - rng.exponential(1, listed)).astype(dtype)
    loss, grad = xe.sparse_distillation_loss(x, classes, values, tail=tail, reduction="none", return_grad=True)
    flat = [np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis]) for a in (x, classes, values)]
    wanted, wanted_grad = xe.sparse_distillation_loss(*flat, tail=tail, reduction="none", return_grad=True)
    assert_same_bits(np.ravel(loss), wanted)
    assert_same_bits(np.moveaxis(grad, axis, -1).reshape(wanted_grad.shape), wanted_grad)


# ---- What holds between them -----------------------------------------------------------------------------------------


def test_all_classes_are_the_divergence_of_both(dtype, rng):
    x, z = (rng.normal(0, 2, (20, 33)).astype(dtype) for _ in range(2))
    classes = np.array([rng.permutation(33) for _ in range(20)])
    log_p = xe.log_softmax(z)[np.arange(20)[:, None], classes]
    for divergence in ("forward", "reverse", "js"):
        wanted, wanted_grad = xe.kl_div_with_logits(x, z, divergence=divergence, reduction="none", return_grad=True)
        for tail in ("bucket", "renormalize", "uniform") if divergence == "forward" else ("bucket",):
            loss, grad = xe.sparse_distillation_loss(
                x, classes, log_p, tail=tail, divergence=divergence, reduction="none", return_grad=True)
            # Log-probabilities up to 16 are rounded to eps / 2 of their size.
            np.testing.assert_allclose(loss, wanted, rtol=32 * np.finfo(dtype).eps)
            np.testing.assert_allclose(grad, wanted_grad, atol=32 * np.finfo(dtype).eps)


@pytest.mark.parametrize("divergence", ["forward", "reverse", "js"])
def test_bucket_is_a_lower_bound_and_not_negative(divergence, rng):
    for distance in (0, 1e-8, 1e-3, 1, 10):
        z = rng.normal(0, 2, (50, 40))
        x = z + distance * rng.normal(size=z.shape)
        full = xe.kl_div_with_logits(x, z, divergence=divergence, reduction="none")
        top = np.argsort(-z, axis=1)[:, :39]
        log_p = np.take_along_axis(xe.log_softmax(z), top, axis=1)
        for k in (0, 1, 5, 39):
            loss = xe.sparse_distillation_loss(x, top[:, :k], log_p[:, :k], divergence=divergence, reduction="none")
            assert (loss >= 0).all()
            # The sums over the rest have relative errors of eps, and so has the difference of two of them.
            assert (loss <= full * (1 + 1e-12) + 1e-15).all()


def test_one_hot_teacher_is_the_cross_entropy(dtype, rng):
    x, y = rng.normal(0, 3, (30, 50)).astype(dtype), rng.integers(0, 50, 30)
    wanted, wanted_grad = xe.cross_entropy(x, y, return_grad=True, reduction="none")
    for tail in TAILS:
        loss, grad = xe.sparse_distillation_loss(
            x, y[:, None], np.zeros((30, 1), dtype), tail=tail, return_grad=True, reduction="none")
        np.testing.assert_allclose(loss, wanted, rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_allclose(grad, wanted_grad, rtol=8 * np.finfo(dtype).eps)


def test_a_sample_is_the_mean_of_its_cross_entropies(dtype, rng):
    """Of a sample as weights the gradient is the mean of those of its classes."""
    x, sample = rng.normal(0, 2, (8, 30)).astype(dtype), rng.integers(0, 30, (8, 12))
    _, grad = xe.sparse_distillation_loss(
        x, sample, np.full((8, 12), 3, dtype), values_are="weights", return_grad=True, reduction="sum")
    mean = sum(xe.cross_entropy(x, sample[:, k], return_grad=True, reduction="sum")[1].astype(float)
               for k in range(12)) / 12
    np.testing.assert_allclose(grad, mean, atol=8 * np.finfo(dtype).eps)


def test_order_and_padding_do_not_matter(dtype, rng):
    x, values = rng.normal(0, 2, (6, 50)).astype(dtype), (-2 - rng.exponential(1, (6, 7))).astype(dtype)
    classes = np.array([rng.permutation(50)[:7] for _ in range(6)])
    order = rng.permutation(7)
    padded = np.insert(classes, 3, -1, axis=1), np.insert(values, 3, np.nan, axis=1)
    for tail in TAILS:
        some = {"tail": tail, "reduction": "none", "return_grad": True}
        wanted = xe.sparse_distillation_loss(x, classes, values, **some)
        for other in ((classes[:, order], values[:, order]), padded):
            for a, b in zip(xe.sparse_distillation_loss(x, *other, **some), wanted, strict=True):
                assert_same_bits(a, b)


def test_equal_classes_add_up(dtype):
    x = np.array([[0.5, -1, 2, 0]], dtype)
    once, twice = ([[2, 0]], [[0.75, 0.125]]), ([[2, 0, 2]], [[0.5, 0.125, 0.25]])
    for tail, values_are in itertools.product(TAILS, ("probs", "log_probs", "weights")):
        log = np.log if values_are == "log_probs" else np.asarray
        a, b = (xe.sparse_distillation_loss(x, k, log(np.array(v)), tail=tail, values_are=values_are)
                for k, v in (once, twice))
        np.testing.assert_allclose(a, b, rtol=0, atol=2 * np.finfo(dtype).eps)  # logarithms of 2.1 are rounded


# ---- Rows that say nothing, masked classes, rounding -----------------------------------------------------------------


@pytest.mark.parametrize("width", [0, 1, 3])
def test_row_without_a_class(width, dtype):
    x, classes, values = np.array([[1, 2, 3]], dtype), np.full((1, width), -1), np.full((1, width), np.nan, dtype)
    for tail in ("bucket", "zero", "renormalize"):
        loss, grad = xe.sparse_distillation_loss(x, classes, values, tail=tail, return_grad=True)
        assert loss == 0
        assert not grad.any()
    for values_are in ("weights", "logits"):
        loss, grad = xe.sparse_distillation_loss(x, classes, values, values_are=values_are, return_grad=True)
        assert loss == 0
        assert not grad.any()
    loss, grad = xe.sparse_distillation_loss(x, classes, values, tail="uniform", return_grad=True)
    wanted, wanted_grad = xe.kl_div_with_logits(x, np.zeros_like(x), return_grad=True)
    np.testing.assert_allclose(loss, wanted, rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_allclose(grad, wanted_grad, atol=4 * np.finfo(dtype).eps)


def test_masked_classes(dtype):
    inf = np.inf
    x = np.array([[0, -inf, 0, -inf]], dtype)
    loss, grad = xe.sparse_distillation_loss(x, [[0, 1]], [[0.5, 0]], values_are="probs", return_grad=True)
    assert loss == 0
    assert not grad.any()
    loss, grad = xe.sparse_distillation_loss(x, [[0, 1]], [[0.25, 0.25]], values_are="probs", return_grad=True)
    assert loss == inf
    np.testing.assert_array_equal(grad, [[0.25, -0.25, 0, 0]])
    # The rest of the teacher is where the student has nothing.
    loss, grad = xe.sparse_distillation_loss(x, [[0, 2]], [[0.25, 0.25]], values_are="probs", return_grad=True)
    assert loss == inf
    np.testing.assert_array_equal(grad, [[0.25, 0, 0.25, 0]])
    loss, grad = xe.sparse_distillation_loss(
        x, [[0, 2]], [[0.25, 0.25]], values_are="probs", tail="uniform", return_grad=True)
    assert loss == inf
    np.testing.assert_array_equal(grad, [[0.25, -0.25, 0.25, -0.25]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_logarithms_make_their_row_nan(bad, dtype):
    x, classes = np.zeros((2, 4), dtype), np.array([[0, 1], [2, 3]])
    values = np.array([[-1, -2], [bad, -2]], dtype)
    for values_are in ("log_probs", "logits") if np.isnan(bad) else ("logits",):
        loss, grad = xe.sparse_distillation_loss(
            x, classes, values, values_are=values_are, reduction="none", return_grad=True)
        np.testing.assert_array_equal(np.isnan(loss), [False, True])
        np.testing.assert_array_equal(np.isnan(grad), [[False] * 4, [True] * 4])


def test_sums_just_above_1_are_divided_by(dtype):
    """Rounding: the teacher has no rest, and the loss is not negative."""
    x = np.array([[2, 1, 0.5], [0, 0, 0]], dtype)
    p = np.array([[0.75, 0.25 + 1 / 64], [0.5, 0.5 + 1 / 64]], dtype)
    loss, grad = xe.sparse_distillation_loss(x, [[0, 1]] * 2, p, values_are="probs", reduction="none", return_grad=True)
    wanted, wanted_grad = xe.sparse_distillation_loss(
        x, [[0, 1]] * 2, p, values_are="weights", reduction="none", return_grad=True)
    assert_same_bits(loss, wanted)
    assert_same_bits(grad, wanted_grad)


def test_rest_of_float64_is_known_to_2_to_the_minus_57(rng):
    """The error of a loss and of an entry: that of the rest times its derivative, 1 + |log(r / rho)| and 1 at most."""
    for r in (1e-3, 1e-6, 1e-9, 1e-12):
        x, log_p = rng.normal(0, 1, (1, 6)), np.log(np.array([[0.5, 0.25, 0.25 - r]]))
        loss, grad = xe.sparse_distillation_loss(x, [[0, 1, 2]], log_p, return_grad=True)
        exact, _, exact_grad, _ = oracle.sparse.sparse_row(x[0], [0, 1, 2], log_p[0])
        assert abs(loss - exact) < 4 * 2.0**-53 * (1 + exact)
        assert max(abs(a - b) for a, b in zip(grad[0], exact_grad, strict=True)) < 4 * 2.0**-53


@pytest.mark.parametrize("others", [1, 2])
def test_uniform_rest_that_the_student_masks(others):
    """Whatever the number of classes that are not listed: the teacher's share of each, as of a class that is listed."""
    x = np.concatenate([[0.5, -0.25], np.full(others, -np.inf)])
    loss, grad = xe.sparse_distillation_loss(x, [0], [np.log(0.25)], tail="uniform", reduction="sum", return_grad=True)
    share = 0.75 / (1 + others)
    q = np.exp(x) / np.exp(x).sum()
    assert np.isinf(loss)
    np.testing.assert_allclose(grad, q - np.concatenate([[0.25, share], np.full(others, share)]), rtol=1e-15)
    loss, grad = xe.sparse_distillation_loss(x, [0, 1], np.log([0.25, 0.5]), tail="uniform", reduction="sum",
                                             return_grad=True)
    np.testing.assert_allclose(grad, q - np.concatenate([[0.25, 0.5], np.full(others, 0.25 / others)]), rtol=1e-15)
