"""Files that tasks read: the figures of one process, whatever the rows of a task are."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("dask.array", reason="an optional library: the session adapters has it")

import dask
import dask.array as da
from dask_arrays.chunkings import as_bits, batch
from evaluation.formats import LIBRARY, write

import crossent.dask as xd
from crossent import evaluation

DATA = Path(__file__).parents[1] / "data" / "kld"


@pytest.fixture(autouse=True)
def on_threads():
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


@pytest.mark.parametrize("rows_at_a_time", [None, 128, 37])
@pytest.mark.parametrize("name", ["x.npy", "compressed.npz", "x.safetensors", "x.h5"])
def test_formats(tmp_path, name, rows_at_a_time):
    if Path(name).suffix in LIBRARY:
        pytest.importorskip(LIBRARY[Path(name).suffix])
    x, other, target = (a[:300] for a in batch())
    np.save(tmp_path / "target.npy", target)
    path = write(tmp_path / name, x[:, :20].copy())
    target[target >= 20] = -100
    np.save(tmp_path / "target.npy", target)
    found = xd.evaluate(path, tmp_path / "target.npy", rows_at_a_time=rows_at_a_time)
    assert as_bits(found) == as_bits(evaluation.evaluate(path, target))
    found = xd.compare(path, other[:, :20], target, rows_at_a_time=rows_at_a_time)
    assert as_bits(found) == as_bits(evaluation.compare(path, other[:, :20], target))


def test_shards(tmp_path):
    x, other, target = batch()
    for k, (first, stop) in enumerate([(0, 900), (900, 900), (900, 5000), (5000, len(x))]):
        np.save(tmp_path / f"base{k}.npy", x[first:stop])
    np.savez(tmp_path / "other.npz", other)
    base, others = str(tmp_path / "base*.npy"), [tmp_path / "other.npz"]
    wanted = evaluation.compare(x, other, target, vocab_size=130, ignore_index=-100)
    assert as_bits(xd.compare(base, others, target, rows_at_a_time=2000)) == as_bits(wanted)
    assert as_bits(xd.compare(base, da.from_array(other, (1024, 70)), da.from_array(target))) == as_bits(wanted)
    assert as_bits(xd.compare(da.from_array(x, (5000, 70)), others, target)) == as_bits(wanted)
    target[4999] = 999
    with pytest.raises(IndexError, match=r"^target\[4999\] is 999"):
        xd.evaluate(base, target, rows_at_a_time=1000)
    x[700] = np.inf
    np.save(tmp_path / "base0.npy", x[:900])
    with pytest.raises(ValueError, match=r"base0.npy .. .*base3.npy\[700\] has a NaN or an infinite maximum"):
        xd.compare(base, others, rows_at_a_time=600)


@pytest.mark.parametrize("llama", [False, True])
@pytest.mark.parametrize("name", ["ctx16", "ctx128"])
def test_files_of_llama(name, llama):
    """The targets are in the base; the other may have the rows of all positions."""
    base, other = DATA / f"{name}-base.kld", np.load(DATA / f"{name}-other_logits.npy")
    wanted = evaluation.compare(base, other, llama=llama)
    for given in (other, da.from_array(other, (50, 100)), DATA / f"{name}-other_logits.npy"):
        assert as_bits(xd.compare(base, given, llama=llama, rows_at_a_time=100)) == as_bits(wanted)


def test_rows_of_all_positions():
    base, other = DATA / "ctx16-base.kld", np.load(DATA / "ctx16-other_logits.npy")
    rows = evaluation._inputs.open_rows(base)
    everywhere = np.full((rows.n_chunk, rows.n_ctx, rows.classes), np.nan, other.dtype)
    everywhere[:, rows.n_ctx // 2 : -1] = other.reshape(rows.n_chunk, -1, rows.classes)
    everywhere = everywhere.reshape(-1, rows.classes)
    wanted = as_bits(evaluation.compare(base, other))
    assert as_bits(evaluation.compare(base, everywhere)) == wanted
    for given in (everywhere, da.from_array(everywhere, (50, 100))):
        assert as_bits(xd.compare(base, given, rows_at_a_time=33)) == wanted


def test_missing_files():
    with pytest.raises(FileNotFoundError, match="no file matches"):
        xd.evaluate("/no/such/*.npy", np.arange(3))
