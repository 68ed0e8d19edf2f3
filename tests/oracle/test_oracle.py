"""The references themselves, against values known by hand."""

import ml_dtypes
import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

import oracle


def one_row(x):
    return np.array([x], dtype=np.float32)


def test_confident_row():
    # log1p(e^-17), pytorch#195678
    loss = oracle.cross_entropy_rows(one_row([17, 0]), [0])[0]
    assert np.float32(float(loss)) == np.float32(4.1399376e-08)
    grad, scale = oracle.cross_entropy_grad(one_row([17, 0]), [0])
    assert float(grad[0, 0]) == pytest.approx(-4.13993763e-08, rel=1e-7)
    assert float(grad[0, 1]) == pytest.approx(4.13993763e-08, rel=1e-7)
    assert [abs(g) for g in grad[0]] == [abs(s) for s in scale[0]]


def test_gap_of_740_is_not_lost():
    loss = oracle.cross_entropy_rows(np.array([[740.0, 0.0]]), [0])[0]
    assert abs(loss / mp.exp(-740) - 1) < mpf("1e-50")
    assert oracle.cross_entropy_rows(np.array([[740.0, 0.0]]), [1])[0] == 740 + loss


def test_equal_logits_at_an_offset():
    assert abs(oracle.cross_entropy_rows(np.array([[1e8, 1e8]]), [0])[0] - mp.log(2)) < mpf("1e-50")
    assert abs(oracle.Row(np.full(1000, 3.0)).logsumexp() - (3 + mp.log(1000))) < mpf("1e-50")


def test_by_the_definition():
    x = [0.5, -1.25, 2.0, 0.5]
    row = oracle.Row(np.array(x), temperature=0.7)
    e = [mp.exp(mpf(v) / mpf(0.7)) for v in x]
    for p, q, lp, v in zip(row.softmax(), row.one_minus_softmax(), row.log_softmax(), e, strict=True):
        assert mp.almosteq(p, v / sum(e), mpf("1e-55"))
        assert mp.almosteq(q, 1 - v / sum(e), mpf("1e-55"))
        assert mp.almosteq(lp, mp.log(v / sum(e)), mpf("1e-55"))
    assert mp.almosteq(row.logsumexp(), mp.log(sum(e)), mpf("1e-55"))


def test_masked_class():
    x = one_row([0, -np.inf, 0])
    assert mp.isinf(oracle.cross_entropy_rows(x, [1])[0])
    assert oracle.cross_entropy_grad(x, [1])[0][0].tolist() == [0.5, -1, 0.5]
    assert oracle.cross_entropy_grad(x, [0])[0][0].tolist() == [-0.5, 0, 0.5]


def test_weights_smoothing_and_denominator():
    # p = (1/2, 1/2): every -log p is log 2
    x, log2 = np.zeros((3, 2)), mp.log(2)
    options = dict(weight=[1.0, 3.0], sample_weight=[2.0, 1.0, 5.0], label_smoothing=0.5, ignore_index=7)
    losses = oracle.cross_entropy_rows(x, [0, 1, 7], **options)
    # v ((1-e) w[y] + e/C (w0 + w1)) log 2 = 2 (0.5 + 1) log 2, 1 (1.5 + 1) log 2, ignored
    assert [float(v) for v in losses] == [float(3 * log2), float(mpf(2.5) * log2), 0.0]
    assert oracle.denominator(3, 2, [0, 1, 7], **options) == 5
    grad, scale = oracle.cross_entropy_grad(x, [0, 1, 7], "mean", **options)
    # row 0: b = (1.5, 1.5), A = 3: 0; row 1: b = (0.25, 2.25), A = 2.5: (1.25 - 0.25, 1.25 - 2.25); over 5
    assert [[float(v) for v in row] for row in grad] == [[0, 0], [0.2, -0.2], [0, 0]]
    assert [[float(v) for v in row] for row in scale] == [[0.15, 0.15], [0.225, 0.225], [0, 0]]


def test_nll_loss_by_hand():
    lp = np.array([[-1.0, -2.0], [-np.inf, 0.0]])
    assert oracle.nll_loss_rows(lp, [1, 1], weight=[1.0, 3.0]).tolist() == [6, 0]
    assert oracle.nll_loss_rows(lp, [1, 0], weight=[0.0, 3.0]).tolist() == [6, 0]
    assert oracle.nll_loss_grad(lp, [1, 1], "mean", weight=[1.0, 3.0])[0].tolist() == [[0, -0.5], [0, -0.5]]


def test_gradient_is_the_derivative():
    x = np.array([[0.25, -1.5, 3.0]])
    options = dict(weight=[0.5, 2.0, 1.0], label_smoothing=0.3, sample_weight=[1.5])
    grad, _ = oracle.cross_entropy_grad(x, [1], **options)
    step = 2.0 ** -20
    for k in range(3):
        sides = []
        for sign in (1, -1):
            moved = x.copy()
            moved[0, k] += sign * step
            sides.append(oracle.cross_entropy_rows(moved, [1], **options)[0])
        assert abs((sides[0] - sides[1]) / (2 * step) - grad[0, k]) < 1e-11


def test_ulp_is_the_spacing_of_the_dtype():
    for dtype in (np.float32, np.float64):
        for value in (1.0, 1.5, 0.75, 3e-5, float(np.finfo(dtype).tiny), 1e10):
            assert float(oracle.ulp(mpf(float(dtype(value))), dtype)) == float(np.spacing(dtype(value)))
        least = float(np.finfo(dtype).smallest_subnormal)
        assert float(oracle.ulp(mp.exp(-800), dtype)) == least == float(oracle.ulp(mpf(0), dtype))
    # just below a power of two the spacing is that of the lower binade, wherever the result rounds to
    assert oracle.ulp(1 - mpf(2) ** -80, np.float32) == mpf(2) ** -24


def test_error_of_special_values():
    f32 = np.float32
    assert oracle.error(f32(np.inf), mp.inf, f32) == 0
    assert oracle.error(f32(np.inf), mpf(10) ** 39, f32) == 0
    assert oracle.error(f32(np.inf), mpf(1), f32) == mp.inf
    assert oracle.error(f32(np.nan), mpf(1), f32) == mp.inf
    assert oracle.error(f32(1), mp.nan, f32) == mp.inf
    assert oracle.error(f32(0), mpf(2) ** -148, f32) == 2
    assert oracle.error(f32(1), 1 + mpf(2) ** -22, f32) == 2


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("limit", [0.5, 1, 4])
def test_what_is_surely_within_is_within(dtype, limit, rng):
    info = oracle.format_of(np.dtype(dtype))
    least = int(info.minexp) - int(info.nmant)
    signs, exponents = rng.choice([-1, 1], 400), rng.choice(range(least, int(info.maxexp) - 1), 400)
    significands = rng.choice([1, 1 + 2.0**-52, 1.5, 2 - 2.0**-52], 400)
    wanted = [mpf(s * m) * mpf(2) ** int(e) for s, m, e in zip(signs, significands, exponents, strict=True)]
    wanted[:3] = [mpf(0), mpf(2) ** (least - 1), mpf(float(info.max))]
    sure = 0
    for w in wanted:
        for steps in (limit - 2.0**-8, limit, limit + 2.0**-8, limit / 2):
            # An exact value that many units beside a number of the dtype, on either side of it.
            actual = np.array(float(w), dtype)
            exact = np.array([mpf(float(actual)) + side * mpf(steps) * oracle.ulp(w, dtype) for side in (-1, 1)])
            for scale in (exact, np.array([w, w])):
                found = oracle.surely_within(limit, np.repeat(actual, 2), exact, scale)
                errors = [oracle.error(actual, x, np.dtype(dtype), s) for x, s in zip(exact, scale, strict=True)]
                assert all(error <= limit for error in np.array(errors)[found]), (w, steps)
                sure += found.sum()
    assert sure > 400  # or it would spare nothing


def test_nothing_is_sure_of_infinities_and_nan():
    actual = np.array([np.inf, np.nan, 1, 1, np.inf], np.float32)
    wanted = np.array([mp.inf, mp.nan, mp.inf, mp.nan, mpf(2) ** 128])
    assert not oracle.surely_within(4, actual, wanted, wanted).any()


def test_assert_within_sees_one_wrong_entry():
    exact = oracle.exact(np.ones((3, 4)))
    actual = np.ones((3, 4), np.float32)
    oracle.assert_within(0, actual, exact)
    actual[2, 1] += mpmath.ldexp(1, -22)
    with pytest.raises(AssertionError, match=r"2.0 ulp, more than 1, at \(.*2.*1.*\)"):
        oracle.assert_within(1, actual, exact)
