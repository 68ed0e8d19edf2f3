"""Where a search starts: rows of every kind that the promises name, and options that are no powers of two.

`rows(rng, kinds, n, classes, dtype)` and `shared(rng, names, classes, dtype)` are what the search calls. All is drawn
in float64 and rounded to the dtype at the end.
"""

import numpy as np
import operations
from functions import OPTIONS
from operations.random_options import random_number
from oracle.parts import arithmetic

UPSTREAM = (1.0, 1.0, 1 / 3, 1 / 7, 1 / 15, 0.9, 1.3, 1.9, 1.99, -1.7)
LISTED = 8


def loguniform(rng, low, high, shape=None):
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def reach(dtype):
    """How far apart two peaks are of which the lower one still matters; and the largest gap that is promised."""
    return (36, 740) if dtype == np.float64 else (17, 100)


# ---- Logits: each (rng, n, classes, dtype) -> (n, classes) -----------------------------------------------------------


def ordinary(rng, n, c, dtype):
    return rng.normal(0, loguniform(rng, 0.05, 20, (n, 1)), (n, c))


def two_peaks(rng, n, c, dtype):
    """The second peak up to 17 below the first (float64: 36), the others about as far below the second, or near it."""
    far, i = reach(dtype)[0], np.arange(n)
    x = rng.normal(0, loguniform(rng, 0.05, 3, (n, 1)), (n, c))
    x -= x.max(axis=1, keepdims=True) + rng.uniform(0, far, (n, 1)) * rng.integers(0, 2, (n, 1))
    second, gap = rng.uniform(0, 3, n), rng.uniform(0.5, far, n)
    x[i, rng.integers(0, c, n)] = second
    x[i, rng.integers(0, c, n)] = second + gap
    return x


def near_ties(rng, n, c, dtype):
    """2 to 5 classes equal, or apart by few units in the last place, the others below by up to twice the reach."""
    x = rng.normal(0, loguniform(rng, 0.01, 3, (n, 1)), (n, c))
    top = x.max(axis=1) + rng.uniform(0, 2 * reach(dtype)[0], n)
    step = rng.choice([0, 0, 1, 4]) * np.spacing(np.abs(top) + 1) * (1 if dtype == np.float64 else 2.0**29)
    for k in range(rng.integers(2, 6)):
        x[np.arange(n), rng.integers(0, c, n)] = top + k * step
    return x


def confident(rng, n, c, dtype):
    """One class far above the others, up to where results are subnormal and vanish."""
    x = rng.normal(0, loguniform(rng, 0.01, 10, (n, 1)), (n, c))
    x[np.arange(n), rng.integers(0, c, n)] += x.max(axis=1) + rng.uniform(0, 1.05 * reach(dtype)[1], n)
    return x


def at_power_of_two(rng, n, c, dtype):
    """log1p(tail) just below a power of two: there the unit of the result is half that of the sum."""
    x = rng.normal(0, loguniform(rng, 1e-3, 3, (n, 1)), (n, c))
    k = rng.integers(0, c, n)
    x[np.arange(n), k] = -np.inf
    log_total = 2.0 ** rng.integers(-12, 2 + int(np.log2(np.log(c) + 1)), n) * (1 - loguniform(rng, 1e-8, 0.05, n))
    tail = np.exp(x).sum(axis=1)
    with np.errstate(divide="ignore"):
        x += np.log(np.expm1(log_total) / tail)[:, None] if c > 1 else 0
    x[np.arange(n), k] = 0
    return x


def constant_tail(rng, n, c, dtype):
    x = np.zeros((n, c))
    x[np.arange(n), rng.integers(0, c, n)] = rng.uniform(0, reach(dtype)[0] + np.log(c), n)
    return x


ORDINARY = (ordinary,)
LOGITS = (ordinary, two_peaks, two_peaks, near_ties, confident, at_power_of_two, at_power_of_two, constant_tail)


def logits(rng, n, c, dtype, starts=LOGITS):
    parts = [start(rng, m, c, dtype) for start, m in zip(starts, shares(rng, n, len(starts)), strict=True) if m]
    x = np.concatenate(parts)
    if starts == ORDINARY:
        return x
    masked = rng.random((n, c)) < np.where(rng.random((n, 1)) < 0.1, rng.random((n, 1)), 0)
    masked[np.arange(n), x.argmax(axis=1)] = False
    x[masked] = -np.inf
    return x + np.where(rng.random((n, 1)) < 0.15, loguniform(rng, 1, 1e4, (n, 1)) * rng.choice([-1, 1], (n, 1)), 0)


def listed_classes(rng, n, c):
    """Some classes of each row, a few of them twice, and -1 for none."""
    found = np.argsort(rng.random((n, c)), axis=1)[:, :min(c, LISTED)]
    if found.shape[1] > 1:
        found[:, 0] = np.where(rng.random(n) < 0.1, found[:, 1], found[:, 0])
    return np.where(rng.random(found.shape) < rng.choice([0, 0.5]), -1, found)


def listed_values(rng, x, classes):
    """Log-probabilities of a teacher near the student, or of its own."""
    n, k = classes.shape
    own = log_softmax(x)[np.arange(n)[:, None], classes] + rng.normal(0, loguniform(rng, 1e-6, 1, (n, 1)), (n, k))
    other = np.log(rng.dirichlet(np.ones(k), n) + 1e-30) + np.log(rng.uniform(0.01, 0.9, (n, 1)))
    return np.where(rng.random((n, 1)) < 0.5, np.maximum(own, -700), other)


def shares(rng, n, parts):
    """n in so many whole numbers, as equal as may be."""
    return np.diff(np.arange(parts + 1) * n // parts)


# ---- The other kinds of arrays ---------------------------------------------------------------------------------------


def log_softmax(x):
    gap = x - x.max(axis=1, keepdims=True)
    return gap - np.log(np.exp(gap).sum(axis=1, keepdims=True))


def probabilities(rng, x, dtype):
    """Dirichlet, one-hot, half and half at the two largest logits, the softmax itself or near it, some entries 0."""
    n, c = x.shape
    order = np.argsort(x, axis=1)
    best, second, i = order[:, -1], order[:, -min(2, c)], np.arange(n)
    q = np.empty((n, c))
    kind = rng.integers(0, 7, n)
    for k, alpha in enumerate((0.1, 1, 5)):
        q[kind == k] = rng.dirichlet(np.full(c, alpha), int((kind == k).sum()))
    q[kind == 3] = 0
    share = np.where(rng.random(n) < 0.5, 0.5, rng.random(n)) * (rng.random(n) < 0.7)
    split = kind == 3
    q[i[split], best[split]] = share[split]
    q[i[split], second[split]] += 1 - share[split]
    q[kind == 4] = np.exp(log_softmax(x[kind == 4]))
    near = log_softmax(x[kind == 5]) + rng.normal(0, loguniform(rng, 1e-6, 1), (int((kind == 5).sum()), c))
    q[kind == 5] = np.exp(np.minimum(near, 0))
    q[kind == 6] = rng.dirichlet(np.ones(c), int((kind == 6).sum())) * (rng.random((int((kind == 6).sum()), c)) < 0.5)
    q[np.isneginf(x)] = 0
    return q


def targets(rng, x):
    """The likeliest class most often, the second one, any."""
    n, c = x.shape
    order, kind = np.argsort(x, axis=1), rng.random(n)
    return np.where(kind < 0.6, order[:, -1], np.where(kind < 0.8, order[:, -min(2, c)], rng.integers(0, c, n)))


def teacher(rng, x, dtype, starts):
    """Near the student, or of its own."""
    near = x + rng.normal(0, loguniform(rng, 1e-6, 3, (len(x), 1)), x.shape)
    return np.where(rng.random((len(x), 1)) < 0.6, near, logits(rng, *x.shape, dtype, starts))


def upstream(rng, n):
    return np.where(rng.random(n) < 0.5, rng.choice(UPSTREAM, n), rng.uniform(0.2, 3, n))


def entries(rng, n, c):
    """Upstream gradients: of one sign, of both, few of them large."""
    g = rng.normal(0, 1, (n, c)) + rng.choice([0, 3], (n, 1))
    return g * np.exp(rng.normal(0, 1, (n, c)) * rng.choice([0, 2], (n, 1)))


def elements(rng, n, dtype):
    """Logits of events: near 0, ordinary, up to where results vanish."""
    x = rng.normal(0, loguniform(rng, 1e-4, 30, (n, 1)), (n, 1))
    return np.where(rng.random((n, 1)) < 0.3, rng.uniform(-1.05, 1.05, (n, 1)) * reach(dtype)[1], x)


def events(rng, n):
    """Probabilities: any, small ones, near 1, 0 and 1."""
    p = np.where(rng.random((n, 1)) < 0.5, rng.random((n, 1)), loguniform(rng, 1e-12, 1, (n, 1)))
    return np.where(rng.random((n, 1)) < 0.15, rng.integers(0, 2, (n, 1)), np.where(rng.random((n, 1)) < 0.3, 1 - p, p))


def consistent(rows, kinds):
    """A class is impossible for all arrays of a row or for none, so that losses are finite.

    Listed probabilities leave a tenth to the other classes: what they leave is a difference, which is known to 2^-57.
    Their loss is infinite wherever a class is impossible.
    """
    if "listed_values" in rows:
        rows["x"][np.isneginf(rows["x"])] = 0
        values = rows["listed_values"].astype(np.float64)
        total = np.where(rows["listed_classes"] < 0, 0, np.exp(np.minimum(values, 0))).sum(axis=1, keepdims=True)
        excess = np.where(total > 0.9, np.log(np.maximum(total, 0.9) / 0.89), 0)
        rows["listed_values"][...] = np.minimum(values, 0) - excess
    if kinds.get("x") != "logits":
        return
    masked = np.isneginf(rows["x"])
    if kinds.get("q") == "probabilities":
        rows["q"][masked] = 0
    if kinds.get("t") == "teacher":
        possible = np.isneginf(rows["t"]) & ~masked
        rows["t"][possible] = rows["x"][possible]
        rows["t"][masked] = -np.inf


INDICES = ("index", "listed classes")


def rows(rng, kinds, n, classes, dtype, starts=LOGITS):
    """{name: array} of n rows; `kinds` is {name: kind}."""
    found = {}
    x = logits(rng, n, classes, dtype, starts) if classes > 1 else None
    draw = {
        "logits": lambda: x, "log_probs": lambda: log_softmax(x), "teacher": lambda: teacher(rng, x, dtype, starts),
        "probabilities": lambda: probabilities(rng, x, dtype), "softmax": lambda: np.exp(log_softmax(x)),
        "index": lambda: targets(rng, x), "upstream": lambda: upstream(rng, n),
        "weight": lambda: rng.uniform(0.2, 3, n), "entries": lambda: entries(rng, n, classes),
        "elements": lambda: elements(rng, n, dtype), "events": lambda: events(rng, n),
        "log_events": lambda: -np.abs(elements(rng, n, dtype)),
        "listed classes": lambda: listed_classes(rng, n, classes),
        "listed values": lambda: listed_values(rng, x, found["listed_classes"]),
    }
    for name, kind in kinds.items():
        of_results = arithmetic(np.dtype(dtype)) if kind in ("upstream", "weight") else dtype
        with np.errstate(over="ignore", invalid="ignore"):
            found[name] = draw[kind]().astype(np.int64 if kind in INDICES else of_results)
    consistent(found, kinds)
    return found


def shared(rng, names, classes, dtype):
    """What all rows of a batch have, by name."""
    def drawn(name):
        if name == "w":
            return rng.uniform(0.2, 3, classes).astype(arithmetic(np.dtype(dtype)))
        return None if name == "denominator" and rng.random() < 0.25 else random_number(rng, option_of(name))

    return {name: drawn(name) for name in names}


def option_of(name):
    """The entry of the library's option in the registry."""
    return operations.OPTIONS[OPTIONS.get(name, name)]
