"""Properties that hold for all inputs, by hypothesis. Those that need not hold to the bit have a bound in ULP, from
the promise that a result is within LIMIT ULP of the exact one: two results of one exact value differ by twice that.
"""

import numpy as np
import operations
import pytest
from contract.drawn import HALVES, LIMIT, assert_near, assert_sums_to_0, batches, classes, logits, rows_and_classes, ulp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from oracle.divergence import DIVERGENCES
from oracle.parts import arithmetic
from support import DTYPES, assert_same_bits

import crossent as xe
from crossent import information

every_form = pytest.mark.parametrize("form", operations.FORMS, ids=repr)


def row_functions(x, y):
    """Name: results with an entry for each row, or each row and class."""
    loss, gradient = xe.cross_entropy(x, y, reduction="none", return_grad=True)
    return {"softmax": xe.softmax(x), "log_softmax": xe.log_softmax(x), "cross_entropy": loss, "gradient": gradient}


# ---- A common constant -----------------------------------------------------------------------------------------------


@given(data=st.data())
def test_shift(data):
    """A constant that leaves every logit exact: within twice the promise. Not to the bit, see below."""
    dtype = data.draw(st.sampled_from(DTYPES))
    n, c = data.draw(rows_and_classes)
    x = data.draw(arrays.arrays(np.int32, (n, c), elements=st.integers(-4000, 4000))).astype(dtype) / dtype(64)
    shift = dtype(data.draw(st.integers(-10_000, 10_000)))
    assert ((x + shift) - shift == x).all()
    y = data.draw(classes(n, c))
    for plain, shifted in zip(row_functions(x, y).values(), row_functions(x + shift, y).values(), strict=True):
        assert_near(plain, shifted, 2 * LIMIT)
    plain, shifted = xe.logsumexp(x), xe.logsumexp(x + shift)
    far = np.abs((plain.astype(np.longdouble) + shift) - shifted)
    assert (far <= ulp(plain) + ulp(shifted) + 2 * LIMIT * ulp(dtype(np.log(c)))).all()  # log1p(tail) <= log C


@pytest.mark.parametrize(("dtype", "shift"), [(np.float32, 2), (np.float64, 19)], ids=("float32", "float64"))
def test_a_shift_may_change_the_last_bit(dtype, shift):
    """The smallest examples. The exponential's argument is reduced without subtracting the maximum (design/row.md): a
    row and the same row shifted are rounded differently, each within the promise."""
    x = np.array([[0, 1]], dtype)
    plain, shifted = (xe.cross_entropy(v, [0], reduction="none") for v in (x, x + dtype(shift)))
    assert_near(plain, shifted, 2 * LIMIT)
    exact = np.log1p(np.exp(np.longdouble(1)))
    for loss in (plain, shifted):
        assert abs(loss[0] - exact) <= LIMIT * ulp(loss)[0]


# ---- The order of the classes ----------------------------------------------------------------------------------------


@given(data=st.data())
def test_permutation_of_the_classes(data):
    x, y = data.draw(batches())
    order = np.array(data.draw(st.permutations(range(x.shape[1]))))
    moved = row_functions(np.ascontiguousarray(x[:, order]), np.argsort(order)[y])
    for name, plain in row_functions(x, y).items():
        assert_near(plain[:, order] if plain.ndim == 2 else plain, moved[name], 2 * LIMIT)
    plain, moved = xe.logsumexp(x), xe.logsumexp(x[:, order])
    assert (np.abs(plain - moved) <= 2 * ulp(np.maximum(abs(plain), abs(moved)))
            + 2 * LIMIT * ulp(x.dtype.type(np.log(x.shape[1])))).all()


# ---- Sums and signs --------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_gradients_of_a_row_sum_to_0(data):
    x, y = data.draw(batches())
    _, gradient = xe.cross_entropy(x, y, reduction="none", return_grad=True)
    assert_sums_to_0(gradient, np.abs(gradient.astype(np.float64)).sum(axis=1), LIMIT)
    # (A - b_c) p_c and b_c (1 - p_c) add up to less than 2 A.
    q = np.abs(data.draw(logits(x.dtype, x.shape, 1)))
    for target, size in ((q, 2 * q.astype(np.float64).sum(axis=1)), (y, 2.0)):
        _, gradient = xe.cross_entropy(x, target, reduction="none", label_smoothing=0.25, return_grad=True)
        assert_sums_to_0(gradient, np.maximum(size, 2 * (0.75 * size / 2 + 0.25)), LIMIT)


@given(data=st.data())
def test_gradients_of_a_divergence_sum_to_0(data):
    """s (1 - t) and t (1 - s) add up to less than 2; s |log(..)| and s sum s |log(..)| to twice that sum."""
    x, _ = data.draw(batches(20))
    teacher, t = data.draw(logits(x.dtype, x.shape, 20)), data.draw(st.sampled_from((0.5, 1.0, 3.0)))
    s, d = xe.softmax(x.astype(np.float64), temperature=t), (
        xe.log_softmax(x.astype(np.float64), temperature=t) - xe.log_softmax(teacher.astype(np.float64), temperature=t))
    for divergence in DIVERGENCES:
        _, gradient = xe.kl_div_with_logits(x, teacher, temperature=t, divergence=divergence, reduction="none",
                                            return_grad=True)
        own = d if divergence == "reverse" else -np.log1p(np.expm1(-d) / 2)
        sizes = 2.0 if divergence == "forward" else 2 * (s * np.abs(own)).sum(axis=1) + 1e-9
        assert_sums_to_0(gradient, np.broadcast_to(sizes / t, len(x)), 8)


@given(batch=batches(400), smoothing=st.sampled_from((0.0, 1e-9, 0.1, 1.0)))
def test_cross_entropy_is_not_negative(batch, smoothing):
    """To 0 where it is less than any number, and never -0."""
    loss = xe.cross_entropy(*batch, reduction="none", label_smoothing=smoothing)
    entropy = information.entropy_with_logits(batch[0])
    for values in (loss, entropy):
        assert (values >= 0).all()
        assert not np.signbit(values).any()
    assert (xe.log_softmax(batch[0]) <= 0).all()
    assert (xe.softmax(batch[0]) <= 1 + LIMIT * np.finfo(batch[0].dtype).eps).all()  # rounded like the rest


@given(data=st.data(), divergence=st.sampled_from(DIVERGENCES), temperature=st.sampled_from((0.1, 1.0, 1 / 3, 20.0)))
def test_divergences_are_not_negative_and_0_for_equal_rows(data, divergence, temperature):
    dtype, shape = data.draw(st.sampled_from((np.float16, *DTYPES))), data.draw(rows_and_classes)
    x, teacher = data.draw(logits(dtype, shape, 400)), data.draw(logits(dtype, shape, 400))
    near = np.nextafter(x, dtype(0))
    options = {"temperature": temperature, "divergence": divergence, "reduction": "none"}
    for t in (teacher, near, -x):
        loss = xe.kl_div_with_logits(x, t, **options)
        assert (loss >= 0).all()
        assert not np.signbit(loss).any()
    for equal in (x, x.copy()):
        loss, gradient = xe.kl_div_with_logits(x, equal, return_grad=True, **options)
        assert not loss.any()
        assert not np.signbit(loss).any()
        assert not gradient.any()


@given(data=st.data())
def test_binary_losses_are_not_negative(data):
    dtype, n = data.draw(st.sampled_from(DTYPES)), data.draw(st.integers(1, 40))
    x, (y, p) = data.draw(logits(dtype, n, 800)), (np.abs(data.draw(logits(dtype, n, 1))) for _ in range(2))
    for loss in (xe.binary_cross_entropy_with_logits(x, y, reduction="none"),
                 xe.binary_cross_entropy(p, y, reduction="none")):
        assert (loss >= 0).all()
        assert not np.signbit(loss).any()


@given(data=st.data())
def test_binary_losses_are_symmetric(data):
    """BCE(x, y) = BCE(-x, 1 - y), and of probabilities p and 1 - p, to the bit where 1 - y and 1 - p are exact."""
    dtype, n = data.draw(st.sampled_from(DTYPES)), data.draw(st.integers(1, 40))
    x = data.draw(logits(dtype, n, 800))
    y, p = (data.draw(arrays.arrays(np.int32, n, elements=st.integers(0, 2**24))).astype(dtype) / dtype(2**24)
            for _ in range(2))
    some = {"reduction": "none", "return_grad": True}
    for (loss, gradient), (mirrored, opposite) in (
            (xe.binary_cross_entropy_with_logits(x, y, **some), xe.binary_cross_entropy_with_logits(-x, 1 - y, **some)),
            (xe.binary_cross_entropy(p, y, **some), xe.binary_cross_entropy(1 - p, 1 - y, **some))):
        assert_same_bits(loss, mirrored)
        np.testing.assert_array_equal(gradient, -opposite)  # 0 and -0 are equal


# ---- One result, however it is asked for -----------------------------------------------------------------------------


@every_form
@given(data=st.data())
def test_the_fused_gradient_is_that_of_backward(form, data):
    """To the bit, in every dtype: fused, and by `_backward` with the gradient 1 of whatever the loss returns."""
    pair, case = data.draw(st.sampled_from(form.pairs)), data.draw(st.sampled_from(list(form.cases)))
    given_arrays, options = form.arguments(np.random.default_rng(data.draw(st.integers(0, 2**32))), pair, case)
    function, backward = form.function, form.backward
    for reduction in form.reductions:
        loss, fused = function(*given_arrays, reduction=reduction, return_grad=True, **options)
        assert_same_bits(loss, function(*given_arrays, reduction=reduction, **options))
        one = np.ones(np.shape(loss), arithmetic(pair[0]))
        assert_same_bits(fused, backward(one, *given_arrays, reduction=reduction, **options))


@every_form
@pytest.mark.parametrize("half", HALVES, ids=str)
@given(data=st.data())
def test_half_precision_is_float32_rounded_once(form, half, data):
    case, seed = data.draw(st.sampled_from(list(form.cases))), data.draw(st.integers(0, 2**32))
    given_arrays, options = form.arguments(np.random.default_rng(seed), (half, half), case)
    wide = [a.astype(np.float32) if a.dtype == half else a for a in given_arrays]
    loss, gradient = form.function(*given_arrays, reduction="none", return_grad=True, **options)
    wanted = form.function(*wide, reduction="none", return_grad=True, **options)
    assert_same_bits(loss, wanted[0])
    with np.errstate(over="ignore"):
        assert_same_bits(gradient, wanted[1].astype(half))


@pytest.mark.parametrize("half", HALVES, ids=str)
@given(data=st.data())
def test_half_precision_normalisers_are_float32_rounded_once(half, data):
    x = data.draw(logits(np.float32, data.draw(rows_and_classes), 200)).astype(half)
    wide = x.astype(np.float32)
    for function in (xe.softmax, xe.log_softmax):
        assert_same_bits(function(x), function(wide).astype(half))
    assert_same_bits(xe.logsumexp(x), xe.logsumexp(wide))
