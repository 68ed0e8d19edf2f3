"""Arrays of random strides, the first or the last byte of which touches a guard page."""

from dataclasses import dataclass

import numpy as np

MOST_BYTES = 1 << 20  # of an array with its gaps
KINDS = ("c", "c", "f", "permuted", "stepped", "stepped", "negative", "padded", "odd", "broadcast", "unaligned")


@dataclass
class Layout:
    """Strides in bytes, and the bytes in use around the first element: [low, high), low <= 0 < high.

    `slack` bytes lie between the guard page and the array. Without them it could not be unaligned, unless by its
    strides: a page boundary is aligned.
    """

    kind: str
    strides: tuple
    low: int
    high: int
    edge: str  # the end that touches the guard page: "first" or "last"
    slack: int = 0

    def __str__(self):
        beside = f", {self.slack} bytes from it" if self.slack else ""
        return f"strides {self.strides} ({self.kind}), the {self.edge} byte at a guard page{beside}"


def draw_layout(random, shape, itemsize, apart):
    """A random layout; `apart`: each element in memory of its own, as outputs must be."""
    kind = random.choice(KINDS)
    if kind == "broadcast" and apart:
        kind = "stepped"
    strides = _strides(random, kind, shape, itemsize)
    if _extent(shape, strides, itemsize)[1] > MOST_BYTES:
        kind, strides = "c", _strides(random, "c", shape, itemsize)
    low, high = _extent(shape, strides, itemsize)
    slack = random.randint(1, 7) if kind == "unaligned" else 0
    return Layout(kind, strides, low, high, random.choice(("first", "last", "last")), slack)


def _strides(random, kind, shape, itemsize):
    order = list(range(len(shape)))[::-1]  # from the innermost axis out
    if kind == "f":
        order.reverse()
    elif kind not in ("c", "padded", "unaligned") and (kind != "stepped" or random.random() < 0.5):
        random.shuffle(order)
    strides = [0] * len(shape)
    unit = itemsize + (random.randint(1, 7) if kind == "odd" else 0)  # odd: as of a field of a record
    for axis in order:
        n = shape[axis]
        if kind == "broadcast" and random.random() < 0.5:
            continue
        step = random.randint(1, 3) if kind == "stepped" else 1
        sign = -1 if kind in ("stepped", "negative", "odd") and random.random() < 0.5 else 1
        strides[axis] = sign * unit * step
        unit *= max(n, 1) * step
        if kind == "padded":
            unit += itemsize * random.randint(0, 9)
    for axis, n in enumerate(shape):
        if n == 1 and random.random() < 0.2:  # nobody may use it
            strides[axis] = random.choice((0, -itemsize, 1, 1 << 40, -(1 << 40)))
    return tuple(strides)


def _extent(shape, strides, itemsize):
    if 0 in shape:
        return 0, 0
    reach = [stride * (n - 1) for stride, n in zip(strides, shape, strict=True)]
    return sum(r for r in reach if r < 0), sum(r for r in reach if r > 0) + itemsize


class Placed:
    """An array in a block of guarded memory. `fill` is the byte in its gaps and around it."""

    def __init__(self, pool, layout, shape, dtype, fill):
        self.layout, self.dtype = layout, np.dtype(dtype)
        size = layout.high - layout.low
        self.block = pool.take(max(size + layout.slack, 1))
        self.block.bytes.fill(fill)
        self.begin = layout.slack if layout.edge == "first" else self.block.bytes.size - size - layout.slack
        self.end = self.begin + size  # both count the bytes of the block
        self.array = np.ndarray(shape, self.dtype, self.block.bytes, self.begin - layout.low, layout.strides)

    def elements_of(self, memory):
        """The array's elements as bytes, along one axis more, in a copy of the block."""
        shape, strides = (*self.array.shape, self.dtype.itemsize), (*self.layout.strides, 1)
        return np.ndarray(shape, np.uint8, memory, self.begin - self.layout.low, strides)

    def changed_outside(self, before):
        """How many bytes that belong to no element differ from `before`, a copy of the block."""
        after = self.block.bytes.copy()
        self.elements_of(after)[...] = self.elements_of(before)
        return int(np.count_nonzero(after != before))

    def gap(self):
        """The first byte of the block between two elements; None if there is none."""
        used = np.zeros(self.block.bytes.size, np.uint8)
        self.elements_of(used)[...] = 1
        gaps = np.flatnonzero(used[self.begin:self.end] == 0)
        return self.begin + int(gaps[0]) if gaps.size else None
