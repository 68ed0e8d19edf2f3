"""softcap, logit_bias and a temperature of each row: logits (softcap tanh(x / softcap) + logit_bias) / temperature.

Every loss with them is in test_every_loss.py; here are the functions that are no losses, and what is special. The bars
are those without these options, at what results may move by with the rounding of logits (tests/oracle/rows.py).
"""

import numpy as np
import operations
import oracle
import pytest
from operations import draws
from operations.exact import FORMULAS
from oracle.parts import arithmetic, gradient_limit
from support import assert_same_bits

import crossent as xe

INF, NAN = np.inf, np.nan
OPTIONS = {
    "softcap": {"softcap": 6.0}, "small softcap": {"softcap": 0.25}, "logit_bias": {"logit_bias": draws.BIAS},
    "temperatures": {"temperature": draws.TEMPERATURE}, "softcap hot": {"softcap": 6.0, "temperature": 7.0},
    "everything": {"softcap": 6.0, "logit_bias": draws.BIAS, "temperature": draws.TEMPERATURE}}
X = np.array([[0.5, -1.0, 2.0, 0.25], [1.0, 0.0, -0.5, 3.0]])
TARGET = np.array([2, 0])


def transformed(x, softcap=None, logit_bias=0.0, temperature=1.0):
    """In float64, to a few units; the classes are the last axis."""
    x = np.asarray(x, np.float64)
    with np.errstate(invalid="ignore"):
        z = (x if softcap is None else softcap * np.tanh(x / softcap)) + logit_bias
    return z / np.asarray(temperature)[..., None]


# ---- Functions that are no losses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_normalisers(dtype, options, rng):
    x = draws.some_logits(rng, dtype)
    for name in ("softmax", "log_softmax"):
        values, scales = FORMULAS[name](x, **options)
        oracle.assert_within(gradient_limit(dtype, 4), getattr(xe, name)(x, **options), values, scales)
    value, unit = FORMULAS["logsumexp"](x, **options)
    got = xe.logsumexp(x, **options)
    assert got.dtype == arithmetic(dtype)
    for actual, wanted, size in zip(got, value, unit, strict=True):
        allowed = oracle.ulp(wanted, got.dtype) + 4 * oracle.ulp(size, got.dtype)
        assert abs(oracle.exact(actual)[()] - wanted) <= allowed
    g = rng.normal(0, 1, len(x)).astype(dtype)
    oracle.assert_within(gradient_limit(dtype, 4), xe.logsumexp_backward(g, x, **options),
                         *FORMULAS["logsumexp_backward"](g, x, **options))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_row_statistics(dtype, options, rng):
    x, target = draws.indices(rng, dtype, dtype)
    s = xe.row_statistics(x, target, top_k=3, **options)
    rows, dtype = np.arange(len(x)), arithmetic(dtype)
    z = transformed(x, **options)
    order = np.argsort(-z, axis=1, kind="stable")
    assert s.argmax.tolist() == order[:, 0].tolist()
    assert s.top_k.tolist() == order[:, :3].tolist()
    assert s.rank.tolist() == [o.tolist().index(y) for o, y in zip(order, target, strict=True)]
    log_p, sizes = FORMULAS["log_softmax"](x, **options)
    for got, classes in ((s.log_prob, target), (s.max_log_prob, s.argmax),
                         *zip(s.top_k_log_probs.T, s.top_k.T, strict=True)):
        oracle.assert_within(4, got, log_p[rows, classes], sizes[rows, classes])
    oracle.assert_within(4, s.entropy, *FORMULAS["information.entropy_with_logits"](x, **options))
    oracle.assert_within(4, s.sum_of_squares, *FORMULAS["sum_of_squares"](x, **options))
    assert_same_bits(s.logsumexp, xe.logsumexp(x, **options))


def test_statistics_of_fewer_classes_than_columns():
    bias = [0.0, 5.0, 0.0]
    s = xe.row_statistics(X, TARGET, n_classes=3, logit_bias=bias, softcap=2.0, temperature=[1.0, 2.0])
    t = xe.row_statistics(np.ascontiguousarray(X[:, :3]), TARGET, logit_bias=bias, softcap=2.0, temperature=[1.0, 2.0])
    assert s.rank.tolist() == t.rank.tolist() == [1, 1]
    assert_same_bits(s.log_prob, t.log_prob)
    with pytest.raises(ValueError, match="logit_bias"):
        xe.row_statistics(X, TARGET, n_classes=3, logit_bias=[0.0, 5.0, 0.0, 1.0])


def test_a_fitted_temperature_is_that_of_the_transformed_logits(rng):
    x, y = rng.normal(0, 4, (400, 5)), rng.integers(0, 5, 400)
    y[::2] = x[::2].argmax(axis=1)
    options = {"softcap": 5.0, "logit_bias": rng.normal(0, 0.5, 5)}
    fit, wanted = xe.fit_temperature(x, y, **options), xe.fit_temperature(transformed(x, **options), y)
    assert abs(fit.temperature / wanted.temperature - 1) < 1e-9
    assert abs(fit.nll_after - xe.cross_entropy(x, y, temperature=fit.temperature, **options)) < 1e-12
    assert abs(fit.nll_before - xe.cross_entropy(x, y, **options)) < 1e-12


# ---- Special values --------------------------------------------------------------------------------------------------


def test_infinite_logits_under_a_softcap(dtype):
    """They are the softcap, with its sign, and have no gradient."""
    x = np.array([[INF, 0, -INF], [0, INF, 1]], dtype)
    loss, grad = xe.cross_entropy(x, [1, 0], softcap=3.0, reduction="none", return_grad=True)
    wanted = xe.cross_entropy(np.array([[3, 0, -3], [0, 3, 3 * np.tanh(1 / 3)]]), [1, 0], reduction="none")
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    assert (grad[np.isinf(x)] == 0).all() and (grad[np.isfinite(x)] != 0).all()
    np.testing.assert_allclose(xe.softmax(x, softcap=3.0).sum(axis=1), 1, rtol=1e-6)
    assert xe.row_statistics(x, [1, 0], softcap=3.0).rank.tolist() == [1, 2]


def test_logits_far_beyond_the_softcap(dtype):
    """A quotient that overflows is a saturated one, a softcap of any size is taken."""
    big = np.finfo(dtype).max
    x = np.array([[big, -big, 0]], dtype)
    for softcap in (5e-324, 1e-300, 1.0):
        loss, grad = xe.cross_entropy(x, [0], softcap=softcap, reduction="none", return_grad=True)
        np.testing.assert_allclose(loss, xe.cross_entropy([[softcap, -softcap, 0]], [0]), rtol=1e-6)
        assert (grad[0, :2] == 0).all() and np.isfinite(grad).all()
    small = np.array([[1e-3, 0, -2e-3]], dtype)
    for softcap in (1e300, np.finfo(np.float64).max):
        np.testing.assert_allclose(
            xe.cross_entropy(small, [0], softcap=softcap), xe.cross_entropy(small, [0]), rtol=1e-6)


def test_zero_keeps_its_sign_and_its_slope_of_1(dtype):
    x = np.array([[0.0, -0.0]], dtype)
    loss, grad = xe.cross_entropy(x, [0], softcap=3.0, return_grad=True)
    wanted, same = xe.cross_entropy(x, [0], return_grad=True)
    assert_same_bits(loss, wanted)
    assert_same_bits(grad, same)


def test_nan_is_not_hidden_by_a_mask(dtype):
    """Nor is +inf without a softcap: a class that is masked by its bias is read."""
    bias = [0, -INF, 0, 0]
    for value in (NAN, INF):
        x = X.astype(dtype)
        x[0, 1] = value
        loss, grad = xe.cross_entropy(x, TARGET, logit_bias=bias, reduction="none", return_grad=True)
        assert np.isnan(loss[0]) and np.isnan(grad[0]).all()
        assert np.isfinite(loss[1]) and np.isfinite(grad[1]).all()
    assert np.isfinite(xe.cross_entropy(x, TARGET, logit_bias=bias, softcap=1.0))


def test_all_classes_masked_by_the_bias_are_a_row_of_minus_infinity(dtype):
    masked, x = np.full_like(X, -INF, dtype), X.astype(dtype)
    bias = np.full(4, -INF)
    for softcap in (None, 2.0):
        options = {"logit_bias": bias, "softcap": softcap}
        for name in ("softmax", "log_softmax", "logsumexp"):
            assert_same_bits(getattr(xe, name)(x, **options), getattr(xe, name)(masked))
        for got, wanted in zip(xe.cross_entropy(x, TARGET, reduction="none", return_grad=True, **options),
                               xe.cross_entropy(masked, TARGET, reduction="none", return_grad=True), strict=True):
            assert_same_bits(got, wanted)
        g = np.ones(2, dtype)
        assert_same_bits(xe.logsumexp_backward(g, x, **options), xe.logsumexp_backward(g, masked))
        assert xe.row_statistics(x, TARGET, **options).rank.tolist() == [-1, -1]


@pytest.mark.parametrize("kind", operations.FLOATS, ids=str)
def test_a_masked_class(kind, dtype):
    """Of the target: an infinite loss. Of another: no part in anything. The bias may be of any dtype."""
    bias, x = np.array([0.5, 0, -INF, 1]).astype(kind), X.astype(dtype)
    loss, grad = xe.cross_entropy(x, TARGET, logit_bias=bias, reduction="none", return_grad=True)
    assert loss[0] == INF and np.isfinite(loss[1])
    assert grad[0, 2] == -1 and (grad[1] != 0).tolist() == [True, True, False, True]
    kept = np.ascontiguousarray(x[:, [0, 1, 3]])
    alone = xe.cross_entropy(kept[1:], [0], logit_bias=[0.5, 0, 1], reduction="none")
    assert_same_bits(loss[1:], alone)
    assert xe.softmax(x, logit_bias=bias)[:, 2].tolist() == [0, 0]
    assert xe.cross_entropy(x, [[0.5, 0.25, 0.0, 0.25]] * 2, logit_bias=bias) < INF
    s = xe.row_statistics(x, TARGET, logit_bias=bias, top_k=4)
    assert s.rank[0] == 3 and s.log_prob[0] == -INF and s.top_k[:, 3].tolist() == [2, 2]


@pytest.mark.parametrize("divergence", ["forward", "reverse", "js"])
def test_a_class_that_one_of_two_rows_masks(divergence, dtype):
    """As with logits of -inf: infinite where the other row has it, but for Jensen-Shannon."""
    x, t, bias = X.astype(dtype), X[::-1].astype(dtype), [0.0, 0, -INF, 0]
    x_masked, t_masked = (np.where(np.isinf(bias), -INF, a).astype(dtype) for a in (x, t))
    for options, wanted in (({"logit_bias": bias}, (x_masked, t)), ({"teacher_logit_bias": bias}, (x, t_masked))):
        how = {"divergence": divergence, "reduction": "none", "return_grad": True}
        for got, exact in zip(xe.kl_div_with_logits(x, t, **options, **how),
                              xe.kl_div_with_logits(*wanted, **how), strict=True):
            np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-7)


# ---- Shapes ----------------------------------------------------------------------------------------------------------


def test_one_row():
    x, bias = X[0], [0.5, 0, -INF, 1]
    options = {"softcap": 2.0, "logit_bias": bias, "temperature": 0.5}
    loss, grad = xe.cross_entropy(x, 3, return_grad=True, **options)
    (wanted,), same = xe.cross_entropy(x[None], [3], reduction="none", return_grad=True, **options)
    assert loss == wanted
    assert_same_bits(grad, same[0])
    assert_same_bits(xe.softmax(x, **options), xe.softmax(x[None], **options)[0])


@pytest.mark.parametrize("temperature", [np.float64(0.5), np.array(0.5), np.array(0.5, np.float32), 0.5], ids=repr)
def test_a_temperature_without_axes_is_a_number(temperature, dtype):
    """With its bits, which are not those of an array: that is divided by in float64."""
    x = X.astype(dtype)
    assert_same_bits(xe.cross_entropy(x, TARGET, temperature=temperature), xe.cross_entropy(x, TARGET, temperature=0.5))
    assert_same_bits(xe.cross_entropy(x[0], 2, temperature=temperature), xe.cross_entropy(x[0], 2, temperature=0.5))


def test_axis_in_the_middle(dtype, rng):
    """(N, C, d1) with a bias per class and temperatures that broadcast to (N, d1)."""
    x, y, bias = rng.normal(0, 3, (4, 5, 3)).astype(dtype), rng.integers(0, 5, (4, 3)), rng.normal(0, 1, 5)
    rows = np.ascontiguousarray(np.moveaxis(x, 1, -1)).reshape(12, 5)
    for shape in ((4, 3), (3,), (1, 3), (4, 1), (1,), (1, 1)):
        t = rng.uniform(0.5, 2, shape)
        options = {"softcap": 2.0, "logit_bias": bias, "reduction": "none", "return_grad": True}
        loss, grad = xe.cross_entropy(x, y, temperature=t, **options)
        wanted, same = xe.cross_entropy(
            rows, y.ravel(), temperature=np.broadcast_to(t, (4, 3)).ravel(), **options)
        assert_same_bits(loss.ravel(), wanted)
        assert_same_bits(np.moveaxis(grad, 1, -1).reshape(12, 5), same)
    for bad in ((4,), (3, 4), (4, 5, 3), (2, 3), (4, 3, 1)):
        with pytest.raises(ValueError, match="temperature"):
            xe.cross_entropy(x, y, temperature=np.ones(bad))


@pytest.mark.parametrize("axis", [(0, 1), (1, 2), (0, 2), (2, 0), None], ids=str)
def test_several_axes(axis, dtype, rng):
    """The bias has a number for each class of all axes together, in C order of the axes as they lie."""
    x = rng.normal(0, 3, (2, 3, 4)).astype(dtype)
    axes = (0, 1, 2) if axis is None else tuple(sorted(axis))
    others = [d for d in range(3) if d not in axes]
    rows = np.ascontiguousarray(x.transpose(*others, *axes)).reshape(*(x.shape[d] for d in others), -1)
    bias = rng.normal(0, 1, rows.shape[-1])
    t = rng.uniform(0.5, 2, rows.shape[:-1]) if others else 0.7
    options = {"softcap": 2.0, "logit_bias": bias, "temperature": t}
    for name in ("softmax", "log_softmax"):
        got = getattr(xe, name)(x, axis, **options).transpose(*others, *axes).reshape(rows.shape)
        assert_same_bits(got, getattr(xe, name)(rows, **options))
    assert_same_bits(xe.logsumexp(x, axis, **options), xe.logsumexp(rows, **options))
    g = rng.normal(0, 1, rows.shape[:-1]).astype(dtype)
    got = xe.logsumexp_backward(g, x, axis, **options).transpose(*others, *axes).reshape(rows.shape)
    assert_same_bits(got, xe.logsumexp_backward(g, rows, **options))
    with pytest.raises(ValueError, match="logit_bias"):
        xe.softmax(x, axis, logit_bias=np.zeros(5))


def test_no_rows(dtype):
    x, options = np.zeros((0, 4), dtype), {"softcap": 2.0, "logit_bias": np.zeros(4), "temperature": np.zeros(0)}
    loss, grad = xe.cross_entropy(x, np.zeros(0, int), reduction="none", return_grad=True, **options)
    assert loss.shape == (0,) and grad.shape == (0, 4)
    assert xe.kl_div_with_logits(x, x, reduction="sum", **options) == 0
    assert xe.softmax(x, **options).shape == (0, 4)
    assert xe.logsumexp(np.zeros((3, 0), dtype), logit_bias=[], softcap=1.0).tolist() == [-INF] * 3


# ---- Rows that do not count ------------------------------------------------------------------------------------------


def test_the_temperature_of_an_ignored_row_is_checked():
    for function, others in ((xe.cross_entropy, ()), (xe.distillation_loss, (X[::-1],))):
        with pytest.raises(ValueError, match=r"temperature\[1\] is 0"):
            function(X, *others, np.array([2, -100]), temperature=[1.0, 0.0])
        with pytest.raises(ValueError, match=r"temperature\[0\] is nan"):
            function(X, *others, TARGET, sample_weight=[0.0, 1.0], temperature=[NAN, 1.0])


@pytest.mark.parametrize("classes", [4, 300])
@pytest.mark.parametrize("target", ["indices", "probabilities"])
def test_upstream_0_gives_0(target, classes, dtype, rng):
    """Whatever the logits are, as without a softcap."""
    x, g = np.full((20, classes), NAN, dtype), np.arange(20.0) % 2
    x[1::2] = rng.normal(0, 3, (10, classes))
    y = rng.integers(0, classes, 20) if target == "indices" else rng.dirichlet(np.ones(classes), 20).astype(dtype)
    for batch in (x, np.asfortranarray(x)):
        for options in ({}, {"softcap": 2.0}):
            grad = xe.cross_entropy_backward(g, batch, y, reduction="none", **options)
            assert (grad[::2] == 0).all() and np.isfinite(grad).all() and (grad[1::2] != 0).any()
            grad = xe.logsumexp_backward(g, batch, **options)
            assert (grad[::2] == 0).all() and np.isfinite(grad).all()


@pytest.mark.parametrize("classes", [4, 300])
def test_rows_of_weight_0_are_not_read(classes, dtype, rng):
    x = rng.normal(0, 3, (40, classes)).astype(dtype)
    t, y, v = rng.normal(0, 3, x.shape).astype(dtype), rng.integers(0, classes, 40), rng.integers(0, 2, 40) * 1.0
    temperature, bias = rng.uniform(0.5, 2, 40), rng.normal(0, 1, classes)
    options = {"softcap": 2.0, "logit_bias": bias, "temperature": temperature, "sample_weight": v,
               "reduction": "none", "return_grad": True}
    of_teacher = {"teacher_softcap": 3.0, "teacher_logit_bias": bias[::-1].copy()}
    bad, bad_t = (np.where(v[:, None] == 0, dtype(NAN), a) for a in (x, t))
    for calls in ((lambda a, b: xe.cross_entropy(a, y, **options)),
                  (lambda a, b: xe.kl_div_with_logits(a, b, **options, **of_teacher)),
                  (lambda a, b: xe.distillation_loss(a, b, y, **options, **of_teacher))):
        for got, wanted in zip(calls(bad, bad_t), calls(x, t), strict=True):
            assert_same_bits(got, wanted)
            assert (got[v == 0] == 0).all()


# ---- What is the same ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 16, 17, 40])
@pytest.mark.parametrize("classes", [1, 3, 40, 1100])
@pytest.mark.parametrize("target", ["indices", "probabilities", "smoothed"])
def test_rows_do_not_see_each_other(target, classes, rows, dtype, rng):
    """Each row of a batch, in either orientation, has the bits of the row alone."""
    x = rng.normal(0, 3, (rows, classes)).astype(dtype)
    y = rng.integers(0, classes, rows)
    if target == "probabilities":
        y = rng.dirichlet(np.ones(classes), rows).astype(dtype)
    t, bias = rng.uniform(0.3, 3, rows), rng.normal(0, 1, classes)
    options = {"softcap": 4.0, "logit_bias": bias, "label_smoothing": 0.1 * (target == "smoothed"),
               "reduction": "none", "return_grad": True}
    for batch in (x, np.asfortranarray(x)):
        loss, grad = xe.cross_entropy(batch, y, temperature=t, **options)
        for i in range(rows):
            one, of_one = xe.cross_entropy(x[i:i + 1], y[i:i + 1], temperature=t[i:i + 1], **options)
            assert_same_bits(loss[i:i + 1], one)
            assert_same_bits(grad[i:i + 1], of_one)


def test_an_array_of_one_temperature_agrees_with_the_number(dtype, rng):
    """To the rounding of logits: a number is known to twice the digits."""
    x, t, y = rng.normal(0, 4, (20, 9)).astype(dtype), rng.normal(0, 4, (20, 9)).astype(dtype), rng.integers(0, 9, 20)
    how = {"reduction": "none", "return_grad": True}
    near = {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-14}
    for call in (lambda **o: xe.cross_entropy(x, y, z_loss=0.1, **how, **o),
                 lambda **o: xe.kl_div_with_logits(x, t, divergence="js", **how, **o),
                 lambda **o: xe.distillation_loss(x, t, y, **how, **o),
                 lambda **o: xe.distillation_loss(x, t, y, scale_by_temperature=False, **how, **o)):
        for number, array in zip(call(temperature=0.7), call(temperature=np.full(20, 0.7)), strict=True):
            np.testing.assert_allclose(array, number, **near)
