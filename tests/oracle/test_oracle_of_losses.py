"""The references of the new losses, against values known by hand, against their definitions and their derivatives."""

import ml_dtypes
import numpy as np
import pytest
from mpmath import mp, mpf

import oracle
import oracle.binary
import oracle.divergence
import oracle.parts

CLOSE = mpf("1e-45")
X, T = np.array([0.5, -1.25, 2.0, 0.0]), np.array([1.0, 0.75, -0.5, 0.0])


def softmax(x, temperature):
    e = [mp.exp(mpf(float(v)) / mpf(temperature)) for v in x]
    return [v / sum(e) for v in e]


def by_definition(x, t, temperature, divergence, beta):
    s, t = softmax(x, temperature), softmax(t, temperature)
    kl = lambda a, b: sum(p * mp.log(p / q) for p, q in zip(a, b, strict=True))
    m = [mpf(beta) * a + (1 - mpf(beta)) * b for a, b in zip(t, s, strict=True)]
    js = mpf(beta) * kl(t, m) + (1 - mpf(beta)) * kl(s, m)
    return {"forward": kl(t, s), "reverse": kl(s, t), "js": js}[divergence]


def slope(function, x):
    """Central differences with 60 digits: a step of 1e-15 leaves about 1e-29."""
    grad, step = [], mpf("1e-15")
    for k in range(len(x)):
        up, down = ([v + sign * step * (i == k) for i, v in enumerate(map(mpf, x))] for sign in (1, -1))
        grad.append((function(up) - function(down)) / (2 * step))
    return grad


@pytest.mark.parametrize("divergence", oracle.divergence.DIVERGENCES)
@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_kl_by_the_definition(temperature, divergence):
    value, gradient, scale = oracle.divergence.kl_row(X, T, temperature, divergence, 0.25)
    assert abs(value - by_definition(X, T, temperature, divergence, 0.25)) < CLOSE

    def function(x):
        e = [mp.exp(v / mpf(temperature)) for v in x]
        s, t = [v / sum(e) for v in e], softmax(T, temperature)
        m = [mpf("0.25") * a + mpf("0.75") * b for a, b in zip(t, s, strict=True)]
        kl = lambda a, b: sum(p * mp.log(p / q) for p, q in zip(a, b, strict=True))
        return {"forward": kl(t, s), "reverse": kl(s, t), "js": (kl(t, m) + 3 * kl(s, m)) / 4}[divergence]

    for got, wanted, size in zip(gradient, slope(function, X), scale, strict=True):
        assert abs(got - wanted) < mpf("1e-25")
        assert abs(got) <= 2 * size


def test_kl_of_rows_too_confident_for_60_digits():
    """1 - s and 1 - t are e^-5920 and twice that: KL(t || s) = e^-5920 (2 log 2 - 1) and so on, not 0."""
    s, t = np.array([740, 0.0]), np.array([740 - float(np.log(2)) / 8, 0])
    gap = [mpf(float(v[0])) * 8 for v in (s, t)]
    a, b = mp.exp(-gap[0]), mp.exp(-gap[1])  # the small probabilities, to a relative e^-5920
    for divergence, wanted in (("forward", b * mp.log(b / a) - b + a), ("reverse", a * mp.log(a / b) - a + b)):
        value, gradient, _ = oracle.divergence.kl_row(s, t, 0.125, divergence)
        assert abs(value / wanted - 1) < mpf("1e-20")
        if divergence == "forward":
            assert abs(gradient[1] / (8 * (a - b)) - 1) < mpf("1e-20")
            assert gradient[0] == -gradient[1]
    m = (a + b) / 2
    wanted = (a * mp.log(a / m) + b * mp.log(b / m)) / 2
    assert abs(oracle.divergence.kl_row(s, t, 0.125, "js")[0] / wanted - 1) < mpf("1e-20")


def test_kl_with_masked_classes():
    inf = np.inf
    one, other, both = np.array([0, -inf]), np.array([-inf, 0]), np.array([0.0, 0])
    assert oracle.divergence.kl_row(one, other)[0] == mp.inf
    assert oracle.divergence.kl_row(one, other, divergence="js")[0] == mp.log(2)
    assert abs(oracle.divergence.kl_row(both, one)[0] - mp.log(2)) < CLOSE
    assert oracle.divergence.kl_row(one, both)[0] == mp.inf
    assert oracle.divergence.kl_row(one, both)[1].tolist() == [0.5, -0.5]
    assert mp.isnan(oracle.divergence.kl_row(one, np.array([-inf, -inf]))[0])
    assert mp.isnan(oracle.divergence.kl_row(np.array([0, inf]), both)[0])


def test_cross_entropy_of_probabilities_by_hand():
    # p = (1/2, 1/2): every -log p is log 2; q' = q / 2 + 1/4 = (3/8, 5/8)
    x, q = np.zeros((1, 2)), np.array([[0.25, 0.75]])
    options = dict(weight=[1.0, 3.0], sample_weight=[2.0], label_smoothing=0.5)
    b = [2 * mpf(3) / 8, 2 * 3 * mpf(5) / 8]
    assert abs(oracle.cross_entropy_rows(x, q, **options)[0] - sum(b) * mp.log(2)) < CLOSE
    grad, scale = oracle.cross_entropy_grad(x, q, **options)
    assert grad[0].tolist() == [(b[1] - b[0]) / 2, (b[0] - b[1]) / 2]
    assert scale[0].tolist() == [max(b) / 2] * 2
    assert oracle.denominator(1, 2, q, **options) == 2
    hot = np.array([[0.0, 1.0]])
    assert oracle.cross_entropy_rows(X[None, :2], hot) == oracle.cross_entropy_rows(X[None, :2], [1])


def test_binary_losses_by_hand():
    one = lambda f, *a, **k: [v[0] for v in f(*(np.array([x]) for x in a), **k)]
    bce, logits = oracle.binary.binary_cross_entropy, oracle.binary.binary_cross_entropy_with_logits
    assert one(bce, 0.5, 1.0) == [mp.log(2), -2, 2]
    assert one(bce, 0.25, 0.5) == [-(mp.log(mpf("0.25")) + mp.log(mpf("0.75"))) / 2, mpf(2) / 3 - 2, 2]
    assert one(bce, 0.0, 1.0)[:2] == [100, -mp.inf]
    assert one(bce, 0.0, 1.0, log_floor=None)[0] == mp.inf
    assert one(bce, 1.0, 1.0) == [0, -1, 1]
    assert one(bce, 0.0, 0.0) == [0, 1, 1]
    assert one(logits, 0.0, 0.25) == [mp.log(2), mpf("0.25"), mpf("0.375")]
    weighted = one(lambda x, y: logits(x, y, np.array([2.0]), np.array([3.0]), 0.5), 0.0, 1.0)
    assert weighted == [2 * (3 * mpf("0.75") + mpf("0.25")) * mp.log(2), mpf("0.25") - mpf("2.25"), mpf("2.25")]
    for x in (-50.0, 1.5, 60.0):  # the derivative of either loss
        function = lambda v: mpf("0.75") * mp.log(1 + mp.exp(v[0])) + mpf("0.25") * mp.log(1 + mp.exp(-v[0]))
        assert abs(one(logits, x, 0.25)[1] - slope(function, [x])[0]) < mpf("1e-25")
    assert one(logits, np.inf, 0.0)[:2] == [mp.inf, 1]
    assert one(logits, np.inf, 1.0)[:2] == [0, 0]


def test_kl_div_by_hand():
    losses, scales, gradients = oracle.divergence.kl_div(np.array([-1.0, -np.inf, -np.inf]), np.array([0.5, 0.0, 1.0]))
    assert losses.tolist() == [mp.log(mpf("0.5")) / 2 + mpf("0.5"), 0, mp.inf]
    assert scales[0] == mpf("0.5")
    assert gradients.tolist() == [-0.5, 0, -1]
    losses, _, gradients = oracle.divergence.kl_div(np.array([-1.0, -np.inf]), np.array([0.0, -np.inf]), True)
    assert losses.tolist() == [1, 0]
    assert gradients.tolist() == [-1, 0]


def test_information_by_hand():
    p, q = np.array([0.5, 0.5, 0]), np.array([0.25, 0.5, 0.25])
    assert oracle.divergence.entropy(p, 2) == (1, 1)
    assert oracle.divergence.information_cross_entropy(p, q, 2)[0] == mpf("1.5")
    assert oracle.divergence.kl_divergence(p, q, 2) == (mpf("0.5"), mpf("1.5"))
    assert oracle.divergence.kl_divergence(q, p)[0] == mp.inf
    m = [mpf("0.375"), mpf("0.5"), mpf("0.125")]
    by_hand = (mp.log(mpf("0.5") / m[0]) / 2 + mp.log(mpf("0.25") / m[0]) / 4 + mp.log(mpf("0.25") / m[2]) / 4) / 2
    assert abs(oracle.divergence.js_divergence(p, q)[0] - by_hand) < CLOSE
    assert abs(oracle.divergence.entropy_with_logits(np.zeros(8)) - mp.log(8)) < CLOSE
    assert oracle.divergence.entropy_with_logits(np.array([0, -np.inf])) == 0


def test_parts_have_their_own_denominators():
    losses = np.array([mpf(1), mpf(2)], dtype=object)
    gradients = np.array([[mpf(-4), mpf(1)], [mpf(0), mp.inf]], dtype=object)
    one = oracle.parts.Part(losses, gradients, gradients, {"mean": mpf(4)})
    two = oracle.parts.Part(10 * losses, gradients * 0, gradients * 0, {"mean": mpf(2)})
    assert oracle.parts.value([one, two], "mean")[0] == mpf(3) / 4 + 15
    assert oracle.parts.value([one, two], "mean", 3.0)[0] == 11
    assert oracle.parts.value([one], "none")[0].tolist() == [1, 2]
    grad, scale = oracle.parts.gradient([one], "mean", -2.0)
    assert grad.tolist() == [[2, -0.5], [0, -mp.inf]]
    assert scale.tolist() == [[2, 0.5], [0, mp.inf]]
    grad, _ = oracle.parts.gradient([one], "none", np.array([1.0, 0.0]))
    assert grad.tolist() == [[-4, 1], [0, 0]]  # 0 * inf is not read
    zero = oracle.parts.Part(losses * 0, gradients * 0, gradients * 0, {"mean": mpf(0)})
    assert mp.isnan(oracle.parts.value([zero], "mean")[0])
    assert oracle.parts.gradient([zero], "mean")[0].tolist() == [[0, 0], [0, 0]]


def test_ulp_of_halves():
    half, brain = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)
    for dtype in (half, brain):
        for value in (1.0, 1.5, 0.75, 3e-5, 1e4):
            number = dtype.type(value)
            step = float(np.nextafter(number, dtype.type(np.inf))) - float(number)
            assert float(oracle.ulp(mpf(float(number)), dtype)) == step
    assert oracle.ulp(mpf(0), half) == mpf(2) ** -24
    assert oracle.ulp(mpf(0), brain) == mpf(2) ** -133
    assert oracle.error(half.type(np.inf), mpf(65520), half) == 0
    assert oracle.error(half.type(np.inf), mpf(65519), half) == mp.inf
    assert oracle.error(brain.type(1), 1 + mpf(2) ** -7, brain) == 1
    oracle.assert_within(0, np.array([1.5, 2], brain), [mpf(3) / 2, mpf(2)])
    with pytest.raises(AssertionError, match=r"1\.0 ulp"):
        oracle.assert_within(0.5, np.array([1.5, 2], brain), [mpf(3) / 2, 2 - mpf(2) ** -7])
