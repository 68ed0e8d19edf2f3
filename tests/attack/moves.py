"""What a search does to rows that are bad already, to find worse ones: small and large changes of each kind of array.

`moved(rng, rows, kinds)` changes the rows in place, one array of them in one way. A move of an array takes
(rng, array in float64 or integers, the other arrays) and returns the new array.
"""

import numpy as np
from starts import INDICES, UPSTREAM, consistent, loguniform, option_of


def some(rng, shape):
    """A mask of a share of the entries of each row, of one entry at least."""
    n, c = shape
    mask = rng.random(shape) < loguniform(rng, 0.5 / c, 1, (n, 1))
    mask[np.arange(n), rng.integers(0, c, n)] = True
    return mask


def sizes(rng, n):
    return 10 ** rng.uniform(-8, -0.5, (n, 1))


# ---- Logits, and whatever has any sign -------------------------------------------------------------------------------


def absolute(rng, x, rows):
    return np.where(some(rng, x.shape), x + rng.normal(0, sizes(rng, len(x)), x.shape), x)


def relative(rng, x, rows):
    return np.where(some(rng, x.shape), x * (1 + rng.normal(0, sizes(rng, len(x)), x.shape)), x)


def swap(rng, x, rows):
    """Two classes of each row change places: the tree of the sum sees it, the exact value does not."""
    n, c = x.shape
    i, a, b = np.arange(n), rng.integers(0, c, n), rng.integers(0, c, n)
    x[i, a], x[i, b] = x[i, b], x[i, a]
    return x


def tie(rng, x, rows):
    """One class gets the value of another, or its neighbour in one of the dtypes."""
    n, c = x.shape
    i, a, b = np.arange(n), rng.integers(0, c, n), rng.integers(0, c, n)
    b = np.where(rng.random(n) < 0.5, x.argmax(axis=1), b)
    x[i, a] = x[i, b] * (1 + rng.choice([0, 0, -1, 1], n) * 2.0 ** rng.choice([-7, -10, -23, -52], n))
    return x


def shift_range(rng, x, rows):
    """A range of classes up or down."""
    n, c = x.shape
    first, count = rng.integers(0, c, (n, 1)), rng.integers(1, c + 1, (n, 1))
    inside = (np.arange(c) >= first) & (np.arange(c) < first + count)
    return np.where(inside, x + rng.normal(0, 3, (n, 1)) * 10 ** rng.uniform(-4, 0, (n, 1)), x)


def shift_row(rng, x, rows):
    return x + rng.normal(0, 10, (len(x), 1)) * 10 ** rng.uniform(-6, 0, (len(x), 1))


def scale_row(rng, x, rows):
    return x * (1 + rng.normal(0, sizes(rng, len(x))))


def shift_peak(rng, x, rows):
    """The largest entry against all others."""
    i, k = np.arange(len(x)), x.argmax(axis=1)
    x[i, k] += rng.normal(0, 1, len(x)) * 10 ** rng.uniform(-6, 0.5, len(x))
    return x


def reorder(rng, x, rows):
    """The classes of a range in another order, the same for all rows."""
    c = x.shape[1]
    first = rng.integers(0, c)
    part = np.arange(first, rng.integers(first, c) + 1)
    x[:, part] = x[:, rng.permutation(part)]
    return x


def quantise(rng, x, rows):
    """To a grid, on which many differences and products are exact, or ties."""
    step = 2.0 ** rng.integers(-12, 2)
    return np.where(some(rng, x.shape), np.round(x / step) * step, x)


# ---- Probabilities ---------------------------------------------------------------------------------------------------


def drop(rng, q, rows):
    return np.where(some(rng, q.shape), 0, q)


def mass(rng, q, rows):
    """Some of one class' mass goes to another."""
    n, c = q.shape
    i, a, b = np.arange(n), rng.integers(0, c, n), rng.integers(0, c, n)
    part = q[i, a] * rng.choice([1, 0.5, 0.01], n)
    q[i, a] -= part
    q[i, b] += part
    return q


def normalise(rng, q, rows):
    total = q.sum(axis=1, keepdims=True)
    return q / np.where(total > 0, total, 1)


def towards_softmax(rng, q, rows):
    """Where the two terms of a gradient are equal."""
    if "x" not in rows:
        return q
    gap = rows["x"].astype(np.float64)
    gap -= gap.max(axis=1, keepdims=True)
    p = np.exp(gap)
    p /= p.sum(axis=1, keepdims=True)
    return np.where(some(rng, q.shape), p * (1 + rng.normal(0, sizes(rng, len(q)))), q)


def complement(rng, q, rows):
    return np.where(some(rng, q.shape), 1 - q, q)


def nudged(rng, v, rows):
    return v * (1 + rng.normal(0, 1, len(v)) * sizes(rng, len(v))[:, 0])


def upstream(rng, g, rows):
    return rng.choice(UPSTREAM, len(g))


def weight(rng, v, rows):
    return rng.uniform(0.2, 3, len(v))


def index(rng, y, rows):
    c = rows["x"].shape[1]
    return np.where(rng.random(len(y)) < 0.5, rows["x"].argmax(axis=1), rng.integers(0, c, len(y)))


REALS = (absolute, relative, absolute, relative, swap, tie, shift_range, shift_row, scale_row, shift_peak, reorder,
         quantise)
def no_class(rng, classes, rows):
    return np.where(rng.random(classes.shape) < 0.2, -1, classes)


def other_class(rng, classes, rows):
    """Another class in place of one, which makes it one of the others."""
    n, k = classes.shape
    classes[np.arange(n), rng.integers(0, k, n)] = rng.integers(0, rows["x"].shape[1], n)
    return classes


def listed(rng, values, rows):
    """Up or down together, or by themselves."""
    n, k = values.shape
    return values + np.where(rng.random((n, 1)) < 0.3, 1, rng.normal(0, 1, (n, k))) * rng.normal(0, sizes(rng, n))


ELEMENTS = (absolute, relative, shift_row, quantise)
EVENTS = (relative, relative, drop, complement, quantise)
POSITIVE = (relative, relative, swap, tie, drop, mass, normalise, towards_softmax, reorder)
MOVES = {"logits": REALS, "teacher": REALS, "entries": REALS, "log_probs": REALS, "softmax": POSITIVE,
         "probabilities": POSITIVE, "elements": ELEMENTS, "log_events": ELEMENTS, "events": EVENTS,
         "upstream": (nudged, upstream), "weight": (nudged, weight), "index": (index,),
         "listed classes": (no_class, other_class), "listed values": (listed,)}
# How often an array is moved, against 4 of the others.
OFTEN = {"logits": 6, "upstream": 1.5, "weight": 1.5, "index": 0.3, "listed classes": 0.5}
NOT_POSITIVE = ("log_probs", "log_events")


def moved(rng, rows, kinds):
    names = list(kinds)
    often = np.array([OFTEN.get(kinds[name], 4) for name in names])
    name = names[rng.choice(len(names), p=often / often.sum())]
    kind, array = kinds[name], rows[name]
    move = MOVES[kind][rng.integers(len(MOVES[kind]))]
    wide = array.copy() if kind in INDICES else array.astype(np.float64)
    old = wide.copy()
    with np.errstate(invalid="ignore", over="ignore"):
        new = move(rng, wide, rows)
        new = np.where(np.isnan(new) | (new == np.inf), old, new)
        if kind in NOT_POSITIVE:
            new = np.minimum(new, 0)
        if MOVES[kind] in (POSITIVE, EVENTS):
            new = np.clip(new, 0, 1)
        if kind == "weight":
            new = np.abs(new)
        array[...] = new.astype(array.dtype)
    consistent(rows, kinds)


def crossed(rng, rows, others, kinds):
    """A range of the classes of other rows, in every array that has classes."""
    c = next(rows[name].shape[1] for name in kinds if rows[name].ndim == 2)
    first = rng.integers(0, c)
    part = slice(first, rng.integers(first, c) + 1)
    for name in kinds:
        if rows[name].ndim == 2 and rows[name].shape[1] == c:
            rows[name][:, part] = others[name][:, part]


def moved_shared(rng, shared, names, draw):
    """One of the options of these names drawn anew, or nudged."""
    new = dict(shared)
    name = names[rng.integers(len(names))]
    value = shared[name]
    if rng.random() < 0.4 or value is None or name == "denominator":
        new[name] = draw[name]
    elif isinstance(value, np.ndarray):
        near = value * (1 + rng.normal(0, 1, value.shape) * 10 ** rng.uniform(-7, -0.5))
        new[name] = np.abs(np.where(rng.random(value.shape) < 0.5, near, value)).astype(value.dtype)
    else:
        near = abs(value * (1 + rng.normal() * 10 ** rng.uniform(-8, -0.5)))
        new[name] = min(near, 1.0) if option_of(name).span[1] <= 1 else near
    return new
