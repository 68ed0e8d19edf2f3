"""As test_invariants.py: properties of what has two distributions, of information and of the backward passes."""

import numpy as np
import pytest
from contract.drawn import (
    HALVES,
    LIMIT,
    assert_near,
    assert_sums_to_0,
    batches,
    classes,
    floats,
    logits,
    rows_and_classes,
    ulp,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from oracle.divergence import DIVERGENCES
from support import DTYPES, assert_same_bits

import crossent as xe
from crossent import information

OF_TWO = ("cross_entropy", "kl_divergence", "js_divergence")
temperatures = st.sampled_from((0.3, 1.0, 3.0))


@st.composite
def pairs(draw, size=20, dtypes=DTYPES):
    """(logits, teacher's logits, classes)."""
    x, y = draw(batches(size, dtypes))
    return x, draw(logits(x.dtype, x.shape, size)), y


def probabilities(dtype, shape, low=0.0, high=1.0):
    return arrays.arrays(dtype, shape, elements=floats(dtype, low, high))


def orders(data, c):
    return np.array(data.draw(st.permutations(range(c))))


# ---- The order of the classes: both results are near the exact one ---------------------------------------------------


@given(data=st.data())
def test_permutation_of_two_distributions(data):
    """Divergences to what is promised of them, 1e-5 and 1e-12 of the value; gradients to 2 * 8 ULP of their terms: the
    larger probability over T, for reverse and js the student's times the size of the logarithms of the ratios. Half as
    much again, since an ULP of a term is up to twice that of the entry."""
    (x, teacher, y), t = data.draw(pairs()), data.draw(temperatures)
    order = orders(data, x.shape[1])
    eps = float(np.finfo(x.dtype).eps)
    size = (np.ptp(x, axis=1) + np.ptp(teacher, axis=1)).astype(np.float64)[:, None] / t
    for divergence in DIVERGENCES:
        options = {"temperature": t, "divergence": divergence, "reduction": "none", "return_grad": True}
        loss, gradient = xe.kl_div_with_logits(x, teacher, **options)
        moved = xe.kl_div_with_logits(x[:, order], teacher[:, order], **options)
        np.testing.assert_allclose(moved[0], loss, rtol=1e-5 if x.dtype == np.float32 else 1e-12,
                                   atol=2e-9 if x.dtype == np.float32 else 1e-18)
        s = xe.softmax(x.astype(np.float64), temperature=t)
        p = s * size
        if divergence == "forward":
            p = np.maximum(s, xe.softmax(teacher.astype(np.float64), temperature=t))
        far = np.abs(moved[1].astype(np.float64) - gradient[:, order])
        assert (far <= 24 * eps * p[:, order] / t + 1e-9 * eps).all()
    options = {"temperature": t, "reduction": "none"}
    loss, moved = xe.distillation_loss(x, teacher, y, **options), xe.distillation_loss(
        x[:, order], teacher[:, order], np.argsort(order)[y], **options)
    assert_near(loss, moved, 4 * LIMIT)


@given(data=st.data())
def test_permutation_of_information(data):
    """Measured at the sum of the sizes of the terms: of entropy and cross-entropy up to 1, that is the value."""
    dtype, shape = data.draw(st.sampled_from(DTYPES)), data.draw(rows_and_classes)
    p, q = (data.draw(probabilities(dtype, shape)) for _ in range(2))
    order = orders(data, shape[1])
    x = data.draw(logits(dtype, shape, 100))
    assert_near(information.entropy(p), information.entropy(p[:, order]), 2 * LIMIT)
    assert_near(information.entropy_with_logits(x), information.entropy_with_logits(x[:, order]), 2 * LIMIT)
    assert_near(information.cross_entropy(p, q), information.cross_entropy(p[:, order], q[:, order]), 2 * LIMIT)
    for name in ("kl_divergence", "js_divergence"):
        a, b = (getattr(information, name)(u, v) for u, v in ((p, q), (p[:, order], q[:, order])))
        with np.errstate(invalid="ignore"):
            size = ulp(np.maximum(information.entropy(p) + information.cross_entropy(p, q), np.maximum(abs(a), abs(b))))
            assert ((np.abs(a - b) <= 2 * LIMIT * size) | (a == b)).all()


@given(data=st.data())
def test_permutation_of_class_probabilities(data):
    x, _ = data.draw(batches())
    q, order = data.draw(probabilities(x.dtype, x.shape)), orders(data, x.shape[1])
    options = {"reduction": "none", "return_grad": True, "label_smoothing": data.draw(st.sampled_from((0.0, 0.1)))}
    loss, gradient = xe.cross_entropy(x, q, **options)
    moved = xe.cross_entropy(x[:, order], q[:, order], **options)
    assert_near(loss, moved[0], 2 * LIMIT)
    # The larger of two terms is at most the sum of the row's coefficients.
    size = (q.astype(np.float64).sum(axis=1) + 1)[:, None]
    assert (np.abs(gradient[:, order].astype(np.float64) - moved[1]) <= 2 * LIMIT * np.finfo(x.dtype).eps * size).all()


# ---- Sums and signs --------------------------------------------------------------------------------------------------


@given(data=st.data(), alpha=st.sampled_from((0.0, 0.3, 1.0)), smoothing=st.sampled_from((0.0, 0.2)))
def test_gradients_of_distillation_sum_to_0(data, alpha, smoothing):
    """Two terms of at most 1 and one of T: alpha T^2 (s - t) / T and 1 - alpha times that of cross-entropy."""
    (x, teacher, y), t = data.draw(pairs()), data.draw(temperatures)
    _, gradient = xe.distillation_loss(x, teacher, y, temperature=t, alpha=alpha, label_smoothing=smoothing,
                                       reduction="none", return_grad=True)
    assert_sums_to_0(gradient, np.full(len(x), 2 * (alpha * t + 1 - alpha)), 8)


@given(data=st.data())
def test_gradients_of_normalisers_sum_to_what_they_must(data):
    """That of logsumexp to the upstream gradient, that of log_softmax to 0, both as softmax does to 1."""
    x, _ = data.draw(batches())
    n, c = x.shape
    eps = float(np.finfo(x.dtype).eps)
    g = data.draw(logits(x.dtype, (n, c), 3)) + x.dtype.type(4)  # of one sign
    total = xe.logsumexp_backward(g[:, 0].copy(), x).astype(np.float64).sum(axis=1)
    assert (np.abs(total - g[:, 0]) <= (LIMIT + c) * eps * g[:, 0]).all()
    total = xe.log_softmax_backward(g, xe.log_softmax(x)).astype(np.float64).sum(axis=1)
    # exp(log p) has |log p| times the relative error of log p
    size = g.astype(np.float64).sum(axis=1) * (1 + np.abs(xe.log_softmax(x)).max(axis=1))
    assert (np.abs(total) <= (2 * LIMIT + c) * eps * size).all()


@given(data=st.data(), alpha=st.sampled_from((0.0, 0.3, 1.0)), divergence=st.sampled_from(DIVERGENCES))
def test_distillation_is_not_negative(data, alpha, divergence):
    (x, teacher, y), t = data.draw(pairs(400)), data.draw(temperatures)
    options = {"temperature": t, "divergence": divergence, "reduction": "none"}
    loss = xe.distillation_loss(x, teacher, y, alpha=alpha, **options)
    assert (loss >= 0).all()
    assert not np.signbit(loss).any()
    equal = xe.distillation_loss(x, x, y, alpha=1.0, **options)
    assert not equal.any()
    assert not np.signbit(equal).any()


@given(data=st.data())
def test_divergences_of_probabilities(data):
    """Exactly 0 for equal arguments, normalised or not; js not negative and symmetric to the bit; a term of kl not less
    than p - q, so that of what has one sum it is not negative but for errors of |p log p| and |p log q|."""
    dtype, shape = data.draw(st.sampled_from((np.float16, *DTYPES))), data.draw(rows_and_classes)
    p, q = (data.draw(probabilities(dtype, shape, 0.0, 4.0)) for _ in range(2))
    for name in ("kl_divergence", "js_divergence"):
        value = getattr(information, name)(p, p.copy())
        assert not value.any()
        assert not np.signbit(value).any()
    for other in (q, np.nextafter(p, dtype(0))):
        js = information.js_divergence(p, other)
        assert (js >= 0).all()
        assert not np.signbit(js).any()
        assert_same_bits(js, information.js_divergence(other, p))
        if (other > 0).all():
            wide, log_q = p.astype(np.float64), np.abs(np.log(other.astype(np.float64)))
            size = wide * (1 + np.maximum(log_q, np.abs(np.log(np.where(wide > 0, wide, 1)))))
            excess = (wide - other).sum(axis=1) - 2 * LIMIT * np.finfo(js.dtype).eps * (size + other).sum(axis=1)
            assert (information.kl_divergence(p, other) >= excess).all()


@given(batch=batches(400))
def test_perplexity_is_between_1_and_infinity(batch):
    x, y = batch
    value = information.perplexity(x, y, axis=1)
    assert value >= 1
    same = information.perplexity(np.zeros_like(x), y, axis=1)
    assert_near(np.atleast_1d(same), np.array([x.shape[1]], x.dtype), LIMIT)


# ---- One result, however it is asked for -----------------------------------------------------------------------------


@pytest.mark.parametrize("half", HALVES, ids=str)
@given(data=st.data())
def test_half_precision_backward_is_float32_rounded_once(half, data):
    shape = data.draw(rows_and_classes)
    x, g = (data.draw(logits(np.float32, shape, 30)).astype(half) for _ in range(2))
    p, log_p = xe.softmax(x), xe.log_softmax(x)
    for function, given_arrays in ((xe.softmax_backward, (g, p)), (xe.log_softmax_backward, (g, log_p)),
                                   (xe.logsumexp_backward, (g[:, 0].copy(), x))):
        wide = function(*(a.astype(np.float32) for a in given_arrays))
        with np.errstate(over="ignore"):
            assert_same_bits(function(*given_arrays), wide.astype(half))


@pytest.mark.parametrize("half", HALVES, ids=str)
@given(data=st.data())
def test_information_of_half_precision_is_that_of_float32(half, data):
    shape = data.draw(rows_and_classes)
    p, q = (data.draw(probabilities(np.float32, shape)).astype(half) for _ in range(2))
    x, y = data.draw(logits(np.float32, shape, 30)).astype(half), data.draw(classes(*shape))
    single = lambda a: a.astype(np.float32)
    assert_same_bits(information.entropy(p), information.entropy(single(p)))
    assert_same_bits(information.entropy_with_logits(x), information.entropy_with_logits(single(x)))
    assert_same_bits(information.perplexity(x, y, axis=1), information.perplexity(single(x), y, axis=1))
    for name in OF_TWO:
        assert_same_bits(getattr(information, name)(p, q), getattr(information, name)(single(p), single(q)))
