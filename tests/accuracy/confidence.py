"""Error against confidence: python tests/accuracy/confidence.py docs/explanation/confidence.json

Of the float32 cross-entropy and its gradient, the true class being the largest: for each gap between the two largest
logits the largest error of 100 rows of 10 classes, in ULP, of every library that is installed. `python docs/figures.py`
draws it.
"""

import json
import sys
from pathlib import Path

import fast
import numpy as np
from fast.errors import Exact
from inputs import Batch
from libraries import PEERS, Group

import crossent as xe

ROWS, CLASSES = 100, 10
GAPS = np.geomspace(0.1, 100, 49)
QUANTITIES = {"cross_entropy": "loss", "cross_entropy gradient": "gradient"}


def batch(rng):
    """ROWS for each gap, the second largest logit being 0."""
    n = ROWS * GAPS.size
    x = rng.normal(0, 1, (n, CLASSES))
    y = rng.integers(0, CLASSES, n)
    x[np.arange(n), y] = -np.inf
    x -= x.max(axis=1, keepdims=True)
    x[np.arange(n), y] = np.repeat(GAPS, ROWS)
    x = x.astype(np.float32)
    one = np.ones(n, np.float32)
    return Batch({"x": x, "y": y, "q": np.full_like(x, 1 / CLASSES), "g": one, "v": one},
                 {"w": np.ones(CLASSES, np.float32), "temperature": 1.0})


def measure():
    """{"gaps": .., "versions": .., "loss": {library: the largest error at each gap}, "gradient": ..}."""
    b = batch(np.random.default_rng(2024))
    group = Group(xe.config()["isa_levels"][:1], PEERS)
    parts = fast.FORMULAS["cross_entropy"](fast.widen(b.rows["x"]), b.rows["y"])
    exact = dict(zip(QUANTITIES, (Exact(*fast.value(parts)), Exact(*fast.gradient(parts))), strict=True))
    found = {"gaps": [float(f"{gap:.4g}") for gap in GAPS],
             "versions": {library.name.split(" ")[0]: library.version for library in group.members},
             **{quantity: {} for quantity in QUANTITIES.values()}}
    for library, outputs in group.evaluate("logits", b).items():
        for name, value in exact.items():
            if name in outputs:
                e = value.errors(outputs[name], value.unit(outputs[name].dtype)).reshape(GAPS.size, -1).max(axis=1)
                found[QUANTITIES[name]][library.split(" ")[0]] = [float(f"{v:.4g}") for v in e]
    group.close()
    return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(measure()).replace('], "', '],\n"').replace('}, "', '},\n"') + "\n")
