"""Statistics of classes over processes: the bits of one process from any number of them."""

import pytest
from parallel.statistics_calls import assert_same_statistics
from processes import statistics_parts
from processes.launch import on_processes

from crossent._results import RowStatistics


@pytest.mark.parametrize("engine, size", (("mpi", 1), ("mpi", 2), ("mpi", 3), ("mpi", 5), ("mpi", 8), ("gloo", 3)))
def test_statistics(engine, size):
    wanted = [statistics_parts.rows_of(seed).expected() for seed in statistics_parts.SEEDS]
    for of_rank in on_processes(engine, size, statistics_parts.statistics):
        for found, expected in zip(of_rank, wanted, strict=True):
            assert_same_statistics(RowStatistics(*found), expected)
