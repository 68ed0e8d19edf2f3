"""One row, one result, and one sum of them, in every form of every loss and in every dtype: as test_bits.py.

Whatever the threads, the batch around a row, its place, and what else is computed. The reduced losses are the same for
any number of threads; elementwise losses too, whose elements are added in the logical order of the array.
"""

import numpy as np
import operations
import pytest
from contract.corpus import Batch, integers, reals
from contract.golden import of_losses
from support import DTYPES, assert_same_bits, at_offset

import crossent as xe
from crossent import information

# Above what one thread takes, so that every number of threads cuts them differently: by rows, by classes, by both.
SHAPES = ((5000, 7), (40, 1000), (2, 20_000))
every_form = pytest.mark.parametrize("form", operations.FORMS, ids=repr)


def assert_all_same(found, wanted, rows=slice(None)):
    assert set(found) == set(wanted)
    for name in found:
        assert_same_bits(found[name], wanted[name][rows])


@pytest.fixture(params=SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def batch(request, dtype):
    return Batch(request.param, dtype)


def test_thread_count(batch):
    wanted = of_losses(batch)
    for threads in (1, 2, 3, 5, 8):
        with xe.num_threads(threads):
            assert_all_same(of_losses(batch), wanted)


@pytest.mark.parametrize(("first", "second"), [("f2", "f2"), ("f4", "f8")], ids=str)
def test_thread_count_of_other_dtypes(first, second):
    for shape in ((5000, 7), (2, 20_000)):
        batch = Batch(shape, np.dtype(first), np.dtype(second))
        wanted = of_losses(batch)
        for threads in (1, 3):
            with xe.num_threads(threads):
                assert_all_same(of_losses(batch), wanted)


def test_batch_split_and_position(batch):
    wanted, n = of_losses(batch), len(batch.x)
    for size in {1, 3, 17, n // 2 + 1}:
        for start in range(0, min(n, 10 if size == 1 else 40), size):
            rows = slice(start, start + size)
            assert_all_same(of_losses(batch.rows(rows)), wanted, rows)
    order = np.argsort(integers(n, 23), kind="stable")
    assert_all_same(of_losses(batch.rows(order)), wanted, order)


@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize("columns", [5, 16, 100, 1025])
def test_alignment(columns, dtype):
    batch = Batch((20, columns), dtype)
    wanted = of_losses(batch)
    for offset in (1, 2, 4, 8, 34, 60):
        offsets = {"x": offset, "t": 64 - offset, "q": offset * 7 % 64, "v": 3, "g": 5, "w": 7, "y": 9, "k": 11,
                   "l": 13, "temperature": 15}
        assert_all_same(of_losses(batch.changed(lambda name, a, at=offsets: at_offset(a, at[name]))), wanted)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@every_form
def test_value_alone_fused_backward_and_in_place(form, reduction, batch):
    inputs, options = batch.arrays(form), {**form.fixed, "reduction": reduction}
    alone = form.function(*inputs, **options)
    fused, grad = form.function(*inputs, return_grad=True, **options)
    assert_same_bits(alone, fused)
    upstream = np.ones(alone.shape, np.float16) if reduction == "none" else 1
    assert_same_bits(form.backward(upstream, *inputs, **options), grad)
    in_place = inputs[0].copy()
    others = [a.copy() for a in inputs[1:]]
    again, same = form.function(in_place, *others, return_grad=True, grad_out=in_place, **options)
    assert_same_bits(again, alone)
    assert_same_bits(same, grad)
    if inputs[1].dtype == inputs[0].dtype:  # in place of the other argument
        out = others[0]
        again, same = form.function(inputs[0], out, *others[1:], return_grad=True, grad_out=out, **options)
        assert_same_bits(again, alone)
        assert_same_bits(same, grad)


@every_form
@pytest.mark.parametrize("shape", [(20_001, 3), (50, 2000), (1, 200_001)], ids=str)
def test_reductions_of_any_thread_count_and_layout(shape, form, dtype):
    """Elementwise losses are added in blocks that neither the threads nor the memory order have a say in."""
    batch = Batch(shape, dtype).changed(lambda _, a: np.where(abs(a) < 50, a, 0) if a.dtype == dtype else a)
    for reduction in ("sum", "mean"):
        options = {**form.fixed, "reduction": reduction}
        wanted = form.function(*batch.arrays(form), **options)
        assert np.isfinite(wanted)
        for threads in (1, 3):
            with xe.num_threads(threads):
                assert_same_bits(form.function(*batch.arrays(form), **options), wanted)
        for lay in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=-1)[..., ::2], lambda a: a[::-1].copy()[::-1]):
            laid_out = batch.changed(lambda _, a, lay=lay: lay(a))
            assert_same_bits(form.function(*laid_out.arrays(form), **options), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_perplexity_of_any_thread_count(dtype):
    x, y = reals((5000, 33), dtype, 29, 1), integers(5000, 31) % 33
    wanted = information.perplexity(x, y)
    with xe.num_threads(1):
        assert_same_bits(information.perplexity(np.asfortranarray(x), y), wanted)


@pytest.mark.parametrize("scale", [1, 40, 300])
@pytest.mark.parametrize("classes", [3, 10, 128])
def test_masked_classes_change_nothing_whatever_the_coefficient(classes, scale, dtype):
    """Rows of few classes go another way than rows of many: from terms that a coefficient may take out of range."""
    rows = 320
    x = reals((rows, classes), dtype, 37) * dtype(scale)
    many = np.full((rows, 300), -np.inf, dtype)
    many[:, :classes] = x
    y = integers((rows,), 41) % classes
    info = np.finfo(dtype)
    exponents = np.linspace(info.minexp - info.nmant, info.maxexp - 1, rows // 2).round().astype(int)
    signs = np.where(np.arange(rows // 2) % 3 == 0, -1.25, 1.5)
    for order in (exponents.repeat(2), np.tile(exponents, 2)):   # in a group of rows of one size, or of many
        g = np.ldexp(signs.repeat(2), order).astype(dtype)
        assert_same_bits(xe.cross_entropy_backward(g, x, y, reduction="none"),
                         xe.cross_entropy_backward(g, many, y, reduction="none")[:, :classes])
        assert_same_bits(xe.logsumexp_backward(g, x), xe.logsumexp_backward(g, many)[:, :classes])
    assert_same_bits(xe.softmax(x), xe.softmax(many)[:, :classes])
