"""Temperatures down to the least number, where 1/T is out of range: the softmax is one-hot, over all maxima alike.

Against exact arithmetic, in the ULP of every function's own tests. A result beyond the range of its dtype is infinite;
nothing is NaN.
"""

import numpy as np
import oracle
import oracle.divergence
import oracle.sparse
import pytest
from mpmath import mpf
from support import assert_same_bits

import crossent as xe

TEMPERATURES = (1e-10, 1e-30, 1e-70, 1e-300, np.finfo(np.float64).tiny, 6e-309, 1e-310, 5e-324)
ROWS = np.array([[1, 3, 2.5, -4], [2, 2, 1, 0], [5, -np.inf, 5, 5], [0, 0, 0, 0], [-7, -7.5, -8, -7], [700, -90, 2, 1],
                 [1e-40, 0, 0, 0], [1, 3, 2.5, -4], [2, 2, 1, 0], [5, -np.inf, 5, 5]])
TEACHERS = np.array([[1, 3, 2.5, -4], [1, 1, 1, 0], [5, -np.inf, 5, 5], [0, 0, 0, 0], [1, 0.5, 0.25, 1],
                     [1, -90, 900, 1], [2, 0, 0, 1], [3, 1, 2, -4], [2, 1, 2, 0], [5, -np.inf, 4, 5]])
TARGET = np.array([1, 0, 0, 1, 3, 0, 0, 0, 2, 3])
OVER_T = pytest.mark.parametrize("temperature", TEMPERATURES)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


def rows(dtype, classes):
    """(rows, teachers), of more classes with masked ones."""
    pad = ((0, 0), (0, classes - 4))
    return (np.pad(a, pad, constant_values=-np.inf).astype(dtype) for a in (ROWS, TEACHERS))


def assert_close(limit, actual, exact, scale=None):
    """As `assert_within`. Where the scale is nearly beyond the range the terms may overflow, but not to a NaN."""
    assert not np.isnan(actual).any()
    exact = np.asarray(exact, dtype=object)
    scale = exact if scale is None else np.asarray(scale, dtype=object)
    most = mpf(float(np.finfo(actual.dtype).max))
    inside = np.vectorize(lambda s: abs(s) < most / 1024, otypes=[bool])(scale)
    oracle.assert_within(limit, actual[inside], exact[inside], scale[inside])
    beyond = np.vectorize(lambda w: abs(w) > most, otypes=[bool])(exact)
    np.testing.assert_array_equal(actual[beyond], [np.inf if w > 0 else -np.inf for w in exact[beyond]])


@OVER_T
@pytest.mark.parametrize("classes", [4, 300])
def test_normalisers(classes, temperature, dtype):
    x, _ = rows(dtype, classes)
    exact = [oracle.Row(row, temperature) for row in x]
    assert_close(4, xe.softmax(x, temperature=temperature), [row.softmax() for row in exact])
    assert_close(4, xe.log_softmax(x, temperature=temperature), [row.log_softmax() for row in exact])


@OVER_T
@pytest.mark.parametrize("target", ["indices", "probabilities", "smoothed"])
@pytest.mark.parametrize("classes", [4, 300])
def test_cross_entropy(classes, target, temperature, dtype):
    x, _ = rows(dtype, classes)
    if target != "indices":  # whose coefficients are nowhere -inf
        x[np.isneginf(x)] = -1000
    y = TARGET
    if target == "probabilities":
        y = np.pad(np.random.default_rng(0).dirichlet(np.ones(4), len(x)), ((0, 0), (0, classes - 4))).astype(dtype)
    options = {"temperature": temperature, "label_smoothing": 0.25 * (target == "smoothed")}
    loss, grad = xe.cross_entropy(x, y, reduction="none", return_grad=True, **options)
    assert_close(4, loss, oracle.cross_entropy_rows(x, y, **options))
    assert_close(4, grad, *oracle.cross_entropy_grad(x, y, **options))


@OVER_T
@pytest.mark.parametrize("divergence", ["forward", "reverse", "js"])
@pytest.mark.parametrize("classes", [4, 300])
def test_divergences(classes, divergence, temperature, dtype):
    x, t = rows(dtype, classes)
    options = {"temperature": temperature, "divergence": divergence, "beta": 0.3}
    loss, grad = xe.kl_div_with_logits(x, t, reduction="none", return_grad=True, **options)
    exact, exact_grad, scale = oracle.divergence.kl_div_rows(x, t, **options)
    assert_close(8, loss, exact)
    assert_close(8, grad, exact_grad, scale)
    same, grad = xe.kl_div_with_logits(x, x, reduction="none", return_grad=True, **options)
    assert (same == 0).all() and (grad == 0).all()


@OVER_T
@pytest.mark.parametrize("divergence", ["forward", "reverse", "js"])
def test_distillation(divergence, temperature, dtype):
    """T^2 takes the divergence's part away, and from the gradient too."""
    x, t = rows(dtype, 4)
    options = {"alpha": 0.5, "temperature": temperature, "divergence": divergence}
    loss, grad = xe.distillation_loss(x, t, TARGET, reduction="none", return_grad=True, **options)
    wanted, of_target = xe.cross_entropy(x, TARGET, reduction="none", return_grad=True)
    np.testing.assert_allclose(loss, wanted / 2, rtol=1e-6, atol=2000 * temperature)
    if divergence == "forward":
        np.testing.assert_allclose(grad, of_target / 2, rtol=1e-6, atol=2 * temperature)
    assert not np.isnan(grad).any()


@OVER_T
@pytest.mark.parametrize("divergence", ["forward", "reverse", "js"])
def test_distillation_without_t_squared(divergence, temperature, dtype):
    """Entries of the divergence are huge or 0. Where 1/T is out of range, those of the cross-entropy may lose what they
    have below 2^-512."""
    x, t = rows(dtype, 4)
    how = {"temperature": temperature, "divergence": divergence}
    options = {**how, "alpha": 0.5, "scale_by_temperature": False}
    loss, grad = xe.distillation_loss(x, t, TARGET, reduction="none", return_grad=True, **options)
    of_target = xe.cross_entropy(x, TARGET, reduction="none", return_grad=True)
    of_divergence = oracle.divergence.kl_div_rows(x, t, **how)[:2]
    for got, one, other in zip((loss, grad), of_divergence, of_target, strict=True):
        with np.errstate(over="ignore"):
            wanted = (one.astype(np.float64) / 2 + other / 2).astype(dtype)
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=2.0**-512)


@OVER_T
def test_weights_orientation_and_place(temperature, dtype):
    """In arithmetic of another dtype than the arrays: weights of either, rows in either order, and in place."""
    x, _ = rows(dtype, 4)
    x[np.isneginf(x)] = -1000
    v = np.linspace(0.5, 2, len(x), dtype=np.float32)
    options = {"weight": np.array([1, 2, 0.5, 3], dtype), "sample_weight": v, "temperature": temperature,
               "label_smoothing": 0.25, "reduction": "none"}
    loss, grad = xe.cross_entropy(x, TARGET, return_grad=True, **options)
    plain = {k: v for k, v in options.items() if k != "reduction"}
    assert_close(4, loss, oracle.cross_entropy_rows(x, TARGET, **plain))
    assert_close(4, grad, *oracle.cross_entropy_grad(x, TARGET, **plain))
    again, same = xe.cross_entropy(np.asfortranarray(x), TARGET, return_grad=True, **options)
    assert_same_bits(again, loss)
    assert_same_bits(same, grad)
    place = x.copy()
    assert_same_bits(xe.cross_entropy(place, TARGET, return_grad=True, grad_out=place, **options)[1], grad)


@pytest.mark.parametrize("upstream", [1e-20, 1e20])
@OVER_T
def test_upstream_gradients(temperature, upstream, dtype):
    """Also where 1/T or `upstream` / T is beyond the range, and an entry is not, or is 0."""
    x, t = rows(dtype, 4)
    masked = np.isneginf(x)
    x[masked] = -1000
    g = np.full(len(x), upstream, dtype)
    options = {"temperature": temperature, "label_smoothing": 0.25, "weight": np.array([1, 2, 0, 3], dtype)}
    grad = xe.cross_entropy_backward(g, x, TARGET, reduction="none", **options)
    assert_close(4, grad, *oracle.cross_entropy_grad(x, TARGET, grad_output=g, **options))
    x[masked] = -np.inf
    for divergence in ("forward", "reverse", "js"):
        options = {"temperature": temperature, "divergence": divergence}
        _, exact, scale = (oracle.exact(g)[:, None] * part for part in oracle.divergence.kl_div_rows(x, t, **options))
        assert_close(8, xe.kl_div_with_logits_backward(g, x, t, reduction="none", **options), exact, scale)


@OVER_T
def test_weights_over_a_huge_gap(temperature, dtype):
    """A loss out of range is infinite, not a difference of infinities."""
    x, options = np.array([[1, 1e30, -1e30]], dtype), {"temperature": temperature, "label_smoothing": 0.25}
    assert xe.cross_entropy(x, [1], sample_weight=[np.finfo(dtype).max], reduction="sum", **options) == np.inf


@OVER_T
def test_row_statistics(temperature, dtype):
    x, _ = rows(dtype, 4)
    s = xe.row_statistics(x, TARGET, temperature=temperature, top_k=2)
    exact = [oracle.Row(row, temperature) for row in x]
    log_p = np.array([row.log_softmax() for row in exact])
    at = np.arange(len(x))[:, None]
    assert_close(4, s.log_prob, log_p[at[:, 0], TARGET])
    assert_close(4, s.max_log_prob, [-row.log_total for row in exact])
    p = np.array([row.softmax() for row in exact])
    assert_close(4, s.entropy, [-sum(map(oracle.dot, *row)) for row in zip(p, log_p, strict=True)])
    assert_close(4, s.sum_of_squares, (p * p).sum(axis=1))
    assert_close(4, s.top_k_log_probs, log_p[at, s.top_k])


@OVER_T
@pytest.mark.parametrize("tail", ["bucket", "uniform", "renormalize"])
def test_sparse_teachers(tail, temperature, dtype):
    """Of four classes alike, or of one, of which two are listed."""
    x = np.array([[1, 3, 2.5, -4], [2, 2, 1, 0], [0, 0, 0, 0], [1e-17, 0, 0, -1e-17]], dtype)
    classes, values = np.array([[1, 2]] * 4), np.array([[0, 0], [0, -1]] * 2, dtype)
    options = {"tail": tail, "temperature": temperature, "values_are": "logits",
               "teacher_logsumexp": np.full(4, np.log(4), dtype)}
    loss, grad = xe.sparse_distillation_loss(
        x, classes, values, reduction="none", return_grad=True, scale_by_temperature=False, **options)
    wanted, size, wanted_grad, grad_size = oracle.sparse.sparse_rows(x, classes, values, **options)
    assert_close(4, loss, wanted, size)
    assert_close(4, grad, wanted_grad, grad_size)


def test_half_precision():
    """As of float32, rounded."""
    x, _ = rows(np.dtype(np.float16), 4)
    for f in (xe.softmax, xe.log_softmax):
        with np.errstate(over="ignore"):
            wanted = f(x.astype(np.float32), temperature=1e-30).astype(np.float16)
        assert_same_bits(f(x, temperature=1e-30), wanted)


@OVER_T
def test_backward(temperature, dtype):
    x, _ = rows(dtype, 4)
    g = np.random.default_rng(0).normal(0, 100, x.shape).astype(dtype)
    p, log_p = (f(x, temperature=temperature) for f in (xe.softmax, xe.log_softmax))
    for got, exact in ((xe.softmax_backward(g, p, temperature=temperature), oracle.softmax_backward),
                       (xe.log_softmax_backward(g, log_p, temperature=temperature), oracle.log_softmax_backward)):
        given = p if exact is oracle.softmax_backward else log_p
        pairs = [exact(*row) for row in zip(g, given, strict=True)]
        t = mpf(float(temperature))
        assert_close(4, got, [value / t for value, _ in pairs], [scale / t for _, scale in pairs])


def test_fit_temperature(dtype):
    """Of rows that are all right: the loss falls down to the lower bound."""
    x = np.array([[1, 3, 2.5, -4], [2, 5, 1, 0], [700, -3000, 2, 1]], dtype)
    for low in TEMPERATURES:
        with pytest.warns(RuntimeWarning, match="is the lower bound"):
            fit = xe.fit_temperature(x, [1, 1, 0], bounds=(low, 1e3))
        assert (fit.temperature, fit.at_bound, fit.nll_after) == (low, "lower", 0)
    fit = xe.fit_temperature(x, [1, 0, 0], bounds=(1e-300, 1e3))
    assert 0.1 < fit.temperature < 10
