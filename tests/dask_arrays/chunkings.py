"""One batch of rows, as Dask arrays that are chunked in many ways."""

import numpy as np
from support import bits

ROWS, CLASSES = 9 * 1024 + 300, 130
# Of the rows, the first four at multiples of 1,024; of the classes.
CHUNKINGS = {
    "one": (ROWS, CLASSES),
    "1024": (1024, CLASSES),
    "uneven": ((3072, 1024, 0, 5120, 300), CLASSES),
    "classes": (2048, (1, 100, 29)),
    "wide": ((8192, 1324), 7),
}
OTHER_CHUNKINGS = {"1000": (1000, 50), "two": ((5, ROWS - 5), CLASSES)}


def batch(dtype=np.float32, rows=ROWS):
    """Logits, those of another model, and targets, of which some are ignored."""
    rng = np.random.default_rng(7)
    base = rng.normal(0, 3, (rows, CLASSES)).astype(np.float32)
    other = (base + rng.normal(0, 0.3, base.shape)).astype(dtype)
    target = rng.integers(0, CLASSES, rows)
    target[rng.random(rows) < 0.1] = -100
    return base.astype(dtype), other, target


def as_bits(result):
    """What is the same for results of equal bits: a tuple of arrays, or the fields of figures."""
    if hasattr(result, "as_dict"):
        return repr(result.as_dict())  # float.hex would say no more: repr tells every float64 from all others
    return [None if x is None else (x.dtype, x.shape, bits(x)) for x in result]
