"""Loss and gradient of all rows, reduced over the chunks, have the bits of `crossent.cross_entropy`."""

from functools import partial

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("dask.array", reason="an optional library: the session adapters has it")

import dask
import dask.array as da
from dask_arrays.chunkings import CHUNKINGS, CLASSES, OTHER_CHUNKINGS, ROWS, as_bits, batch
from support import assert_same_bits

import crossent as xe
import crossent.dask as xd

RNG = np.random.default_rng(3)
OPTIONS = {
    "mean": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "denominator": {"denominator": 17.5},
    "weight": {"weight": RNG.random(CLASSES), "label_smoothing": 0.1, "z_loss": 1e-3, "temperature": 1.5},
    "sample_weight": {"sample_weight": RNG.normal(size=ROWS), "ignore_index": None},
    "temperatures": {"temperature": RNG.uniform(0.5, 2, ROWS)},
    "logits": {"softcap": 5.0, "logit_bias": RNG.normal(size=CLASSES), "temperature": RNG.uniform(0.5, 2, ROWS),
               "sample_weight": RNG.random(ROWS)},
}


@pytest.fixture(autouse=True)
def on_threads():
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def lazily(x, target, chunks, options):
    """The arguments as Dask arrays, which need not have the same chunks."""
    options = {name: da.from_array(x, 1111) if np.shape(x) == (ROWS,) else x for name, x in options.items()}
    return da.from_array(x, chunks), da.from_array(target, chunks if target.ndim > 1 else 3000), options


def assert_one_result(x, target, chunks, options, with_gradient=True):
    if options.get("ignore_index", -100) is None:
        target = np.where(target < 0, 0, target)
    wanted = xe.cross_entropy(x, target, return_grad=True, **options)
    x_lazy, target_lazy, lazy_options = lazily(x, target, chunks, options)
    loss = xd.cross_entropy(x_lazy, target_lazy, **lazy_options)
    assert type(loss) is type(wanted[0])
    assert_same_bits(loss, wanted[0])
    if not with_gradient:
        return
    loss, grad = xd.cross_entropy(x_lazy, target_lazy, return_grad=True, **lazy_options)
    assert (grad.dtype, grad.chunks) == (x.dtype, x_lazy.chunks)
    assert as_bits((loss, grad.compute())) == as_bits(wanted)
    both = xd.cross_entropy(x_lazy, target_lazy, return_grad=True, compute=False, **lazy_options)
    assert (both[0].shape, both[0].dtype) == (wanted[0].shape, wanted[0].dtype)
    assert as_bits(dask.compute(*both)) == as_bits(wanted)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("chunks", CHUNKINGS.values(), ids=CHUNKINGS)
def test_options(chunks, options):
    x, _, target = batch()
    assert_one_result(x, target, chunks, options)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("chunks", CHUNKINGS.values(), ids=CHUNKINGS)
def test_dtypes(chunks, dtype):
    x, _, target = batch(dtype)
    assert_one_result(x, target, chunks, {})


@pytest.mark.parametrize("name", ["mean", "none", "weight", "sample_weight", "logits"])
def test_class_probabilities(name):
    x, other, _ = batch(np.float64)
    probs = xe.softmax(other)
    options = {k: v for k, v in OPTIONS[name].items() if k != "ignore_index"}
    for chunks in CHUNKINGS.values():
        assert_one_result(x, probs, chunks, options)


@pytest.mark.parametrize("chunks", OTHER_CHUNKINGS.values(), ids=OTHER_CHUNKINGS)
def test_other_chunks(chunks):
    """Losses of rows have the same bits. The float64 sum is within 1 ULP for each of the two roundings, of the sum and
    of the quotient; without weights the denominator is a number of rows, so that gradients have the same bits."""
    x, _, target = batch(np.float64)
    x_lazy, target_lazy, _ = lazily(x, target, chunks, {})
    assert_one_result(x, target, chunks, {"reduction": "none"})
    loss, grad = xe.cross_entropy(x, target, return_grad=True)
    found, grad_found = xd.cross_entropy(x_lazy, target_lazy, return_grad=True)
    assert abs(found - loss) <= 2 * np.spacing(loss)
    assert_same_bits(grad_found.compute(), grad)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_more_axes(axis, reduction):
    """4 rows of 512: chunks of 2 rows and of any of the others."""
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(8, 512, 6)), rng.integers(0, 6, (8, 512))
    moved = np.moveaxis(x, -1, axis)
    of_rows = {"sample_weight": rng.random((8, 1)), "temperature": rng.uniform(0.5, 2, 512)}
    options = {"axis": axis, "reduction": reduction, "return_grad": True, **of_rows}
    wanted = xe.cross_entropy(moved, target, **options)
    chunks = [100, 100]
    chunks[0] = 2
    chunks.insert(axis, 4)
    loss, grad = xd.cross_entropy(da.from_array(moved, tuple(chunks)), target, **options)
    assert as_bits((loss, grad.compute())) == as_bits(wanted)


def test_one_row():
    x = np.array([0.5, 2.0, 1.0])
    for target in (2, [2], np.array([0.5, 0.25, 0.25])):
        for reduction in ("mean", "none"):
            wanted = xe.cross_entropy(x, target, reduction=reduction, return_grad=True)
            loss, grad = xd.cross_entropy(da.from_array(x, 2), target, reduction=reduction, return_grad=True)
            assert type(loss) is type(wanted[0])
            assert as_bits((loss, grad.compute())) == as_bits(wanted)


@pytest.mark.parametrize("rows", [0, 2048])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_no_row_counts(rows, reduction):
    x, target = np.full((rows, 3), np.nan), np.full(rows, -100)
    wanted = xe.cross_entropy(x, target, reduction=reduction, return_grad=True)
    loss, grad = xd.cross_entropy(da.from_array(x, 1024), da.from_array(target, 1024), reduction=reduction,
                                  return_grad=True)
    assert as_bits((loss, grad.compute())) == as_bits(wanted)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_logits_are_read_once(reduction):
    """For loss and gradient together; the denominator does not need them."""
    x, _, target = batch()
    read = []

    def seen(block, block_id):
        read.append(block_id[0])
        return block

    lazy = da.from_array(x, (1024, CLASSES)).map_blocks(seen, dtype=x.dtype, meta=x[:0])
    loss, grad = xd.cross_entropy(lazy, target, reduction=reduction, return_grad=True, compute=False)
    dask.compute(loss, grad)
    assert sorted(read) == list(range(10))


@pytest.mark.parametrize("options", [
    {"reduction": "median"}, {"denominator": 2.0, "reduction": "sum"}, {"denominator": -1.0}, {"temperature": 0.0},
    {"label_smoothing": 2.0}, {"z_loss": -1.0}, {"weight": np.ones(4)}, {"weight": -np.ones(3)}, {"axis": 2},
    {"ignore_index": 0.5}, {"sample_weight": np.ones(3)}, {"temperature": np.ones(3)}, {"temperature": np.ones(5) * 1j},
    {"softcap": 0.0}, {"logit_bias": np.ones(4)}, {"logit_bias": np.full(3, np.nan)},
], ids=str)
def test_messages_are_those_of_numpy(options):
    x, target = np.zeros((5, 3)), np.zeros(5, int)
    with pytest.raises((TypeError, ValueError, np.exceptions.AxisError)) as wanted:
        xe.cross_entropy(x, target, **options)
    with pytest.raises(wanted.type) as found:
        xd.cross_entropy(da.from_array(x, 2), target, compute=False, **options)
    assert str(found.value) == str(wanted.value)


@pytest.mark.parametrize("target", [np.zeros(4, int), np.zeros((5, 1)), np.zeros(5), np.zeros((5, 3), bool)], ids=repr)
def test_messages_about_targets(target):
    x = np.zeros((5, 3))
    with pytest.raises((TypeError, ValueError)) as wanted:
        xe.cross_entropy(x, target)
    with pytest.raises(wanted.type) as found:
        xd.cross_entropy(da.from_array(x, 2), da.from_array(target, 2), compute=False)
    # What is hinted at from the values is not known yet.
    assert str(wanted.value).startswith(str(found.value).partition(";")[0])


def test_positions_of_values():
    x, target = np.zeros((3000, 4)), np.zeros(3000, int)
    target[2500] = 4
    weights = np.where(np.arange(3000) == 2900, np.nan, 1)
    probs = np.full((3000, 4), 0.25)
    probs[1500, 3] = -1
    lazy = da.from_array(x, (1024, 3))
    for arguments, message in [
        ({"target": target}, r"^target\[2500\] is 4, outside \[0, 4\)"),
        ({"target": target * 0, "sample_weight": weights}, r"^sample_weight\[2900\] is nan"),
        ({"target": target * 0, "temperature": 1 - (weights != 1)}, r"^temperature\[2900\] is 0.0: expected a finite"),
        ({"target": probs}, r"^target\[1500, 3\] is -1.0: expected a finite number in \[0, 1\]"),
    ]:
        for reduction in ("none", "sum", "mean"):
            with pytest.raises((IndexError, ValueError), match=message):
                xd.cross_entropy(lazy, **arguments, reduction=reduction)
            with pytest.raises((IndexError, ValueError), match=message):
                xd.cross_entropy(lazy, **arguments, reduction=reduction, return_grad=True)[1].compute()


def test_arguments_of_numpy():
    """Arrays in memory are one chunk; integers become float64."""
    x, _, target = batch()
    integers = x.astype(int)
    for logits in (x, integers, da.from_array(integers, (1024, 50))):
        loss, grad = xd.cross_entropy(logits, target, return_grad=True)
        wanted = xe.cross_entropy(np.asarray(logits), target, return_grad=True)
        assert as_bits((loss, grad.compute())) == as_bits(wanted)
    assert_same_bits(xd.cross_entropy([[1, 2], [3, 4]], [0, 1]), xe.cross_entropy([[1, 2], [3, 4]], [0, 1]))


def test_denominator_comes_before_the_logits():
    """Else all logits would be held until it is known."""
    made = []

    def seen(name, block, block_id):
        made.append(name)
        return block

    x, _, target = batch()
    x_lazy = da.from_array(x, (1024, CLASSES)).map_blocks(partial(seen, "logits"), dtype=x.dtype, meta=x[:0])
    target_lazy = da.from_array(target, 1024).map_blocks(partial(seen, "target"), dtype=int, meta=target[:0])
    with dask.config.set(scheduler="synchronous"):
        dask.compute(*xd.cross_entropy(x_lazy, target_lazy, return_grad=True, compute=False))
    assert made == ["target"] * 10 + ["logits"] * 10
