"""A row has one result: whatever the threads, the batch around it, its place in memory, or what else is computed.

The golden hashes (golden.py) hold that result over time and over the levels.
"""

import json

import numpy as np
import pytest
from contract.corpus import corpus, integers, reals
from contract.golden import GOLDEN, bits_of, digests, digests_at
from support import assert_same_bits, at_offset, run_python

import crossent as xe

ISA = xe.config()["isa"]


def test_golden_hashes():
    golden, found = json.loads(GOLDEN.read_text())[bits_of(ISA)], digests()
    assert sorted(found) == sorted(golden)
    assert [name for name in golden if golden[name] != found[name]] == []


def test_levels_of_the_same_bits_agree():
    """Each level in a process of its own against this one, through all digests."""
    mine = digests()
    for level in xe.config()["isa_levels"]:
        if bits_of(level) == bits_of(ISA) and level != ISA:
            theirs = digests_at(level)
            assert [name for name in mine if mine[name] != theirs[name]] == [], level


# ---- One row, one result ---------------------------------------------------------------------------------------------

BATCHES = ((70_000, 2), (3000, 7), (900, 33), (300, 1000), (20, 20_000), (3, 300_000))


@pytest.fixture(params=BATCHES, ids=lambda shape: "x".join(map(str, shape)))
def batch(request, dtype):
    n, c = request.param
    return corpus((n, c), dtype), integers(n, 5) % c


def assert_same_rows(x, target, rows, wanted):
    """The results for these rows alone are the rows of `wanted`."""
    loss, grad = xe.cross_entropy(x[rows], target[rows], reduction="none", return_grad=True)
    assert_same_bits(loss, wanted[0][rows])
    assert_same_bits(grad, wanted[1][rows])
    assert_same_bits(xe.softmax(x[rows]), wanted[2][rows])
    assert_same_bits(xe.logsumexp(x[rows]), wanted[3][rows])


def all_rows(x, target):
    return *xe.cross_entropy(x, target, reduction="none", return_grad=True), xe.softmax(x), xe.logsumexp(x)


@pytest.mark.parametrize("threads", [1, 2, 3, 5, 8])
def test_thread_count(threads, batch):
    x, target = batch
    finite = np.where(np.isfinite(x), x, 0)
    wanted, total = all_rows(x, target), xe.cross_entropy(finite, target)
    with xe.num_threads(threads):
        for got, one in zip(all_rows(x, target), wanted, strict=True):
            assert_same_bits(got, one)
        assert_same_bits(xe.cross_entropy(finite, target), total)


def test_thread_count_of_the_process():
    """The same with OpenMP itself set, which may be more threads than this machine has cores."""
    script = """
import hashlib, numpy as np, crossent as xe, contract.test_bits as t
from contract.corpus import corpus, integers
from support import bits
found = hashlib.sha256()
for shape in t.BATCHES:
    x, target = corpus(shape, np.float32), integers(shape[0], 5) % shape[1]
    for array in (*t.all_rows(x, target), xe.cross_entropy(np.where(np.isfinite(x), x, 0), target)):
        found.update(bits(array))
print(found.hexdigest())
"""
    outputs = {run_python(script, env={"OMP_NUM_THREADS": str(n)}).stdout for n in (1, 2, 3, 5, 8)}
    assert len(outputs) == 1


def test_batch_split(batch):
    x, target = batch
    wanted, n = all_rows(x, target), len(x)
    for size in {1, 2, 3, 5, 7, 16, 17, n // 2 + 1}:
        for start in range(0, min(n, 60), size):
            assert_same_rows(x, target, slice(start, start + size), wanted)
    assert_same_rows(x, target, slice(n - 1, n), wanted)


def test_row_position(batch):
    x, target = batch
    order = np.argsort(integers(len(x), 23), kind="stable")
    assert_same_rows(x, target, order, all_rows(x, target))


@pytest.mark.parametrize("columns", [5, 16, 100, 1025])
def test_alignment(columns, dtype):
    x, target = corpus((30, columns), dtype), integers(30, 5) % columns
    wanted = all_rows(x, target)
    for offset in (*range(1, 17), *range(20, 65, 4)):
        moved, out = at_offset(x, offset), at_offset(x, 65 - offset)
        loss, grad = xe.cross_entropy(moved, target, reduction="none", return_grad=True, grad_out=out)
        assert_same_bits(loss, wanted[0])
        assert_same_bits(grad, wanted[1])
        assert_same_bits(xe.softmax(moved), wanted[2])
        assert_same_bits(xe.logsumexp(moved), wanted[3])


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.125}, {"ignore_index": 1}, {"weighted": True}], ids=str)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_value_alone_fused_and_backward(loss, reduction, options, batch):
    x, target = batch
    if loss == "nll_loss":
        options = {k: v for k, v in options.items() if k != "label_smoothing"}
    if "weighted" in options:
        options = {"weight": abs(reals(x.shape[1:], x.dtype, 17, 1)),
                   "sample_weight": abs(reals(x.shape[:1], x.dtype, 19, 1))}
    options = {"reduction": reduction, **options}
    function, backward = getattr(xe, loss), getattr(xe, loss + "_backward")
    alone, (fused, grad) = function(x, target, **options), function(x, target, return_grad=True, **options)
    assert_same_bits(alone, fused)
    upstream = np.ones(target.shape, x.dtype) if reduction == "none" else 1.0
    assert_same_bits(backward(upstream, x, target, **options), grad)
    in_place = x.copy()
    again, same = function(in_place, target, return_grad=True, grad_out=in_place, **options)
    assert_same_bits(again, alone)
    assert_same_bits(same, grad)


def test_in_place_and_fresh_normalisers(batch):
    x, _ = batch
    for function in (xe.softmax, xe.log_softmax):
        wanted, copy = function(x), x.copy()
        assert_same_bits(function(copy, out=copy), wanted)


def test_reduced_loss_is_that_of_any_layout(dtype):
    x, target = reals((6, 5, 7, 50), dtype, 29), integers((6, 7, 50), 31) % 5
    for reduction in ("sum", "mean"):
        wanted = xe.cross_entropy(x, target, reduction=reduction)
        for laid_out in (np.asfortranarray(x), np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)):
            assert_same_bits(xe.cross_entropy(laid_out, target, reduction=reduction), wanted)
        assert_same_bits(xe.cross_entropy(np.moveaxis(x, 1, -1), target, axis=-1, reduction=reduction), wanted)
