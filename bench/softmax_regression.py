"""A few steps of SoftmaxRegression and of scikit-learn's LogisticRegression, in turn: the ratio of their times.

    python bench/softmax_regression.py [rows features classes]      # rows: at least as many as classes
"""

import sys
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from crossent.sklearn import SoftmaxRegression

STEPS, ROUNDS = 5, 3


def main(rows=2000, features=50, classes=1000):
    warnings.simplefilter("ignore", ConvergenceWarning)  # of so few steps
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(rows, features)), rng.normal(size=(features, classes))
    y = (x @ weights + rng.gumbel(size=(rows, classes))).argmax(axis=1)
    y[:classes] = np.arange(classes)  # none is missing
    ratios = []
    for _ in range(ROUNDS):
        seconds = []
        for model in (SoftmaxRegression(max_iter=STEPS), LogisticRegression(max_iter=STEPS)):
            start = time.perf_counter()
            model.fit(x, y)
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[1] / seconds[0])
    found = f"{np.median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"{rows} x {features}, {classes} classes: {found}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
