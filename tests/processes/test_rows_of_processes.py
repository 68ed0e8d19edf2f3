"""Rows over processes: the bits of one process from any number of them."""

from functools import partial

import numpy as np
import pytest
from parallel.rows import ALIGNED, FORMS, Batch
from processes import row_parts
from processes.launch import ENGINES, on_processes
from support import assert_same_bits

BOUNDS = {len(bounds) - 1: bounds for bounds in ALIGNED}


@pytest.mark.parametrize("engine, size", (("mpi", 1), ("mpi", 2), ("mpi", 4), ("mpi", 9), ("gloo", 2), ("gloo", 5)))
def test_losses_and_gradients(engine, size):
    results = on_processes(engine, size, partial(row_parts.losses_and_gradients, bounds=BOUNDS[size]))
    for form, *of_ranks in zip(FORMS, *results, strict=True):
        loss, gradient = Batch(form).whole(return_grad=True)
        for found, _ in of_ranks:
            assert_same_bits(found, loss)
        assert_same_bits(np.concatenate([part for _, part in of_ranks]), gradient)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_of_one_rank(engine):
    first, second, third = on_processes(engine, 3, partial(row_parts.an_error_of_one_rank, rank=1))
    assert second == "target has shape (7,): expected (5000,), one class index per row"
    assert first == third == f"rank 1: {second}"
