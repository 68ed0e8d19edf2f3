"""The figure of docs/accuracy.md: python tests/accuracy/figure.py docs/accuracy.svg

Error of the float32 loss and gradient against the gap between the two largest logits, the true class being the largest:
for each gap the largest of 100 rows of 10 classes. Every library that is installed is in it.
"""

import sys

import matplotlib
import numpy as np
from inputs import Batch
from libraries import PEERS, Group
from measure import Exact
from reference import Rows, cross_entropy

import crossent as xe

ROWS, CLASSES = 100, 10
GAPS = np.geomspace(0.1, 100, 121)
PANELS = {"cross_entropy": "loss", "cross_entropy gradient": "gradient"}
LEAST = 0.1  # ULP: below it is the bottom of the plot
STYLES = {"crossent": ("#d62728", "-", 2.4), "PyTorch": ("#1f77b4", "-", 1.2), "JAX": ("#2ca02c", "--", 1.2),
          "optax": ("#9467bd", "-.", 1.2), "SciPy": ("#8c564b", ":", 1.8), "scikit-learn": ("#7f7f7f", "-", 1.2)}


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


def errors():
    """{operation: {library: largest error at each gap}}."""
    b = batch(np.random.default_rng(2024))
    group = Group(xe.config()["isa_levels"][:1], PEERS)
    exact = dict(zip(PANELS, map(Exact, cross_entropy(Rows(b.rows["x"]), b.rows["y"]))))
    found = {name: {} for name in PANELS}
    for library, outputs in group.evaluate("logits", b).items():
        for name, value in exact.items():
            if name in outputs:
                e = value.errors(outputs[name], value.unit(outputs[name].dtype))
                found[name][library.split(" ")[0]] = e.reshape(GAPS.size, -1).max(axis=1)
    group.close()
    return found


def draw(found, path):
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "accuracy", "font.size": 10})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    for axis, (operation, title) in zip(axes, PANELS.items()):
        for library, values in found[operation].items():
            colour, line, width = STYLES[library]
            axis.plot(GAPS, np.maximum(values, LEAST), line, color=colour, lw=width, label=library,
                      zorder=3 if library == "crossent" else 2)
        axis.axhline(4, color="black", lw=0.8, ls=(0, (1, 2)))
        axis.annotate("4 ULP", (100, 4), (0, 3), textcoords="offset points", ha="right", fontsize=9)
        axis.annotate("the result is 0", (38, 1.7e7), (0, 3), textcoords="offset points", ha="center", fontsize=9)
        axis.set(xscale="log", yscale="log", xlim=(0.1, 100), ylim=(LEAST, 1e8), title=title,
                 xlabel="gap between the two largest logits")
        axis.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("largest error (ULP)")
    axes[0].legend(loc="upper left", frameon=False)
    figure.suptitle("cross_entropy in float32, confident and right: 10 classes")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(errors(), sys.argv[1])
