"""What accuracy is measured on: every distribution in every dtype, drawn by name, number of classes and of batch."""

import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np

# All scripts of this folder import this file before they need the registry, tests/operations.
sys.path.append(str(Path(__file__).resolve().parents[1]))

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = {"float16": np.dtype(np.float16), "bfloat16": BFLOAT16, "float32": np.dtype(np.float32),
          "float64": np.dtype(np.float64)}
FINFO = {dtype: ml_dtypes.finfo(dtype) for dtype in DTYPES.values()}
TEMPERATURES = (0.1, 2.0, 1 / 3, 20.0, 0.7, 7.0, 0.5, 3.0, 10.0)

# Rows for each number of classes. A million up to 128 classes.
FULL = {2: 500_000, 3: 250_000, 10: 170_000, 17: 60_000, 100: 10_000, 128: 10_000, 32_000: 1_000, 1_000_000: 5}
SHORT = {2: 3000, 3: 1500, 10: 800, 17: 400, 128: 100, 1025: 10, 5000: 2}
BATCH = 2**18  # entries, at least one row


def arithmetic(dtype):
    """What rows of `dtype` are computed in, and the dtype of their losses."""
    return DTYPES["float64" if dtype == np.float64 else "float32"]


# ---- Distributions: (rng, at, c, dtype) to float64 rows, `at` in [0, 1) saying where in its range each row is --------


def normal(rng, at, c, dtype):
    return rng.normal(0, 3, (len(at), c))


def uniform(rng, at, c, dtype):
    return rng.uniform(-10, 10, (len(at), c))


def heavy_tailed(rng, at, c, dtype):
    largest = float(FINFO[dtype].max)
    return np.clip(rng.standard_cauchy((len(at), c)), -largest, largest)


def confident(rng, at, c, dtype):
    """One class ahead by 0.1 to 100, in float64 to 740."""
    x = rng.normal(0, 1, (len(at), c))
    rows, first = np.arange(len(at)), rng.integers(0, c, len(at))
    x[rows, first] = -np.inf
    x[rows, first] = x.max(axis=1) + 0.1 * (7400 if dtype == np.float64 else 1000) ** at
    return x


def constant_tail(rng, at, c, dtype):
    """All classes but one are equal, the one -5 to 30 above: errors of equal terms do not average out."""
    x = np.zeros((len(at), c))
    x[np.arange(len(at)), rng.integers(0, c, len(at))] = 35 * at - 5
    return x


def large_offset(rng, at, c, dtype):
    """A common offset of 1e2 to 1e8, in float16 to 6e4."""
    offset = 10 ** (2 + (2.77 if dtype == np.float16 else 6) * at) * rng.choice([-1, 1], len(at))
    return rng.normal(0, 3, (len(at), c)) + offset[:, None]


def masked(rng, at, c, dtype):
    """Half of the classes at -inf, never the first."""
    x = rng.normal(0, 3, (len(at), c))
    x[:, 1:][rng.integers(0, 2, (len(at), c - 1), dtype=bool)] = -np.inf
    return x


# Gaps at which the second probability is subnormal.
SUBNORMAL = {"float16": (9.7, 17.4), "bfloat16": (87.0, 93.0), "float32": (87.0, 104.0), "float64": (708.0, 745.5)}


def subnormal(rng, at, c, dtype):
    """One class so far ahead that the others' probabilities, and the loss, are subnormal."""
    x = -rng.uniform(*SUBNORMAL[dtype.name], (len(at), c))
    x[np.arange(len(at)), rng.integers(0, c, len(at))] = 0
    return x


def ascending(rng, at, c, dtype):
    return np.sort(normal(rng, at, c, dtype), axis=1)


def descending(rng, at, c, dtype):
    return ascending(rng, at, c, dtype)[:, ::-1]


def near_maxima(rng, at, c, dtype):
    """Half of the classes within 3 units in the last place of the largest."""
    spacing = 4 * float(FINFO[dtype].eps)
    near = 4 + spacing * rng.integers(0, 4, (len(at), c))
    return np.where(rng.integers(0, 2, (len(at), c), dtype=bool), near, rng.uniform(-9, 4, (len(at), c)))


def needle(rng, at, c, dtype):
    """One maximum among tiny terms, whose sum is from C down to C e^-25."""
    x = rng.normal(0, 0.1, (len(at), c)) - 25 * at[:, None]
    x[np.arange(len(at)), rng.integers(0, c, len(at))] = 1
    return x


def maximum_last(rng, at, c, dtype):
    x = normal(rng, at, c, dtype)
    x[:, -1] = x.max(axis=1) + 20 * at
    return x


def temperature(rng, at, c, dtype):
    """Ordinary, confident and offset rows at temperatures of 0.1 to 20."""
    return (normal, confident, large_offset)[rng.integers(0, 3)](rng, at, c, dtype)


def near(rng, at, c, dtype):
    """Of divergences only: a student that differs from its teacher by noise of 1 to 1e-6, in float64 to 1e-10."""
    return normal(rng, at, c, dtype)


DISTRIBUTIONS = {f.__name__: f for f in (
    normal, uniform, heavy_tailed, confident, constant_tail, large_offset, masked, subnormal, ascending, descending,
    near_maxima, needle, maximum_last, temperature, near)}


# ---- Batches ---------------------------------------------------------------------------------------------------------


@dataclass
class Batch:
    """Arrays with an entry per row, and what all rows share."""

    rows: dict
    shared: dict = field(default_factory=dict)

    def __getitem__(self, some):
        return Batch({k: v[some] for k, v in self.rows.items()}, self.shared)

    def __len__(self):
        return len(next(iter(self.rows.values())))


def batches(distribution, classes, rows):
    """(number of batches, rows in each); as many of temperature as there are temperatures, if there are rows enough."""
    count = -(-rows // max(1, BATCH // classes))
    if distribution == "temperature":
        count = max(count, min(rows, len(TEMPERATURES)))
    return count, -(-rows // count)


def draw(family, distribution, dtype, classes, rows, batch):
    """Batch number `batch` of `rows` rows: a Batch."""
    count, n = batches(distribution, classes, rows)
    seed = [zlib.crc32(f"{family} {distribution} {dtype}".encode()), classes, batch]
    at = (np.arange(n) * count + batch + 0.5) / (n * count)  # every batch covers the range
    return FAMILIES[family](Draw(np.random.default_rng(seed), distribution, dtype, at, classes, batch))


@dataclass
class Draw:
    rng: np.random.Generator
    distribution: str
    dtype: np.dtype
    at: np.ndarray
    classes: int
    batch: int

    def logits(self):
        return DISTRIBUTIONS[self.distribution](self.rng, self.at, self.classes, self.dtype)

    def pair(self):
        """Two draws; masked at the same classes, where the divergences stay finite."""
        x, t = self.logits(), self.logits()
        if self.distribution == "masked":
            t[:] = np.where(np.isneginf(x), x, self.rng.normal(0, 3, x.shape))
        if self.distribution == "near":
            least = -10 if self.dtype == np.float64 else -6
            t = x + 10 ** (least * self.at[:, None]) * self.rng.normal(0, 1, x.shape)
        return x, t

    def classes_of(self, x):
        """Half of the rows are right: those have small losses and gradients. Never a masked class."""
        y = self.rng.integers(0, x.shape[1], len(x))
        right = self.rng.integers(0, 2, len(x), dtype=bool) | np.isneginf(x[np.arange(len(x)), y])
        return np.where(right, x.argmax(axis=1), y)

    @property
    def temperature(self):
        return TEMPERATURES[self.batch % len(TEMPERATURES)] if self.distribution == "temperature" else 1.0

    def upstream(self, *shape):
        return self.rng.standard_normal((len(self.at), *shape), np.float32).astype(self.dtype)


def logits(d):
    x = d.logits().astype(d.dtype)
    q = d.rng.standard_exponential(x.shape, np.float32)
    q[np.isneginf(x)] = 0
    q[::8] = np.arange(x.shape[1]) == d.classes_of(x[::8])[:, None]  # one-hot
    q /= q.sum(axis=1, keepdims=True)
    single = arithmetic(d.dtype)
    return Batch({"x": x, "y": d.classes_of(x), "q": q.astype(d.dtype), "g": d.upstream(),
                  "v": d.rng.uniform(0.5, 2, len(x)).astype(single)},
                 {"w": d.rng.uniform(0.1, 3, x.shape[1]).astype(single), "temperature": d.temperature})


def hessians(d):
    return logits(d)


def divergences(d):
    x, t = (z.astype(d.dtype) for z in d.pair())
    return Batch({"x": x, "t": t, "y": d.classes_of(x)}, {"temperature": d.temperature})


def binary(d):
    """Every entry is a row of its own; half of the targets are 0 or 1."""
    x = d.logits().astype(d.dtype)
    y = np.where(d.rng.integers(0, 2, x.shape, dtype=bool), d.rng.integers(0, 2, x.shape), d.rng.uniform(0, 1, x.shape))
    y[np.isneginf(x)] = 0
    p = np.exp(-np.logaddexp(0, -x.astype(np.float64)))
    info = FINFO[d.dtype]
    p = np.clip(p, max(float(info.smallest_subnormal), 2.0**-700), 1 - float(info.epsneg))  # 1 / p must not overflow
    w, pw = (d.rng.uniform(0.1, 3, x.shape).astype(arithmetic(d.dtype)) for _ in range(2))
    return Batch({"x": x, "p": p.astype(d.dtype), "y": y.astype(d.dtype), "w": w, "pw": pw})


def probabilities(d):
    """0 and -inf where a class is masked and nowhere else: what is infinite has tests of its own."""
    x, t = (z - z.max(axis=1, keepdims=True) for z in d.pair())
    least, lowest, rows = float(FINFO[d.dtype].smallest_subnormal), float(FINFO[d.dtype].min), {}
    masked = np.isneginf(x)
    for name, z in (("p", x), ("q", t)):
        z -= np.log(np.exp(z).sum(axis=1, keepdims=True))
        rows[name] = np.where(masked, 0, np.maximum(np.exp(z), least)).astype(d.dtype)
        rows["log_" + name] = np.where(masked, z, np.maximum(z, lowest)).astype(d.dtype)
    return Batch({**rows, "y": d.classes_of(x), "g": d.upstream(d.classes)})


FAMILIES = {f.__name__: f for f in (logits, hessians, divergences, binary, probabilities)}
ELEMENTS = ("normal", "uniform", "heavy_tailed", "confident", "large_offset", "masked", "subnormal")


def distributions(family):
    """Those that say something about the family: binary losses have no rows, and only divergences near rows."""
    if family == "binary":
        return ELEMENTS
    names = [name for name in DISTRIBUTIONS if name != "near" or family == "divergences"]
    return tuple(name for name in names if name != "temperature" or family in ("logits", "divergences"))


def sizes(family, distribution, table):
    """Rows for each number of classes. Entries stand for rows in the binary losses: two millions of them at most.
    10,000 gaps of constant tails at 1,000 classes too."""
    if family == "binary":
        return {10: sum(n for c, n in table.items() if c <= 128) // 5}
    if distribution == "constant_tail" and table is FULL:
        return {**table, 1000: 10_000}
    return table
