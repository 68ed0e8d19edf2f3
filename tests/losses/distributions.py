"""Logits on which accuracy is measured: every way a row is known to go wrong."""

import numpy as np
import support

# Gaps at which exp(-gap) is still representable, so that a loss must not be a false 0.
LARGEST_GAP = {np.float32: 100.0, np.float64: 740.0}


def normal(rng, n, c, dtype):
    return rng.normal(0, 3, (n, c)).astype(dtype)


def uniform(rng, n, c, dtype):
    return rng.uniform(-10, 10, (n, c)).astype(dtype)


def heavy_tailed(rng, n, c, dtype):
    return rng.standard_cauchy((n, c)).astype(dtype)


def confident(rng, n, c, dtype):
    """One class ahead of all others by 0.1 up to the largest gap."""
    x = rng.normal(0, 1, (n, c)).astype(dtype)
    gap = np.geomspace(0.1, LARGEST_GAP[dtype], n).astype(dtype)
    ahead = rng.integers(0, c, n)
    x[np.arange(n), ahead] = 0
    x[np.arange(n), ahead] = x.max(axis=1) + gap
    return x


def constant_tail(rng, n, c, dtype):
    """All classes equal but one: rounding errors of equal terms do not average out."""
    x = np.zeros((n, c), dtype)
    x[np.arange(n), rng.integers(0, c, n)] = rng.uniform(0, 20, n)
    return x


def large_offset(rng, n, c, dtype):
    """A common offset of 1e2 to 1e8: losses depend on differences only."""
    offset = np.geomspace(1e2, 1e8, n)[:, None]
    return (offset * rng.choice([-1, 1], (n, 1)) + rng.normal(0, 3, (n, c))).astype(dtype)


def masked(rng, n, c, dtype):
    """About half of the classes at -inf, never the first."""
    x = rng.normal(0, 3, (n, c)).astype(dtype)
    x[:, 1:][rng.random((n, c - 1)) < 0.5] = -np.inf
    return x


def wide(rng, n, c, dtype):
    """Differences up to the overflow of the dtype."""
    top = 0.9 * float(np.finfo(dtype).max)
    return (rng.uniform(-1, 1, (n, c)) * np.geomspace(1e2, top, n)[:, None]).astype(dtype)


ALL = (normal, uniform, heavy_tailed, confident, constant_tail, large_offset, masked, wide)

# (rows, classes): around lane counts, the small-C path, block ends, several blocks.
SHAPES = ((10, 1), (80, 2), (50, 3), (30, 7), (16, 16), (16, 17), (10, 33), (6, 100), (1, 1025), (1, 2100))
if support.ALL:
    SHAPES += ((40, 2), (40, 3), (30, 7), (24, 16), (24, 17), (16, 33), (8, 100), (1, 1024), (2, 1025), (1, 4099))


def some_rows(rng, dtype):
    """Logits and class indices where any will do."""
    return rng.normal(0, 4, (12, 9)).astype(dtype), rng.integers(0, 9, 12)


def errors_in_common():
    """Pairs of float32 rows of 64 classes, near each other; 63 have one logit, whose rounding errors add up."""
    logits = np.linspace(-1.3, -0.3, 4001, dtype=np.float32)[:, None]
    x, t = (np.pad(np.repeat(logits[some], 63, 1), ((0, 0), (1, 0))) for some in (slice(2500, 2560), slice(2501, 2561)))
    return x, t
