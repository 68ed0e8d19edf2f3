"""A short search for rows and options whose errors are above the bars: saturated logits, near ties after the bias, huge
biases, tiny and large temperatures, masked classes, logits next to overflow. tests/fast judges.

Rows whose logits are made in float64 from float32 numbers give the exact result rounded once: 0.5 units and what is
left of the errors of float64. Results of float64 logits have the bars of these, at what the rounding of logits moves.
"""

import fast
import numpy as np
import operations
import pytest
from fast.double_double import SCALE, high
from oracle.parts import arithmetic

LIMITS = {np.dtype(np.float32): 0.51, np.dtype(np.float64): 4}
FORM = next(form for form in operations.FORMS if form.name == "cross_entropy_transformed")
ROWS, ROUNDS = 400, 12


def some_rows(rng, dtype, classes, softcap, bias):
    """Of each kind as many: ordinary, saturated, near ties in z, near overflow, masked, on a lattice."""
    x = rng.normal(0, rng.choice([0.1, 3, 30], (ROWS, 1)), (ROWS, classes))
    kind = rng.integers(0, 6, ROWS)
    c = softcap or 30.0
    largest = 1e-110 if softcap is None and dtype == np.float64 else 1  # the judge has 2^256 times all losses
    x[kind == 1] *= c * 10.0 ** rng.uniform(-2, 3, (ROWS, 1))[kind == 1]
    if bias is not None:
        shift = np.where(np.isfinite(bias), bias, 0) + rng.normal(0, 1e-6, x.shape)
        x[kind == 2] = np.clip(-shift, -0.99 * c, 0.99 * c)[kind == 2]
        if softcap:
            x[kind == 2] = c * np.arctanh(x[kind == 2] / c)
    x[kind == 3] = rng.uniform(-0.9, 0.9, x.shape)[kind == 3] * float(np.finfo(dtype).max) * largest
    x[(kind == 4)[:, None] & (rng.random(x.shape) < 0.3)] = -np.inf if softcap is None else -1e30
    x[kind == 5] = np.round(x)[kind == 5]
    return x.astype(dtype)


def errors(actual, value, scale):
    """ULP of the scale; infinite results are to be the same."""
    info = np.finfo(actual.dtype)
    with np.errstate(all="ignore"):
        off = abs(high(value - actual.astype(np.float64) * SCALE)) / SCALE
        at = np.maximum(abs(high(scale)) / SCALE, float(info.smallest_subnormal))
        unit = np.maximum(np.exp2(np.floor(np.log2(at)) - info.nmant), float(info.smallest_subnormal))
        value = high(value) / SCALE
        is_large = ~(abs(value) < 0.999 * float(info.max))  # or NaN
        both_nan, overflows = np.isnan(value) & np.isnan(actual), np.isinf(actual) & (abs(value) > info.max / 2)
        same = (value == actual) | both_nan | overflows
        return np.where(is_large, np.where(same, 0, np.inf), off / unit)


def measured(x, y, temperature, options):
    """(error of the loss, largest error of the gradient) of each row."""
    options = {**options, "temperature": temperature}
    loss, grad = FORM.function(x, y, reduction="none", return_grad=True, **options)
    with np.errstate(all="ignore"):
        parts = FORM.fast((x, y), options)
        (value, size), (gradient, scale) = fast.value(parts), fast.gradient(parts)
        if arithmetic(x.dtype) == np.float32:  # at the exact value
            size, scale = value, gradient
    return errors(loss, value, size), errors(grad, gradient, scale).max(axis=1)


def moved(rng, x, y, t):
    """Rows beside these: some entries a little off, a class more on top, another temperature or target."""
    x, y, t = x.copy(), y.copy(), t.copy()
    entries = rng.random(x.shape) < 2 / x.shape[1]
    how = rng.integers(0, 4, x.shape)
    with np.errstate(all="ignore"):
        above = np.where(np.isinf(x), x, np.nextafter(x, x.dtype.type(np.inf)))
        for k, other in enumerate((above, x * x.dtype.type(1.01), x + x.dtype.type(0.3), np.roll(x, 1, axis=0))):
            x = np.where(entries & (how == k), other, x)
    t = np.where(rng.random(len(t)) < 0.3, t * np.exp(rng.normal(0, 0.3, len(t))), t)
    y = np.where(rng.random(len(y)) < 0.2, rng.integers(0, x.shape[1], len(y)), y)
    return x, y, t


def biases(rng, classes, kind):
    if kind == "none":
        return None
    bias = rng.normal(0, {"usual": 3, "huge": 1e6, "masked": 3}[kind], classes)
    if kind == "masked":
        bias[rng.random(classes) < 0.3] = -np.inf
        bias[0] = 0
    return bias


def search(rng, dtype, classes, options):
    """The largest errors of a loss and of a gradient entry."""
    softcap, bias = options.get("softcap"), options.get("logit_bias")
    x, y = some_rows(rng, dtype, classes, softcap, bias), rng.integers(0, classes, ROWS)
    t, worst = np.exp(rng.uniform(-4, 4, ROWS)), np.zeros(2)
    for _ in range(ROUNDS):
        found = measured(x, y, t, options)
        worst = np.maximum(worst, [part.max() for part in found])
        best = np.argsort(-np.maximum(*found))[:ROWS // 8]
        kept = [a[best] for a in (x, y, t)]
        more = [moved(rng, *kept) for _ in range(7)]
        x, y, t = (np.concatenate(parts) for parts in zip(kept, *more, strict=True))
    return worst


@pytest.mark.parametrize("bias", ["none", "usual", "huge", "masked"])
@pytest.mark.parametrize("softcap", [None, 1e-3, 3.0, 50.0])
@pytest.mark.parametrize("classes", [3, 40])
def test_no_row_is_above_the_bars(classes, softcap, bias, dtype):
    rng = np.random.default_rng([classes, int(1000 * (softcap or 0)), len(bias)])
    options = {name: value for name, value in (("softcap", softcap), ("logit_bias", biases(rng, classes, bias)))
               if value is not None}
    loss, gradient = search(rng, dtype, classes, options)
    assert max(loss, gradient) <= LIMITS[np.dtype(dtype)], (loss, gradient)
