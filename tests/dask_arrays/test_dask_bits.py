"""The results have the bits of the functions of NumPy, however the arrays are chunked."""

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("dask.array", reason="an optional library: the session adapters has it")

import dask
import dask.array as da
from dask_arrays.chunkings import CHUNKINGS, OTHER_CHUNKINGS, ROWS, as_bits, batch

import crossent as xe
import crossent.dask as xd
from crossent import evaluation

ALL_CHUNKINGS = CHUNKINGS | OTHER_CHUNKINGS
DTYPES = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)


@pytest.fixture(autouse=True)
def on_threads():
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def chunked(x, chunks):
    return da.from_array(x, chunks if x.ndim == 2 else chunks[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chunks", ALL_CHUNKINGS.values(), ids=ALL_CHUNKINGS)
def test_row_statistics(chunks, dtype):
    x, _, target = batch(dtype)
    options = {"top_k": 3, "temperature": 0.7, "n_classes": 128}
    target = np.where(target >= 128, -100, target)
    wanted = xe.row_statistics(x, target, **options)
    assert as_bits(xd.row_statistics(chunked(x, chunks), chunked(target, (997,)), **options)) == as_bits(wanted)


@pytest.mark.parametrize("chunks", ALL_CHUNKINGS.values(), ids=ALL_CHUNKINGS)
def test_row_statistics_of_other_logits(chunks):
    x, _, target = batch()
    temperature = np.random.default_rng(0).uniform(0.5, 2, ROWS)
    options = {"top_k": 3, "softcap": 5.0, "logit_bias": np.linspace(-1, 1, x.shape[1])}
    wanted = xe.row_statistics(x, target, temperature=temperature, **options)
    for of_rows in (temperature, da.from_array(temperature, 997)):
        found = xd.row_statistics(chunked(x, chunks), chunked(target, (997,)), temperature=of_rows, **options)
        assert as_bits(found) == as_bits(wanted)


@pytest.mark.parametrize("chunks", ALL_CHUNKINGS.values(), ids=ALL_CHUNKINGS)
def test_evaluate(chunks):
    x, _, target = batch()
    x[100:103, 5] = np.nan
    options = {"skip_nan": True, "blocks": 100, "vocab_size": 129, "ignore_index": -100, "temperature": 1.5}
    target = np.where(target == 129, 0, target)
    wanted = evaluation.evaluate(x, target, **options)
    assert (wanted.nan_rows, wanted.ignored > 0) == (3, True)
    assert as_bits(xd.evaluate(chunked(x, chunks), chunked(target, chunks), **options)) == as_bits(wanted)


@pytest.mark.parametrize("chunks", ALL_CHUNKINGS.values(), ids=ALL_CHUNKINGS)
def test_compare(chunks):
    base, other, target = batch()
    documents = np.arange(ROWS) // 77
    for targets in ((target,), ()):
        wanted = evaluation.compare(base, other, *targets, blocks=documents)
        found = xd.compare(chunked(base, chunks), chunked(other, (1024, 60)),
                           *(chunked(x, (5000,)) for x in targets), blocks=da.from_array(documents, 800))
        assert as_bits(found) == as_bits(wanted)


@pytest.mark.parametrize("chunks", ALL_CHUNKINGS.values(), ids=ALL_CHUNKINGS)
def test_softcap_and_bias(chunks):
    base, other, target = batch()
    biases = np.random.default_rng(1).normal(size=(2, base.shape[1])).astype(np.float32)
    options = {"softcap": 6.0, "logit_bias": biases[0], "temperature": 1.5}
    wanted = evaluation.evaluate(base, target, **options)
    assert as_bits(xd.evaluate(chunked(base, chunks), chunked(target, chunks), **options)) == as_bits(wanted)
    options = {"base_softcap": 6.0, "base_logit_bias": biases[0], "other_softcap": 9.0, "other_logit_bias": biases[1]}
    wanted = evaluation.compare(base, other, target, **options)
    assert as_bits(xd.compare(chunked(base, chunks), other, target, **options)) == as_bits(wanted)


def test_more_axes():
    """The class axis anywhere; windows of rows, as language models have them."""
    x, _, target = batch(rows=96)
    x, target = x[:, :128].reshape(8, 12, 128), target.reshape(8, 12) % 128
    chunks = (3, 5, 50)
    for axis in range(3):
        moved = np.moveaxis(x, -1, axis)
        found = xd.row_statistics(da.from_array(moved, chunks), da.from_array(target, (3, 5)), axis=axis, top_k=2)
        assert as_bits(found) == as_bits(xe.row_statistics(moved, target, axis=axis, top_k=2))
    found = xd.evaluate(da.from_array(x, chunks), da.from_array(target, (8, 2)), blocks=12)
    assert as_bits(found) == as_bits(evaluation.evaluate(x, target, blocks=12))


def test_one_row():
    x = np.array([0.5, 2.0, 1.0])
    found = xd.row_statistics(da.from_array(x, 2), 2, top_k=1)
    assert as_bits(found) == as_bits(xe.row_statistics(x, 2, top_k=1))
    assert all(type(a) is type(b) for a, b in zip(found, xe.row_statistics(x, 2, top_k=1), strict=True))


def test_arguments_of_numpy():
    x, other, target = batch()
    assert as_bits(xd.evaluate(x, target, rows_at_a_time=777)) == as_bits(evaluation.evaluate(x, target))
    found = xd.compare(x, chunked(other, CHUNKINGS["classes"]), target)
    assert as_bits(found) == as_bits(evaluation.compare(x, other, target))
    assert as_bits(xd.row_statistics(x, target)) == as_bits(xe.row_statistics(x, target))


def test_lazy_results():
    x, other, target = batch()
    x_lazy, target_lazy = chunked(x, CHUNKINGS["1024"]), chunked(target, (ROWS,))
    statistics = xd.row_statistics(x_lazy, target_lazy, top_k=4, compute=False)
    wanted = xe.row_statistics(x, target, top_k=4)
    for lazy, array in zip(statistics, wanted, strict=True):
        assert (lazy.shape, lazy.dtype, lazy.chunks[0]) == (array.shape, array.dtype, x_lazy.chunks[0])
    figures = xd.evaluate(x_lazy, target_lazy, compute=False), xd.compare(x_lazy, other, target, compute=False)
    *arrays, first, second = dask.compute(*statistics, *figures)
    assert as_bits(arrays) == as_bits(wanted)
    assert as_bits(first) == as_bits(evaluation.evaluate(x, target))
    assert as_bits(second) == as_bits(evaluation.compare(x, other, target))


def test_one_thread_a_task(monkeypatch):
    """Tasks run side by side: each of them with all threads would only be in the way of the others."""
    seen = []

    def row_statistics(*args, **options):
        seen.append(xe.config()["threads"])
        return xe.row_statistics(*args, **options)

    monkeypatch.setattr("crossent.dask._arrays.statistics_of_array", row_statistics)
    monkeypatch.setattr("crossent.evaluation._token_statistics.row_statistics", row_statistics)
    x, _, target = batch()
    with xe.num_threads(2):
        xd.row_statistics(chunked(x, CHUNKINGS["1024"]), target, compute=False).entropy.compute()
        xd.evaluate(chunked(x, CHUNKINGS["1024"]), target)
    assert seen[1:] == [1] * 20  # the first: of no rows, for the dtypes
