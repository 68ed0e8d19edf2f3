"""Data that is larger than the memory there is: each task has a block of rows, and the results some numbers a row."""

import tracemalloc

import numpy as np
import pytest

pytest.importorskip("distributed", reason="an optional library: the session adapters has it")

import dask
import dask.array as da
import distributed

import crossent as xe
import crossent.dask as xd

ROWS, CLASSES, BLOCKS = 1024, 4096, 40  # blocks of 16 MiB, 640 MiB in all
BLOCK_BYTES = ROWS * CLASSES * 4


def made(block_id):
    """Not from an array, which would be in memory."""
    x = np.zeros((ROWS, CLASSES), np.float32)
    x[:, block_id[0]] = 3
    return x


def arrays():
    meta = np.zeros((0, 0), np.float32)
    logits = da.map_blocks(made, chunks=((ROWS,) * BLOCKS, CLASSES), dtype=np.float32, meta=meta)
    return logits, da.arange(BLOCKS * ROWS, chunks=ROWS) % CLASSES


def largest_of_gradient(x, target):
    return dask.compute(abs(xd.cross_entropy(x, target, return_grad=True)[1]).max())


@pytest.mark.parametrize("call, blocks", [
    (xd.cross_entropy, 1),
    (xd.row_statistics, 1),
    (xd.evaluate, 1),
    (lambda x, target: xd.compare(x, x, target), 1),
    (largest_of_gradient, 3),  # the logits, the gradient and its absolute values
], ids=["cross_entropy", "row_statistics", "evaluate", "compare", "gradient"])
def test_blocks_at_a_time(call, blocks):
    """Two threads have `blocks` each, and one more where the scheduler makes the next before the last is gone; rows
    have at most 100 numbers of 8 bytes in the arrays and figures; the last is for Dask's graphs."""
    with dask.config.set(scheduler="threads", num_workers=2):
        call(*(x[:ROWS] for x in arrays()))  # imports modules
        tracemalloc.start()
        try:
            call(*arrays())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 2 * (blocks + 1) * BLOCK_BYTES + 800 * BLOCKS * ROWS + 10e6


def test_file_larger_than_the_memory_of_a_worker(tmp_path):
    """A worker is stopped at 95 % of its limit: the file has three times of that."""
    path = tmp_path / "logits.npy"
    shape = (1280, 256 * 1024)
    np.lib.format.open_memmap(path, "w+", np.float32, shape).flush()  # 1.3 GB of holes
    options = {"n_workers": 1, "threads_per_worker": 1, "memory_limit": "400MB", "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        result = xd.evaluate(path, np.arange(shape[0]))
    assert result.tokens == shape[0]
    assert result.loss == np.float64(xe.cross_entropy(np.zeros((1, shape[1]), np.float32), [0]))
