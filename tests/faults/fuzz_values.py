"""Random values of each kind of argument. `random` draws single choices, `rng` (NumPy's) arrays.

Logits stay so close together that exp(-gap / T) is far from float64's least number at every temperature drawn: the
references are then accurate without care. In some calls a few of them are infinite or NaN. The others then lie closer
together: beside an infinite divergence a gradient entry is infinite, but 0 where its probability underflows in float32.
"""

import numpy as np

INTEGERS = tuple(np.dtype(f"{sign}{size}") for sign in "iu" for size in (1, 2, 4, 8))
SPECIAL = (-np.inf, -np.inf, -np.inf, np.inf, np.nan)


def sprinkle(random, rng, x):
    """A few infinities and NaN into x, a float64 array, and perhaps a whole row of them along some axis."""
    if not x.size:
        return
    for _ in range(random.randint(1, 4)):
        x.flat[random.randrange(x.size)] = random.choice(SPECIAL)
    if x.ndim and random.random() < 0.3:
        axis = random.randrange(x.ndim)
        x.swapaxes(0, axis)[random.randrange(x.shape[axis])] = -np.inf


def logits(random, rng, shape, special):
    x = np.clip(rng.standard_normal(shape) * random.choice((0.01, 1) if special else (0.01, 1, 4, 12)), -50, 50)
    x = np.asarray(x + (random.choice((-300, 100, 1000)) if random.random() < 0.2 else 0))
    if special:
        sprinkle(random, rng, x)
    return x


def near(random, rng, x, special):
    """Logits of a teacher: those of the student, or close to them, or others."""
    how = random.random()
    if how < 0.1:
        return np.array(x, copy=True)
    if how < 0.3:
        return np.asarray(x + rng.standard_normal(x.shape) * 0.03)
    return logits(random, rng, x.shape, special)


def probabilities(random, rng, shape, axis):
    """In [0, 1], with some 0 and 1; along `axis` mostly of sum 1."""
    p = rng.random(shape)**random.choice((1, 8))
    p = np.where(rng.random(shape) < random.choice((0, 0, 0.2)), 0, p)
    if axis is not None and random.random() < 0.8:
        total = p.sum(axis=axis, keepdims=True)
        return p / np.where(total == 0, 1, total)
    return np.where(rng.random(shape) < random.choice((0, 0, 0.2)), 1, p)


def log_probabilities(random, rng, shape, axis, special):
    with np.errstate(divide="ignore"):
        x = np.log(probabilities(random, rng, shape, axis))
    x = np.asarray(np.where(np.isneginf(x), -40, x))
    if special:
        sprinkle(random, rng, x)
    return x


def numbers_of(dtype):
    """The range of an integer dtype."""
    limits = np.iinfo(dtype)
    return range(int(limits.min), int(limits.max) + 1)


def classes(rng, shape, count, dtype):
    """Class indices in [0, count), as far as `dtype` goes; 0 where there are no classes."""
    return rng.integers(0, max(min(count, numbers_of(dtype).stop), 1), shape).astype(dtype)


def weights(random, rng, shape, signed):
    w = rng.random(shape) * 3
    if signed and random.random() < 0.3:
        w = np.asarray(w - random.choice((0.3, 6)))  # some of them negative, or all
    return np.where(rng.random(shape) < random.choice((0, 0.2)), 0, w)


def upstream(random, rng, shape):
    g = rng.standard_normal(shape) * random.choice((1, 1, 100))
    return np.where(rng.random(shape) < random.choice((0, 0, 0.2)), 0, g)


def broadcastable(random, shape):
    """A shape that broadcasts to `shape`."""
    if random.random() < 0.6:
        return shape
    kept = tuple(1 if random.random() < 0.4 else n for n in shape)
    return kept[random.randint(0, len(kept)):]


LENGTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130, 255, 256, 257, 300)


def length(random, most):
    """Of an axis: 0 at times, mostly short, often beside a power of 2, at most 300."""
    if random.random() < 0.02:
        return 0
    n = random.choice((random.randint(1, 8), random.randint(1, 40), random.randint(1, 300), random.choice(LENGTHS)))
    return min(n, most)


def class_count(random):
    """As `length`, and now and then beyond a block of 1024 classes."""
    if random.random() < 0.03:
        return random.choice((random.randint(1020, 1030), random.randint(1000, 1400), random.randint(2045, 2060), 2500))
    return length(random, 300)


def shape_of(random, by_rows):
    """A shape of up to 4 axes, and which of them has the classes: None, unless there are rows of classes."""
    axes = random.choices((0, 1, 2, 3, 4), (0 if by_rows else 1, 3, 6, 3, 1))[0]
    left = random.choices((400, 3000, 20000, 80000), (50, 35, 12, 3))[0]  # elements
    shape, order = [0] * axes, random.sample(range(axes), axes)
    axis = order[0] if by_rows else None
    for a in order:
        shape[a] = class_count(random) if a == axis else length(random, max(left, 1))
        left //= max(shape[a], 1)
    return tuple(shape), axis


def rows_shape(shape, axis, keepdims):
    return shape[:axis] + ((1,) if keepdims else ()) + shape[axis + 1:]
