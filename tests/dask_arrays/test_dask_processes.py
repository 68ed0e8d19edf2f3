"""Over several processes: the same bits, also where one of them is killed in the middle."""

import os
import signal

import numpy as np
import pytest

pytest.importorskip("distributed", reason="an optional library: the session adapters has it")

import dask
import dask.array as da
import distributed
from dask_arrays.chunkings import CHUNKINGS, as_bits, batch

import crossent as xe
import crossent.dask as xd
from crossent import evaluation


@pytest.fixture(scope="module")
def client():
    options = {"n_workers": 3, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


def killing_once(x, chunks, marker):
    """A Dask array of `x`; whoever first makes its block 4 dies of it."""
    def pass_on(block, block_id=None):
        if block_id[0] == 4 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    return da.from_array(x, chunks).map_blocks(pass_on, dtype=x.dtype, meta=x[:0])


def loss_and_gradient(module, x, target):
    options = {"return_grad": True, "label_smoothing": 0.1}
    if module is xe:
        return xe.cross_entropy(x, target, **options)
    return dask.compute(*xd.cross_entropy(x, target, compute=False, **options))


CALLS = {
    "cross_entropy": (lambda m, x, other, target: loss_and_gradient(m, x, target), xe),
    "row_statistics": (lambda m, x, other, target: m.row_statistics(x, target, top_k=2), xe),
    "evaluate": (lambda m, x, other, target: m.evaluate(x, target, blocks=50), evaluation),
    "compare": (lambda m, x, other, target: m.compare(x, other, target, blocks=50), evaluation),
}


def test_processes_scheduler():
    """Before there is a client, beside which Dask warns of other schedulers."""
    x, other, target = batch()
    x_lazy, target_lazy = da.from_array(x, (4096, 70)), da.from_array(target, 4000)
    with dask.config.set(scheduler="processes", num_workers=2):
        for call, plain in (CALLS["cross_entropy"], CALLS["evaluate"]):
            assert as_bits(call(xd, x_lazy, other, target_lazy)) == as_bits(call(plain, x, other, target))


@pytest.mark.parametrize("call, plain", CALLS.values(), ids=CALLS)
def test_cluster(client, call, plain):
    x, other, target = batch()
    lazy = da.from_array(x, CHUNKINGS["1024"]), da.from_array(other, CHUNKINGS["classes"]), da.from_array(target, 999)
    assert as_bits(call(xd, *lazy)) == as_bits(call(plain, x, other, target))


@pytest.mark.parametrize("call, plain", CALLS.values(), ids=CALLS)
def test_killed_worker(client, tmp_path, call, plain):
    x, other, target = batch()
    before = set(client.scheduler_info()["workers"])
    x_lazy = killing_once(x, CHUNKINGS["1024"], tmp_path / "killed")
    assert as_bits(call(xd, x_lazy, other, da.from_array(target, 999))) == as_bits(call(plain, x, other, target))
    assert (tmp_path / "killed").exists()
    client.wait_for_workers(3, timeout=120)
    assert set(client.scheduler_info()["workers"]) != before


def test_killed_worker_that_reads_files(client, tmp_path):
    x, _, target = batch()
    for k, first in enumerate(range(0, len(x), 4000)):
        np.save(tmp_path / f"shard{k}.npy", x[first : first + 4000])
    np.save(tmp_path / "target.npy", target)
    documents = np.arange(len(x)) // 50
    lazy = killing_once(documents, 1024, tmp_path / "killed")
    found = xd.evaluate(str(tmp_path / "shard*.npy"), tmp_path / "target.npy", blocks=lazy, rows_at_a_time=500)
    assert as_bits(found) == as_bits(evaluation.evaluate(x, target, blocks=documents))
    assert (tmp_path / "killed").exists()
    client.wait_for_workers(3, timeout=120)


def test_errors_reach_the_caller(client):
    x, _, target = batch()
    target[5000] = 130
    with pytest.raises(IndexError, match=r"^target\[5000\] is 130, outside"):
        xd.evaluate(da.from_array(x, (1024, -1)), target)
    with pytest.raises(IndexError, match=r"^target\[5000\] is 130, outside"):
        xd.row_statistics(da.from_array(x, (1024, -1)), target)


def test_bfloat16(client):
    """A dtype that NumPy does not know travels between processes."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x, _, target = batch(ml_dtypes.bfloat16)
    lazy = da.from_array(x, CHUNKINGS["classes"])
    assert as_bits(xd.row_statistics(lazy, target)) == as_bits(xe.row_statistics(x, target))
    assert as_bits(xd.evaluate(lazy, target)) == as_bits(evaluation.evaluate(x, target))
