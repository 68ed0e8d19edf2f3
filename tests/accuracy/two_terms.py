"""The largest errors of gradients whose two terms are both large: python tests/accuracy/two_terms.py [--batches N].

In the report upstream gradients are 1, and class probabilities have no weights. Here both are drawn, and the bar is the
same: 4 ULP of the larger of (A - b) p and b (1 - p). The level is that of CROSSENT_ISA.
"""

import argparse
from itertools import product

import numpy as np
from double_double import sum_last
from measure import Exact
from reference import Rows, exactly, two_terms, widen

import crossent as xe

ROWS = 10_000  # of a batch
UPSTREAM = (1.0, 1 / 3, 1 / 7, 1 / 15, 0.9, 1.3, 1.9)
WEIGHTS = (0.2, 0.5, 1.0, 1.9, 2.0, 3.0)
SMOOTHING = (0.1, 0.5, 0.9, 1.0)
TARGETS = ("class indices", "class probabilities")
# (target, with label smoothing, with class weights); of class indices alone one term is 0.
FORMS = [form for form in product(TARGETS, (False, True), (False, True)) if form[0] == TARGETS[1] or form[1]]


def coefficients(target, weight, smoothing, like):
    """b of each class: the target, smoothed and times the weights."""
    e, classes = exactly(smoothing, like), exactly(float(target.shape[1]), like)
    return ((1.0 - e) * widen(target) + e / classes) * widen(np.broadcast_to(weight, target.shape).copy())


def largest_errors(rng, classes, dtype):
    """The largest error of each form in one batch, by form."""
    x = rng.normal(0, rng.choice([0.3, 1, 3]), (ROWS, classes)).astype(dtype)
    y, q = rng.integers(0, classes, ROWS), rng.dirichlet(np.ones(classes), ROWS).astype(dtype)
    weight, smoothing = rng.choice(WEIGHTS, classes).astype(dtype), float(rng.choice(SMOOTHING))
    upstream = dtype(rng.choice(UPSTREAM))
    rows = Rows(x)
    for form in FORMS:
        target, smoothed, weighted = form
        dense = np.eye(classes, dtype=dtype)[y] if target == TARGETS[0] else q
        b = coefficients(dense, weight if weighted else dtype(1), smoothing if smoothed else 0.0, rows.gap)
        gradient, scale = two_terms(rows, b, sum_last(b))
        times = exactly(float(upstream), rows.gap)
        exact = Exact(gradient * times, scale * times)
        found = xe.cross_entropy_backward(
            np.full(ROWS, upstream), x, y if target == TARGETS[0] else q, reduction="none",
            weight=weight if weighted else None, label_smoothing=smoothing if smoothed else 0.0)
        yield form, float(exact.errors(found, exact.unit(found.dtype)).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", type=int, default=300, help=f"of {ROWS:,} rows, of each dtype and 2, 3, 5 classes")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    print(f"largest error in ULP at {xe.config()['isa']}, of 4")
    for dtype in (np.float32, np.float64):
        largest = dict.fromkeys(FORMS, 0.0)
        for classes, _ in product((2, 3, 5), range(given.batches)):
            for form, error in largest_errors(rng, classes, dtype):
                largest[form] = max(largest[form], error)
        for (target, smoothed, weighted), error in largest.items():
            options = [name for name, has in (("label smoothing", smoothed), ("class weights", weighted)) if has]
            print(f"{np.dtype(dtype).name}  {error:.2f}  {', '.join([target, *options])}")


if __name__ == "__main__":
    main()
