"""Hill-climbing: of a target's rows, the worst are kept and changed, over and over.

A `Climb` has one number of classes and one set of options. It ends when it has not grown for a while; `Search` then
starts another one, and keeps the worst row of all.
"""

import itertools

import ml_dtypes
import moves
import numpy as np
from starts import LOGITS, ORDINARY
from targets import LAYOUTS

PARENTS = 50
SLICES = 10  # of a batch, each of which has moves of its own
STUCK = 40  # steps without a new maximum
FIRST = (1, 64)  # numbers of classes to begin with
# How often which number: short rows are cheaper, and most faults of long ones can be seen in them.
SHARE = {1: 1, 2: 1, 3: 1, 17: 2, 64: 3, 100: 3, 129: 2, 300: 1, 1024: 0.5, 1025: 0.5, 4097: 0.3}


class Climb:
    def __init__(self, target, rng, classes, start=None, kinds_of_logits=LOGITS):
        """`start`: (rows, shared) that were bad before, to begin with."""
        self.target, self.rng, self.classes = target, rng, classes
        self.n = target.row_count(classes)
        self.layout = LAYOUTS[rng.integers(len(LAYOUTS))]
        self.rows = target.draw_rows(rng, self.n, classes, kinds_of_logits)
        self.shared = target.draw_shared(rng, classes)
        if start:
            first, self.shared = start
            for name, array in self.rows.items():
                array[:len(first[name])] = first[name]
        self.since = 0
        self.keep(self.rows, self.judge(self.rows, self.shared))

    @property
    def worst(self):
        return self.errors[0]

    def judge(self, rows, shared):
        if shared.get("denominator") and "g" in rows:
            rows["g"][:] = rows["g"][0]  # a mean has one upstream gradient
        if self.target.kinds.get("q") == "probabilities":
            # What is promised of class probabilities supposes that they are normal numbers with their weights, or 0.
            q, info = rows["q"], ml_dtypes.finfo(rows["q"].dtype)
            q[q.astype(np.float64) < 16 * float(info.smallest_normal)] = 0
        return self.target.errors(rows, shared, self.layout)

    def keep(self, rows, errors):
        """The rows of the largest errors, one of each error: a row that was not changed counts once."""
        _, first = np.unique(-errors, return_index=True)
        best = first[:PARENTS]
        self.rows, self.errors = {name: array[best] for name, array in rows.items()}, errors[best]

    def children(self):
        """Parents, the worse ones more often, each with one or more changes."""
        chosen = (len(self.errors) * self.rng.random(self.n) ** 2).astype(int)
        rows = {name: array[chosen] for name, array in self.rows.items()}
        edges = np.arange(SLICES + 1) * self.n // SLICES
        for a, b in itertools.pairwise(edges):
            part = {name: array[a:b] for name, array in rows.items()}
            if self.rng.random() < 0.1:
                mates = self.rng.integers(0, len(self.errors), b - a)
                others = {name: array[mates] for name, array in self.rows.items()}
                moves.crossed(self.rng, part, others, self.target.kinds)
            for _ in range(self.rng.choice([1, 1, 1, 2, 3])):
                moves.moved(self.rng, part, self.target.kinds)
        return rows

    def step(self):
        rows, shared, before = self.children(), self.shared, self.worst
        names = self.target.shared_names
        changes_all = bool(names) and self.rng.random() < 0.25
        if changes_all:
            shared = moves.moved_shared(self.rng, shared, names, self.target.draw_shared(self.rng, self.classes))
            for name, array in rows.items():
                array[:len(self.errors)] = self.rows[name][:self.n]
        errors = self.judge(rows, shared)
        if not changes_all:
            rows = {name: np.concatenate([self.rows[name], array]) for name, array in rows.items()}
            errors = np.concatenate([self.errors, errors])
        elif errors.max() <= self.worst:
            self.since += 1
            return
        self.shared = shared
        self.keep(rows, errors)
        self.since = 0 if self.worst > before else self.since + 1

    def found(self):
        """(rows, shared, layout) of the worst row."""
        return {name: array[:1].copy() for name, array in self.rows.items()}, self.shared, self.layout


def ordinary_error(target, seed, batches=2):
    """The largest error of rows as they are drawn, of normal logits."""
    rng = np.random.default_rng(seed)
    return max(float(Climb(target, rng, classes, kinds_of_logits=ORDINARY).worst)
               for classes in target.function.classes or (3, 64, 1025) for _ in range(batches))


class Search:
    """All climbs of one target."""

    def __init__(self, target, seed, record=None):
        self.target, self.rng = target, np.random.default_rng(seed)
        self.record, self.worst = record, -1.0
        self.climb, self.tried, self.climbs = None, 0, 0

    def begin(self):
        if self.record and (self.climbs == 0 or self.rng.random() < 0.25):
            rows, shared, _ = self.record
            classes = rows["x" if "x" in rows else "q"].shape[1]
            self.climb = Climb(self.target, self.rng, classes, (rows, shared))
        else:
            counts = [c for c in self.target.class_counts if self.climbs or c in FIRST] or self.target.class_counts
            share = np.array([SHARE[c] for c in counts])
            self.climb = Climb(self.target, self.rng, int(self.rng.choice(counts, p=share / share.sum())))
        self.climbs += 1

    def step(self):
        """One step, after which `worst` is what it was or more."""
        if self.climb is None or self.climb.since > STUCK:
            self.begin()
        else:
            self.climb.step()
        self.tried += self.climb.n
        if self.climb.worst > self.worst:
            self.worst, self.record = float(self.climb.worst), self.climb.found()
