"""A row has one result: whatever the threads, the batch around it, its place in memory, or what else is computed.

The golden hashes hold that result over time, and AVX2, AVX-512 and NEON to the same bits; the SSE baseline has no fused
multiply-add and an entry of its own. They are written by one command, on a machine with AVX2:

    python tests/test_bits.py --write

which is run when results are meant to change, and never to make this test pass. A commit that changes golden.json says
why.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import pytest
from support import DTYPES, assert_same_bits, at_offset, bits, run_python

import crossent as xe

GOLDEN = pathlib.Path(__file__).parent / "data" / "golden.json"
ISA = xe.config()["isa"]


def family(isa):
    """Levels of one family share their bits."""
    return "baseline" if isa == "baseline" else "fma"


# ---- The corpus: integer arithmetic and powers of two, the same on every machine and NumPy ---------------------------


def integers(shape, seed):
    """Uniform 32-bit integers by the splitmix64 finaliser of a counter."""
    z = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(32)).astype(np.int64).reshape(shape)


def reals(shape, dtype, seed, exponent=4):
    """Multiples of a power of two in +-2^exponent, with all the digits the dtype has room for."""
    digits = 24 if dtype == np.float32 else 53
    high, low = integers(shape, seed), integers(shape, seed + 1)
    signed = (((high << 21) ^ low) & ((1 << digits) - 1)) - (1 << (digits - 1))
    return np.ldexp(signed.astype(dtype), exponent - digits + 1)


def corpus(shape, dtype, seed=7):
    """Ordinary logits, then one row each: confident, equal, offset, masked, all masked, +inf, NaN, extreme."""
    x = reals(shape, dtype, seed)
    if shape[0] >= 9:
        x[1, 0] = 90
        x[2] = 0.5
        x[3] += 2.0**20
        x[4, 1:] = np.where(integers(shape[1:], 3)[1:] % 2, x[4, 1:], -np.inf)
        x[5] = -np.inf
        x[6, -1] = np.inf
        x[7, 0] = np.nan
        x[8, 0], x[8, -1] = np.finfo(dtype).max, np.finfo(dtype).min
    return x


SHAPES = ((40, 1), (40, 2), (40, 10), (40, 17), (24, 100), (12, 1024), (12, 3001), (1, 70_001))


def results(x, target, g, weight, v):
    """Every function of the library over one batch, by name."""
    n, c = x.shape
    everything = {"weight": weight, "sample_weight": v, "label_smoothing": 0.125, "ignore_index": 0}
    plain, grad = xe.cross_entropy(x, target, reduction="none", return_grad=True)
    full, full_grad = xe.cross_entropy(x, target, reduction="none", return_grad=True, **everything)
    with np.errstate(all="ignore"):
        log_p, finite = xe.log_softmax(x), np.where(np.isfinite(x), x, 0)
    sharp = {"temperature": 0.7}
    return {
        "softmax": xe.softmax(x), "softmax temperature": xe.softmax(x, **sharp),
        "log_softmax": log_p, "log_softmax temperature": xe.log_softmax(x, **sharp), "logsumexp": xe.logsumexp(x),
        "softmax_backward": xe.softmax_backward(finite, xe.softmax(x), **sharp),
        "log_softmax_backward": xe.log_softmax_backward(finite, log_p, **sharp),
        "logsumexp_backward": xe.logsumexp_backward(g, x),
        "cross_entropy": plain, "cross_entropy grad": grad,
        "cross_entropy options": full, "cross_entropy options grad": full_grad,
        "cross_entropy mean grad": xe.cross_entropy(x, target, return_grad=True)[1],
        "cross_entropy mean": xe.cross_entropy(finite, target),
        "cross_entropy sum": xe.cross_entropy(finite, target, reduction="sum"),
        "cross_entropy_backward": xe.cross_entropy_backward(g, x, target, reduction="none", **everything),
        "nll_loss": xe.nll_loss(log_p, target, reduction="none", weight=weight),
        "nll_loss grad": xe.nll_loss(log_p, target, weight=weight, return_grad=True)[1],
    }


def digests():
    """{case: sha256 prefix of the bytes} of this process's ISA level."""
    from test_bits_family import digest_arrays  # which uses the corpus of this file

    def digest(array):
        return hashlib.sha256(bits(array)).hexdigest()[:16]

    found = {name: digest(array) for name, array in digest_arrays()}
    for dtype in DTYPES:
        for shape in SHAPES:
            n, c = shape
            batch = (corpus(shape, dtype), integers(n, 11) % c, reals((n,), dtype, 13, 1),
                     abs(reals((c,), dtype, 17, 1)), abs(reals((n,), dtype, 19, 1)))
            for name, array in results(*batch).items():
                found[f"{name} {np.dtype(dtype)} {n}x{c}"] = digest(array)
    return found


def digests_at(level):
    """The same of another level, in a process of its own."""
    script = "import json, test_bits; print(json.dumps(test_bits.digests()))"
    return json.loads(run_python(script, env={"CROSSENT_ISA": level}).stdout)


def test_golden_hashes():
    golden, found = json.loads(GOLDEN.read_text())[family(ISA)], digests()
    assert sorted(found) == sorted(golden)
    assert [name for name in golden if golden[name] != found[name]] == []


def test_levels_of_one_family_agree():
    """Each level in a process of its own against this one, through all digests."""
    mine = digests()
    for level in xe.config()["isa_levels"]:
        if family(level) == family(ISA) and level != ISA:
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


@pytest.mark.parametrize("threads", (1, 2, 3, 5, 8))
def test_thread_count(threads, batch):
    x, target = batch
    finite = np.where(np.isfinite(x), x, 0)
    wanted, total = all_rows(x, target), xe.cross_entropy(finite, target)
    with xe.num_threads(threads):
        for got, one in zip(all_rows(x, target), wanted):
            assert_same_bits(got, one)
        assert_same_bits(xe.cross_entropy(finite, target), total)


def test_thread_count_of_the_process():
    """The same with OpenMP itself set, which may be more threads than this machine has cores."""
    script = """
import hashlib, numpy as np, crossent as xe, test_bits as t
from support import bits
found = hashlib.sha256()
for shape in t.BATCHES:
    x, target = t.corpus(shape, np.float32), t.integers(shape[0], 5) % shape[1]
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


@pytest.mark.parametrize("columns", (5, 16, 100, 1025))
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


@pytest.mark.parametrize("options", ({}, {"label_smoothing": 0.125}, {"ignore_index": 1}, {"weighted": True}), ids=str)
@pytest.mark.parametrize("reduction", ("none", "sum", "mean"))
@pytest.mark.parametrize("loss", ("cross_entropy", "nll_loss"))
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


def write():
    golden = {"fma": digests_at("avx2"), "baseline": digests_at("baseline")}
    GOLDEN.write_text(json.dumps(golden, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python tests/test_bits.py --write")
    write()
