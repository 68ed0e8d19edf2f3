"""Classes over processes: the bits of one process from any number of them, and an error of one that reaches all."""

from functools import partial

import numpy as np
import pytest
from processes import class_parts
from processes.launch import ENGINES, on_processes


@pytest.mark.parametrize("engine, size", (*(("mpi", n) for n in (1, 2, 3, 5, 8)), ("gloo", 3), ("gloo", 5)))
def test_hashes(engine, size):
    """Of losses, gradients and statistics of logits whose classes are split unevenly at multiples of 1,024."""
    results = on_processes(engine, size, class_parts.of_processes)
    for (loss, gradient, axis), *of_ranks in zip(class_parts.of_one_process(), *results, strict=True):
        assert {found for found, _ in of_ranks} == {loss}
        assert class_parts.digest(np.concatenate([part for _, part in of_ranks], axis)) == gradient


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_of_one_rank(engine):
    first, second = on_processes(engine, 2, partial(class_parts.an_error_of_one_rank, rank=1))
    assert second == "target has shape (2,): expected (3,), one class index per row"
    assert first == f"rank 1: {second}"
