"""The fast references against mpmath: the arithmetic on its own, then every formula on every distribution and dtype.

An error is allowed 2^-9 of the unit that the harness measures in, so that what it reports is right to 0.002 ULP.
"""

import double_double as dd
import inputs
import mpmath
import numpy as np
import oracle
import oracle.divergence
import oracle.hessian
import pytest
import reference
import reference_pairs
from crossent_calls import measured
from double_double import DD, SCALE
from measure import Sum
from mpmath import mp, mpf
from pieces import REFERENCES
from summaries import result_dtype

ALLOWED = mpf(2) ** -9
SHAPES = ((9, 2), (5, 7), (1, 40))  # rows, classes


# ---- The arithmetic --------------------------------------------------------------------------------------------------


def pair(rng, hi):
    return DD(hi, hi * 2.0**-54 * rng.uniform(-1, 1, hi.shape))


def number(x):
    """The object array of mpmath numbers that x holds."""
    return oracle.exact(x.hi) + oracle.exact(x.lo) if isinstance(x, DD) else oracle.exact(x)


def assert_relative(actual, wanted, bits):
    for a, w in zip(number(actual).ravel(), np.ravel(wanted), strict=True):
        assert abs(a - w) <= abs(w) * mpf(2) ** -bits, (a, w)


@pytest.mark.parametrize("size", [1e-12, 1e-6, 2**-10, 1e-3, 2**-6, 0.5, 5, 80, 290])
def test_exponentials(size, rng):
    h = rng.uniform(-size, size, 100)
    x = pair(rng, h)
    exact = number(x)
    assert_relative(dd.exp(x), [mp.exp(v) * SCALE for v in exact], 94)
    assert_relative(dd.expm1(x), [mpmath.expm1(v) for v in exact], 84)
    for a, bits in ((abs(x), 61), (abs(h), 38)):
        exact = number(a)
        falls, rises = dd.phi(a, dd.expm1(-a))
        assert_relative(falls, [1 - mp.exp(-v) * (1 + v) for v in exact], bits)
        assert_relative(rises, [mp.exp(-v) - 1 + v for v in exact], bits)
        z = -a if size < 2**-10 else -a * 1e-6
        assert_relative(dd.series(dd.PHI, z), [mp.exp(v) * (v - 1) + 1 for v in number(z)], bits)
    positive = pair(rng, np.exp(h) * size)
    assert_relative(dd.log(positive), [mp.log(v) for v in number(positive)], 84)
    assert_relative(dd.log1p(positive), [mpmath.log1p(v) for v in number(positive)], 84)
    negative = pair(rng, -rng.uniform(0, min(size, 0.99), 100))
    assert_relative(dd.log1p(negative), [mpmath.log1p(v) for v in number(negative)], 84)


def test_exponentials_keep_their_digits_where_float64_has_none(rng):
    x = pair(rng, rng.uniform(-855, -700, 100))
    assert_relative(dd.exp(x), [mp.exp(v) * SCALE for v in number(x)], 94)
    assert dd.exp(DD(np.array([-np.inf, -1e5]))).hi.max() < SCALE * 2.0**-1074 * 2.0**-160
    assert dd.log(DD(np.array([0.0]))).hi == -np.inf
    least = DD(np.array([5e-324, 1e-310]))
    assert_relative(dd.log(least), [mp.log(v) for v in number(least)], 84)


def test_products_quotients_and_sums(rng):
    a, b = (pair(rng, rng.normal(0, 1, 200)) for _ in range(2))
    assert_relative(a * b, number(a) * number(b), 104)
    assert_relative(a / b, number(a) / number(b), 102)
    assert_relative(a + b, number(a) + number(b), 100)
    assert_relative(3.0 - a, 3 - number(a), 100)
    for c in (1, 2, 7, 1000):
        many = pair(rng, rng.uniform(0, 1, (3, c)))
        assert_relative(dd.sum_last(many), [mp.fsum(row) for row in number(many)], 100)


# ---- The formulas ----------------------------------------------------------------------------------------------------


def exact_losses(family, batch):
    """(name, values, scales) of the losses of the registry and their gradients."""
    for name, form, arrays, options in measured(family, batch):
        [part] = form.exact(arrays, options)
        yield name, part.losses, part.loss_scales
        yield f"{name} gradient", part.gradients, part.scales


def exact_logits(batch):
    x, g = batch.rows["x"], batch.rows["g"]
    rows = [oracle.Row(row, batch.shared["temperature"]) for row in x]
    yield "softmax", [row.softmax() for row in rows], None
    yield "log_softmax", [row.log_softmax() for row in rows], None
    yield from exact_losses("logits", batch)
    if batch.shared["temperature"] != 1:
        return
    yield "logsumexp", [row.logsumexp() for row in rows], [row.log_total for row in rows]
    yield "logsumexp_backward", [row.softmax() * u for row, u in zip(rows, oracle.exact(g), strict=True)], None
    yield "entropy_with_logits", [oracle.divergence.entropy_with_logits(row) for row in x], None


def exact_divergences(batch):
    x, t, y, temperature = *(batch.rows[name] for name in "xty"), batch.shared["temperature"]
    for name in oracle.divergence.DIVERGENCES:
        value, gradient, scale = oracle.divergence.kl_div_rows(
            x, t, temperature=temperature, divergence=name, beta=reference_pairs.BETA)
        yield f"kl_div_with_logits {name}", value, np.maximum(value, mpf(reference_pairs.LEAST[x.dtype]))
        yield f"kl_div_with_logits {name} relative", value, None
        if name != "forward":
            student = np.array([oracle.Row(row, temperature).softmax() for row in x])
            factor = (1 - mpf(reference_pairs.BETA) if name == "js" else 1) / mpf(temperature)
            scale = np.maximum(scale, student * factor * mpf(np.sqrt(2 * reference_pairs.LEAST[x.dtype])))
        yield f"kl_div_with_logits {name} gradient", gradient, scale
        if name == "forward":
            alpha = mpf(reference_pairs.ALPHA)
            share, rest = alpha * mpf(temperature) ** 2, 1 - alpha
            own, _ = oracle.cross_entropy_grad(x, y)
            loss = value * share + oracle.cross_entropy_rows(x, y) * rest
            yield "distillation_loss", loss, np.maximum(loss, mpf(reference_pairs.LEAST[x.dtype]) * share)
            yield ("distillation_loss gradient", gradient * share + own * rest,
                   np.maximum(scale * share, abs(own) * rest))


def exact_hessians(batch):
    x, y, q, v, w = *(batch.rows[name] for name in "xyqv"), batch.shared["w"]
    smoothed = {"weight": w, "sample_weight": v, "label_smoothing": reference.SMOOTHING}
    for name, target, options in (("", y, {}), (" probabilities", q, {}), (" smoothed", y, smoothed),
                                  (" scaled", y, {"hessian_scale": reference.HESSIAN_SCALE})):
        yield f"cross_entropy_gradient_hessian{name}", *oracle.hessian.cross_entropy(x, target, **options)


def exact_binary(batch):
    yield from exact_losses("binary", batch)
    x, y, w, pw = (batch.rows[name] for name in ("x", "y", "w", "pw"))
    for name, weights in (("", ()), (" weighted", (w, pw))):
        yield (f"binary_cross_entropy_with_logits_gradient_hessian{name}",
               *oracle.hessian.binary_cross_entropy_with_logits(x, y, *weights))
    exact = oracle.exact(x).ravel()
    yield "sigmoid", [oracle.binary.sigmoid(v) for v in exact], None
    yield "log_sigmoid", [-oracle.binary.softplus(-v) for v in exact], None


def exact_probabilities(batch):
    p, q, log_p, g = (batch.rows[name] for name in ("p", "q", "log_p", "g"))
    yield from exact_losses("probabilities", batch)
    for name, first in (("softmax_backward", p), ("log_softmax_backward", log_p)):
        yield name, *zip(*(getattr(oracle, name)(a, b) for a, b in zip(g, first, strict=True)), strict=True)
    for name in ("entropy", "information_cross_entropy", "kl_divergence", "js_divergence"):
        given = (p,) if name == "entropy" else (p, q)
        exact = [getattr(oracle.divergence, name)(*row) for row in zip(*given, strict=True)]
        yield f"information.{name.removeprefix('information_')}", *zip(*exact, strict=True)


def beside_power(z):
    """A power of two as far as float64 can tell: measured in the spacing below it."""
    return z == 0 or abs(mp.frexp(abs(z))[0] - mpf(1) / 2) < mpf(2) ** -50


EXACT = {"logits": exact_logits, "hessians": exact_hessians, "divergences": exact_divergences, "binary": exact_binary,
         "probabilities": exact_probabilities}
CASES = [(family, name) for family in EXACT for name in inputs.distributions(family)]


@pytest.mark.parametrize("dtype", inputs.DTYPES.values(), ids=str)
@pytest.mark.parametrize(("family", "distribution"), CASES)
def test_formulas(family, distribution, dtype):
    for n, c in SHAPES:
        batch = inputs.draw(family, distribution, dtype, c, n, 0)
        fast, seen = REFERENCES[family](batch), set()
        for name, wanted, scale in EXACT[family](batch):
            seen.add(name)
            result = result_dtype(name, dtype.name)
            wanted, got = np.ravel(np.array(list(wanted), dtype=object)), number(fast[name].value).ravel()
            unit = np.ravel(fast[name].unit(result))
            scale = wanted if scale is None else np.ravel(np.array(list(scale), dtype=object))
            for k, (a, w) in enumerate(zip(got, wanted, strict=True)):
                if mp.isinf(w):
                    assert a == w
                    continue
                assert abs(a - w * SCALE) <= ALLOWED * unit[k], (name, k)
                if name.endswith("relative"):
                    continue
                one, beside = oracle.ulp(scale[k], result) * SCALE, beside_power(scale[k])
                if isinstance(fast[name], Sum):
                    one, beside = one + oracle.ulp(w, result) * SCALE / 4, beside or beside_power(w)
                assert (0.5 if beside else 1 - 1e-15) <= unit[k] / one <= 1 + 1e-15, (name, k)
        assert seen == set(fast)


def test_half_of_a_subnormal_number():
    """(p + q) / 2 of js_divergence has a bit more than p + q has room for."""
    least = 2.0**-1074
    for x in (3 * least, 8001 * least, 2.0**-950, 0.75):
        got = reference_pairs.log_of_half(DD(np.array([x])))
        assert_relative(got, [mp.log(mpf(x) / 2)], 90)
