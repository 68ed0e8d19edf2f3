"""The statistics of rows over processes, each of which has some of the classes."""

import numpy as np
from parallel.statistics_calls import Rows

from crossent.parallel import shard_range
from crossent.parallel._communicator import communicator

SEEDS = range(8)


def statistics(comm):
    """Of rows of every seed, of which each rank has some classes."""
    own, results = communicator(comm), []
    for rows in map(rows_of, SEEDS):
        cuts = [*(shard_range(rows.classes, rank, own.size)[0] for rank in range(own.size)), rows.classes]
        results.append(tuple(rows.over_ranks(comm, cuts)))
    return results


def rows_of(seed):
    return Rows(np.random.default_rng(seed), 9000)
