"""Calls of row_statistics on rows whose classes are in shards."""

import itertools

import numpy as np
import operations
from support import assert_same_bits

import crossent as xe
from crossent import parallel
from crossent.parallel._communicator import communicator

CLASSES = (1, 5, 1000, 1024, 1025, 3000, 5120, 9000)


class Rows:
    """Rows of any dtype and layout with equal logits, rows without an answer and ignored ones; a call on them."""

    def __init__(self, rng, classes=None):
        self.classes = int(rng.choice(CLASSES)) if classes is None else classes
        rows = tuple(int(n) for n in rng.choice([0, 1, 1, 2, 2, 3, 3, 5, 5, 17, 70], rng.integers(0, 3)))
        self.axis = int(rng.integers(0, len(rows) + 1))
        shape = (*rows[: self.axis], self.classes, *rows[self.axis :])
        x = rng.standard_normal(shape) * rng.choice([1, 30, 200]) + rng.choice([0, 0, 2000])
        if rng.random() < 0.4:
            x = np.round(x)
        x = x.astype(rng.choice(operations.FLOATS))
        for value, often in ((-np.inf, 0.3), (np.nan, 0.1), (np.inf, 0.1)):
            if rng.random() < often:
                x[rng.random(shape) < 0.3 / self.classes] = value
        self.logits = np.asfortranarray(x) if rng.random() < 0.3 else x
        self.target = np.asarray(rng.integers(0, self.classes, rows))
        self.target[rng.random(rows) < 0.2] = -100
        if rng.random() < 0.2:
            self.target = None
        self.temperature = float(rng.choice([1, 1, 2, 0.7]))
        self.top_k = min(int(rng.choice([0, 1, 3, 40])), self.classes)

    def expected(self):
        return xe.row_statistics(
            self.logits, self.target, axis=self.axis, temperature=self.temperature, top_k=self.top_k)

    def shard(self, begin, end):
        return self.logits[(slice(None),) * self.axis + (slice(begin, end),)]

    def states(self, cuts):
        options = {"n_classes": self.classes, "axis": self.axis, "temperature": self.temperature}
        return parallel.merge(*(parallel.ShardState.of_shard(self.shard(*ends), self.target, ends[0], **options)
                                for ends in itertools.pairwise(cuts)))

    def parts(self, states, cuts):
        return [parallel.StatisticsState.of_shard(self.shard(*ends), states, self.target, ends[0], axis=self.axis,
                                            top_k=self.top_k)
                for ends in itertools.pairwise(cuts)]

    def in_steps(self, cuts):
        states = self.states(cuts)
        statistics = parallel.merge(*self.parts(states, cuts))
        assert statistics.exact == states.exact
        return statistics, statistics.statistics(states, self.target)

    def over_ranks(self, comm, cuts, **places):
        rank = communicator(comm).rank
        return parallel.row_statistics(
            self.shard(cuts[rank], cuts[rank + 1]), self.target, comm, axis=self.axis, temperature=self.temperature,
            top_k=self.top_k, **places)


def assert_same_statistics(found, wanted):
    assert type(found) is type(wanted)
    for name, value in wanted._asdict().items():
        if value is None:
            assert getattr(found, name) is None
        else:
            assert_same_bits(getattr(found, name), value)
