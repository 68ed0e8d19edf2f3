"""One row, one result, and one sum of them, in the losses of two distributions and in every dtype: as test_bits.py.

Whatever the threads, the batch around a row, its place, and what else is computed. The reduced losses are the same for
any number of threads; elementwise losses too, whose elements are added in the logical order of the array.
"""

import family
import numpy as np
import pytest
from support import DTYPES, assert_same_bits, at_offset
from test_bits import corpus, integers, reals

import crossent as xe
from crossent import information

# Above what one thread takes, so that every number of threads cuts them differently: by rows, by classes, by both.
SHAPES = ((5000, 7), (40, 1000), (2, 20_000))


def spread(shape, dtype, seed):
    """Probabilities: multiples of a power of two that need not add to 1."""
    return (integers(shape, seed) % 257 / 512).astype(dtype)


def results(x, t, q, v, g, w):
    """Every row or element, of every new loss, by name."""
    some = {"reduction": "none", "return_grad": True}
    found = {}

    def add(name, pair):
        found[name], found[name + " grad"] = pair

    add("cross_entropy", xe.cross_entropy(x, q, **some))
    add("cross_entropy options", xe.cross_entropy(x, q, label_smoothing=0.125, sample_weight=v, weight=w, **some))
    for divergence in ("forward", "reverse", "js"):
        add(divergence, xe.kl_div_with_logits(x, t, divergence=divergence, **some))
        add(divergence + " options",
            xe.kl_div_with_logits(x, t, divergence=divergence, temperature=0.7, beta=0.25, sample_weight=v, **some))
    add("distillation_loss", xe.distillation_loss(x, t, temperature=2.0, **some))
    y = integers(v.shape, 11) % x.shape[1]
    add("distillation_loss indices", xe.distillation_loss(
        x, t, y, temperature=3.0, alpha=0.25, weight=w, sample_weight=v, label_smoothing=0.125, ignore_index=0, **some))
    add("distillation_loss probabilities", xe.distillation_loss(x, t, q, alpha=0.75, divergence="js", **some))
    add("binary_cross_entropy", xe.binary_cross_entropy(q, q[:, ::-1], **some))
    add("binary_cross_entropy_with_logits", xe.binary_cross_entropy_with_logits(
        x, q, weight=q[:, ::-1], pos_weight=w, label_smoothing=0.125, **some))
    add("kl_div", xe.kl_div(x, q, **some))
    add("kl_div log_target", xe.kl_div(x, t, log_target=True, **some))
    add("kl_div rows", xe.kl_div(x, q, axis=1, **some))
    found["kl_div_with_logits_backward"] = xe.kl_div_with_logits_backward(g, x, t, reduction="none")
    found["distillation_loss_backward"] = xe.distillation_loss_backward(g, x, t, y, reduction="none")
    found["binary_cross_entropy_with_logits_backward"] = xe.binary_cross_entropy_with_logits_backward(
        t, x, q, reduction="none")
    found["entropy"], found["entropy_with_logits"] = information.entropy(q), information.entropy_with_logits(x)
    for name in ("cross_entropy", "kl_divergence", "js_divergence"):
        found["information " + name] = getattr(information, name)(q, q[:, ::-1], base=2)
    return found


def batch(shape, first, second=None):
    """As the corpus of test_bits.py, its rows of every bad kind included, and a teacher of the same kinds elsewhere."""
    n, c = shape
    second = first if second is None else second
    single = np.float64 if first == np.float64 else np.float32
    with np.errstate(all="ignore"):
        x, t = corpus(shape, single).astype(first), corpus(shape, single, 77)[::-1].astype(second)
    return (x, t, spread(shape, second, 41), abs(reals((n,), single, 19, 1)), reals((n,), single, 13, 1),
            abs(reals((c,), single, 17, 1)))


def digest_arrays():
    """(case, array) for the golden hashes of test_bits.py: every dtype, and the pairs that mix them."""
    for pair in family.PAIRS:
        for n, c in ((40, 1), (40, 10), (24, 17), (24, 100), (12, 3001), (1, 20_001)):
            for name, array in results(*batch((n, c), *pair)).items():
                yield f"{name} {pair[0]} {pair[1]} {n}x{c}", array
    for dtype in family.FLOATS:
        x = batch((40, 10), dtype)[0]
        for name in ("softmax", "log_softmax"):
            yield f"{name} half corpus {dtype}", getattr(xe, name)(x, temperature=0.7)
        yield f"logsumexp half corpus {dtype}", xe.logsumexp(x)


def of_rows(arguments, rows):
    x, t, q, v, g, w = arguments
    return x[rows], t[rows], q[rows], v[rows], g[rows], w


def assert_all_same(found, wanted, rows=slice(None), skip=()):
    assert set(found) == set(wanted)
    for name in found:
        if name not in skip:
            assert_same_bits(found[name], wanted[name][rows])


# `results` draws its class indices by position: they move with the rows in the calls below only by being left out.
BY_POSITION = ("distillation_loss indices", "distillation_loss indices grad", "distillation_loss_backward")


@pytest.fixture(params=SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def arguments(request, dtype):
    return batch(request.param, dtype)


def test_thread_count(arguments):
    wanted = results(*arguments)
    for threads in (1, 2, 3, 5, 8):
        with xe.num_threads(threads):
            assert_all_same(results(*arguments), wanted)


@pytest.mark.parametrize("first, second", (("f2", "f2"), ("f4", "f8")), ids=str)
def test_thread_count_of_other_dtypes(first, second):
    for shape in ((5000, 7), (2, 20_000)):
        arguments = batch(shape, np.dtype(first), np.dtype(second))
        wanted = results(*arguments)
        for threads in (1, 3):
            with xe.num_threads(threads):
                assert_all_same(results(*arguments), wanted)


def test_batch_split_and_position(arguments):
    wanted, n = results(*arguments), len(arguments[0])
    for size in {1, 3, 17, n // 2 + 1}:
        for start in range(0, min(n, 10 if size == 1 else 40), size):
            rows = slice(start, start + size)
            assert_all_same(results(*of_rows(arguments, rows)), wanted, rows, BY_POSITION)
    order = np.argsort(integers(n, 23), kind="stable")
    assert_all_same(results(*of_rows(arguments, order)), wanted, order, BY_POSITION)


@pytest.mark.parametrize("dtype", family.FLOATS, ids=str)
@pytest.mark.parametrize("columns", (5, 16, 100, 1025))
def test_alignment(columns, dtype):
    x, t, q, v, g, w = batch((20, columns), dtype)
    wanted = results(x, t, q, v, g, w)
    for offset in (1, 2, 4, 8, 34, 60):
        moved = [at_offset(a, k) for a, k in ((x, offset), (t, 64 - offset), (q, (offset * 7) % 64))]
        assert_all_same(results(*moved, at_offset(v, 3), at_offset(g, 5), at_offset(w, 7)), wanted)


CALLS = {
    "cross_entropy": lambda x, t, q, y: (x, q), "kl_div_with_logits": lambda x, t, q, y: (x, t),
    "distillation_loss": lambda x, t, q, y: (x, t, y), "binary_cross_entropy": lambda x, t, q, y: (q, q[:, ::-1]),
    "binary_cross_entropy_with_logits": lambda x, t, q, y: (x, q), "kl_div": lambda x, t, q, y: (x, q),
}


@pytest.mark.parametrize("reduction", ("none", "sum", "mean"))
@pytest.mark.parametrize("name", CALLS)
def test_value_alone_fused_backward_and_in_place(name, reduction, arguments):
    x, t, q, *_ = arguments
    inputs = CALLS[name](x, t, q, integers(len(x), 5) % x.shape[1])
    function, backward = getattr(xe, name), getattr(xe, name + "_backward")
    alone = function(*inputs, reduction=reduction)
    fused, grad = function(*inputs, reduction=reduction, return_grad=True)
    assert_same_bits(alone, fused)
    upstream = np.ones(alone.shape, np.float16) if reduction == "none" else 1
    assert_same_bits(backward(upstream, *inputs, reduction=reduction), grad)
    in_place = inputs[0].copy()
    others = [a.copy() for a in inputs[1:]]
    again, same = function(in_place, *others, reduction=reduction, return_grad=True, grad_out=in_place)
    assert_same_bits(again, alone)
    assert_same_bits(same, grad)
    if inputs[1].dtype == x.dtype:  # in place of the other argument
        out = others[0]
        assert_same_bits(function(*(inputs[0], out, *others[1:]), reduction=reduction, return_grad=True,
                                  grad_out=out)[1], grad)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", ((20_001, 3), (50, 2000), (1, 200_001)), ids=str)
def test_reductions_of_any_thread_count_and_layout(shape, name, dtype):
    """Elementwise losses are added in blocks that neither the threads nor the memory order have a say in."""
    x, t, q = (np.where(abs(a) < 1000, a, 0) for a in batch(shape, dtype)[:3])
    y = integers(shape[0], 5) % shape[1]
    for reduction in ("sum", "mean"):
        wanted = getattr(xe, name)(*CALLS[name](x, t, q, y), reduction=reduction)
        assert np.isfinite(wanted)
        for threads in (1, 3):
            with xe.num_threads(threads):
                assert_same_bits(getattr(xe, name)(*CALLS[name](x, t, q, y), reduction=reduction), wanted)
        for lay in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], lambda a: a[::-1].copy()[::-1]):
            laid_out = CALLS[name](lay(x), t, lay(q), y)
            assert_same_bits(getattr(xe, name)(*laid_out, reduction=reduction), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_perplexity_of_any_thread_count(dtype):
    x, y = reals((5000, 33), dtype, 29, 1), integers(5000, 31) % 33
    wanted = information.perplexity(x, y)
    with xe.num_threads(1):
        assert_same_bits(information.perplexity(np.asfortranarray(x), y), wanted)


@pytest.mark.parametrize("scale", (1, 40, 300))
@pytest.mark.parametrize("classes", (3, 10, 128))
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
