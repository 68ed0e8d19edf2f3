"""Exact results of two distributions: divergences of logits, losses and measures of given probabilities."""

import numpy as np
from double_double import (
    DD,
    LOG_2,
    PHI,
    SCALE,
    exp,
    expm1,
    high,
    log,
    log1p,
    maximum,
    near_0,
    phi,
    series,
    sum_last,
    where,
)
from inputs import DTYPES
from measure import Exact, Relative
from operations import ACCURACY
from reference import Rows, column, cross_entropy, exactly, product, widen

LEAST = {dtype: 1e-18 if dtype == np.float64 else 2e-9 for dtype in DTYPES.values()}  # P3
BETA = ACCURACY["kl_div_with_logits js"][1]["beta"]
ALPHA = ACCURACY["distillation_loss"][1]["alpha"]


def divergences(batch):
    """Values by the terms of phi, none of which is negative; the forward gradient is s (1 - t) - t (1 - s), over T."""
    x, t, temperature = batch.rows["x"], batch.rows["t"], batch.shared["temperature"]
    student, teacher = Rows(x, temperature), Rows(t, temperature)
    per_t = student.per_temperature
    # d = log(t / s), SCALE times. The differences of the gaps first: they are exact, and a factor leaves the digits.
    scaled = (student.at_1 - teacher.at_1) * per_t * SCALE
    scaled = scaled + column(student.scaled_log_total - teacher.scaled_log_total)
    d = scaled * (1 / SCALE)
    s, p = student.softmax, teacher.softmax
    per_scale = per_t * (1 / SCALE)
    first, second = s * teacher.one_minus_softmax * per_scale, p * student.one_minus_softmax * per_scale
    rises, size = high(d) > 0, abs(d)
    e = expm1(-size)
    phi_falls, phi_rises = phi(size, e)
    forward = (sum_last(where(rises, p * phi_rises, s * phi_falls)), first - second, maximum(first, second))
    values = {"forward": forward,
              "reverse": (sum_last(where(rises, p * phi_falls, s * phi_rises)), *centred(s, -scaled, per_t, x.dtype)),
              "js": jensen_shannon(s, p, d, e, scaled, per_t, x.dtype)}
    out = {}
    for name, (value, gradient, scale) in values.items():
        out[f"kl_div_with_logits {name}"] = Exact(value, maximum(value, exactly(SCALE * LEAST[x.dtype], value)))
        out[f"kl_div_with_logits {name} relative"] = Relative(value, LEAST)
        out[f"kl_div_with_logits {name} gradient"] = Exact(gradient, scale)
    return {**out, **distillation(batch, student, forward)}


def centred(s, own, factor, dtype):
    """(gradient, scale): s (own - sum s own) times a factor, of two scaled arrays; logarithms of ratios that are below
    those of the least divergence are measured as these."""
    weighted = s * own * (1 / SCALE)
    inner, size = column(sum_last(weighted)), column(sum_last(abs(weighted)))
    least = exactly(SCALE * np.sqrt(2 * LEAST[dtype]), s)
    factor = factor * (1 / SCALE)  # last: s alone may be too small without its SCALE, and so may the logarithm
    return s * (own - inner) * factor, s * maximum(maximum(abs(own), size), least) * factor


def jensen_shannon(s, p, d, e, scaled, per_t, dtype):
    """Each class adds beta t log(t/m) + (1 - beta) s log(s/m), which near 0 is m times a sum of phi."""
    beta = exactly(BETA, d)
    rest, rises, near = 1.0 - beta, high(d) > 0, near_0(d)
    to_mixture = -log1p(where(rises, rest * e, beta * e))  # log(t / m) where d > 0, log(s / m) elsewhere
    log_t_m, log_s_m = where(rises, to_mixture, d + to_mixture), where(rises, to_mixture - d, to_mixture)
    terms = p * log_t_m * beta + s * log_s_m * rest
    if near.any():
        m, of_t, of_s = p * beta + s * rest, where(near, log_t_m, 0.0), where(near, log_s_m, 0.0)
        terms = where(near, m * (series(PHI, of_t) * beta + series(PHI, of_s) * rest), terms)
    # log(s / m) once more, SCALE times: of a tiny d the digits are in the scaled one
    tiny = high(abs(scaled)) < SCALE * 2.0**-200
    to_mixture = where(tiny, abs(scaled) * where(rises, rest, beta), to_mixture * SCALE)
    gradient = centred(s, where(rises, to_mixture - scaled, to_mixture), rest * per_t, dtype)
    return sum_last(terms), *gradient


def distillation(batch, student, forward):
    """alpha T^2 KL(t || s) + (1 - alpha) cross-entropy at T = 1, over class indices."""
    temperature = batch.shared["temperature"]
    at_1 = student if temperature == 1 else Rows(batch.rows["x"])
    loss, gradient = cross_entropy(at_1, batch.rows["y"])
    alpha, t = exactly(ALPHA, loss), exactly(temperature, loss)
    share, rest = alpha * t * t, 1.0 - alpha
    scale = maximum(forward[2] * share, abs(gradient) * rest)
    value = forward[0] * share + loss * rest
    least = share * (SCALE * LEAST[batch.rows["x"].dtype])
    return {"distillation_loss": Exact(value, maximum(value, least)),
            "distillation_loss gradient": Exact(forward[1] * share + gradient * rest, scale)}


# ---- On given probabilities ------------------------------------------------------------------------------------------


def times(a, b):
    """a * b with 0 * inf = 0, SCALE times."""
    return a * SCALE * where(high(a) == 0, 0.0, b)


def log_of_half(x):
    """Half of a subnormal number may be none."""
    if not isinstance(x, DD):
        return log(x * 0.5)
    tiny = (high(x) > 0) & (high(x) < 2.0**-900)
    return where(tiny, log(where(tiny, x, 1.0)) - LOG_2, log(x * 0.5))


def probabilities(batch):
    p, q, log_p, log_q, g = (widen(batch.rows[name]) for name in ("p", "q", "log_p", "log_q", "g"))
    n, y = np.arange(len(batch)), batch.rows["y"]
    of_log_p, of_log_q = exp(log_p), exp(log_q)
    true = np.zeros(batch.rows["p"].shape, bool)
    true[n, y] = True
    out = {"nll_loss": Exact(-log_p[n, y] * SCALE),
           "nll_loss gradient": Exact(where(true, -SCALE, exactly(np.zeros(true.shape), p)))}

    ln_p, ln_q = log(p), log(q)
    own, other = times(q, ln_q), times(q, log_p)  # terms of kl_div(log_p, q)
    out["kl_div"] = Exact(own - other, maximum(abs(own), abs(other)))
    out["kl_div gradient"] = Exact(-q * SCALE)
    own, other = of_log_q * finite(log_q), of_log_q * finite(log_p)  # and of kl_div(log_p, log_q, log_target=True)
    out["kl_div log_target"] = Exact(own - other, maximum(abs(own), abs(other)))
    out["kl_div log_target gradient"] = Exact(-of_log_q)

    inner, size = sum_last(g * p), sum_last(abs(g * p))
    larger = maximum(abs(g), column(size))
    out["softmax_backward"] = Exact(p * SCALE * (g - column(inner)), p * SCALE * larger)
    total, size = of_log_p * column(sum_last(g)), of_log_p * column(sum_last(abs(g)))
    out["log_softmax_backward"] = Exact(g * SCALE - total, maximum(abs(g) * SCALE, size))

    p_ln_p, p_ln_q = times(p, ln_p), times(p, ln_q)
    out["information.entropy"] = Exact(-sum_last(p_ln_p))
    out["information.cross_entropy"] = Exact(-sum_last(p_ln_q))
    out["information.kl_divergence"] = Exact(
        sum_last(p_ln_p - p_ln_q), sum_last(maximum(abs(p_ln_p), abs(p_ln_q))))
    ln_m = log_of_half(p + q)
    p_ln_m, q_ln_m, q_ln_q = times(p, ln_m), times(q, ln_m), times(q, ln_q)
    out["information.js_divergence"] = Exact(
        sum_last((p_ln_p - p_ln_m) + (q_ln_q - q_ln_m)) * 0.5,
        sum_last(maximum(abs(p_ln_p), abs(p_ln_m)) + maximum(abs(q_ln_q), abs(q_ln_m))) * 0.5)
    return out


def finite(x):
    """-inf, whose exponential is 0, by a number that gives 0 with it."""
    return where(high(x) == -np.inf, 0.0, x)


# ---- Of elements -----------------------------------------------------------------------------------------------------


class Sigmoid:
    """softplus and sigmoid of x and of -x, of the finite numbers in place of infinities."""

    def __init__(self, x):
        x = where(np.abs(high(x)) == np.inf, np.sign(high(x)) * 1e4, x)
        self.positive, size = high(x) >= 0, abs(x)
        e = exp(-size)
        tail = where(high(e) < SCALE * 2.0**-200, e, log1p(e * (1 / SCALE)) * SCALE)
        inverse = exactly(1.0, x) / (e * (1 / SCALE) + 1.0)
        self.large, self.small = inverse * SCALE, e * inverse
        self.high, self.low = size * SCALE + tail, tail

    def softplus(self, sign):
        return where(self.positive == (sign > 0), self.high, self.low)

    def sigmoid(self, sign):
        return where(self.positive == (sign > 0), self.large, self.small)


def binary(batch):
    x, p, y, w, pw = (widen(batch.rows[name]) for name in ("x", "p", "y", "w", "pw"))
    infinite, rest = np.abs(high(x)) == np.inf, 1.0 - y
    s, out = Sigmoid(x), {}
    for name, weight, positive in (("", 1.0, y), (" weighted", w, pw * y)):
        loss = (positive * s.softplus(-1) + rest * s.softplus(1)) * weight
        against = np.where(high(x) > 0, high(rest), high(y)) != 0  # at an infinity the loss is 0 or infinite
        loss = where(infinite, np.where(against, np.inf, 0.0), loss)
        up, down = rest * s.sigmoid(1) * weight, positive * s.sigmoid(-1) * weight
        out[f"binary_cross_entropy_with_logits{name}"] = Exact(loss)
        out[f"binary_cross_entropy_with_logits{name} gradient"] = Exact(up - down, maximum(up, down))
        out[f"binary_cross_entropy_with_logits_gradient_hessian{name}"] = Exact(
            product(s.sigmoid(1), s.sigmoid(-1)) * (weight * (positive + rest)))
    out["sigmoid"] = Exact(s.sigmoid(1))
    out["log_sigmoid"] = Exact(where(high(x) == -np.inf, -np.inf, -s.softplus(-1)))
    not_p = 1.0 - p
    log_p, log_not_p = log(p), log1p(-p)
    floored = [where(high(v) < -100, -100.0, v) for v in (log_p, log_not_p)]
    out["binary_cross_entropy"] = Exact(-(y * floored[0] + rest * floored[1]) * SCALE)
    above, below = rest / not_p * SCALE, y / p * SCALE
    out["binary_cross_entropy gradient"] = Exact(above - below, maximum(above, below))
    return out
