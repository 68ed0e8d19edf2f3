"""Gradient and Hessian on guarded memory: no byte beside an array is read or written, and no input is written."""

import itertools

import numpy as np
import pytest
from faults.guard_pages import Pool
from operations import DRAW, FLOATS, HESSIANS

POOL = Pool()
SHAPES = ((1, 1), (3, 2), (17, 3), (40, 10), (9, 129), (3, 1025), (2, 3001))


def guarded(array, at_end, order, read_only):
    """A copy that begins or ends at a guard page, and its block."""
    block = POOL.take(max(array.nbytes, 1))
    start = len(block.bytes) - array.nbytes if at_end else 0
    copy = block.bytes[start:start + array.nbytes].view(array.dtype).reshape(array.shape, order=order)
    copy[...] = array
    block.protect(read_only)
    return copy, block


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("function", HESSIANS, ids=repr)
def test_on_guarded_memory(function, dtype, rng):
    for shape, at_end, order, hessian in itertools.product(SHAPES, (False, True), "CF", ("diagonal", "absolute")):
        blocks, arrays = [], {}
        drawn = {name: DRAW[kind](rng, *shape) for name, kind in function.arrays.items()}
        drawn |= {"grad_out": np.zeros(shape), "hess_out": np.zeros(shape)}
        for name, array in drawn.items():
            kept = array if array.dtype.kind == "i" else array.astype(dtype)
            arrays[name], block = guarded(kept, at_end, order, read_only=not name.endswith("out"))
            blocks.append(block)
        results = function.run(**arrays, hessian=hessian)
        assert results[0] is arrays["grad_out"] and results[1] is arrays["hess_out"]
        assert np.isfinite(results[1].astype(np.float64)).all()
        del arrays, results
        for block in blocks:
            POOL.give_back(block)
