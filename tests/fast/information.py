"""Measures of information of rows of probabilities: (values, scales), the sizes of the terms where these cancel."""

from .double_double import DD, LOG_2, SCALE, high, log, log1p, maximum, sum_last, where
from .parts import like, times


def scaled(a, b):
    """a b with 0 * inf = 0, SCALE times."""
    return times(a * SCALE, b)


def in_base(p, base, values, scales):
    if base is None:
        return values, scales
    nats = like(p, 1.0) / log(like(p, base))
    return values * nats, scales * abs(nats)


def entropy(p, *, base=None):
    terms = scaled(p, log(p))
    return in_base(p, base, -sum_last(terms), sum_last(abs(terms)))


def cross_entropy(p, q, *, base=None):
    terms = scaled(p, log(q))
    return in_base(p, base, -sum_last(terms), sum_last(abs(terms)))


def kl_divergence(p, q, *, base=None):
    own, other = scaled(p, log(p)), scaled(p, log(q))
    return in_base(p, base, sum_last(own - other), sum_last(maximum(abs(own), abs(other))))


def js_divergence(p, q, *, base=None):
    near_1 = log1p(((p - 1.0) + (q - 1.0)) * 0.5)  # the rounding of p + q would be an error of its logarithm
    log_m = where(high(p + q) > 1, near_1, log_of_half(p + q))
    pairs = [(scaled(x, log(x)), scaled(x, log_m)) for x in (p, q)]
    (p_own, p_other), (q_own, q_other) = pairs
    return in_base(p, base, sum_last((p_own - p_other) + (q_own - q_other)) * 0.5,
                   sum_last(sum(maximum(abs(own), abs(other)) for own, other in pairs)) * 0.5)


def log_of_half(x):
    """Half of a subnormal number may be none."""
    if not isinstance(x, DD):
        return log(x * 0.5)
    tiny = (high(x) > 0) & (high(x) < 2.0**-900)
    return where(tiny, log(where(tiny, x, 1.0)) - LOG_2, log(x * 0.5))
