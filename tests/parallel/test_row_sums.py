"""Sums over parts of the rows, put together: the bits of one process, whatever the parts and their order."""

import math
import pickle
from fractions import Fraction
from itertools import pairwise

import numpy as np
import operations
import pytest
from parallel.rows import (
    ALIGNED,
    CLASSES,
    FORMS,
    ROWS,
    UNALIGNED,
    Batch,
    cross_entropy_batch,
    distillation_batch,
    sums_of,
)
from support import assert_same_bits

import crossent as xe
from crossent import parallel
from crossent.parallel._state import pack, unpack

CASES = [(form, case) for form in FORMS for case in form.cases]


def assert_one_loss(batch, bounds):
    merged = parallel.merge(*batch.sums(bounds))
    assert merged.exact
    assert (merged.start, merged.stop) == (0, len(batch.arrays[0]) * batch.in_row)
    assert_same_bits(merged.loss(), batch.whole())
    assert_same_bits(merged.loss(reduction="sum"), batch.whole(reduction="sum"))
    assert_same_bits(merged.loss(denominator=7.5), batch.whole(denominator=7.5))


@pytest.mark.parametrize(("form", "case"), CASES, ids=lambda x: str(x))
def test_every_case_of_every_loss(form, case, dtype):
    batch = Batch(form, case, dtype)
    for bounds in ALIGNED:
        assert_one_loss(batch, bounds)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("dtype", operations.FLOATS[:2], ids=str)
def test_half_dtypes(form, dtype):
    assert_one_loss(Batch(form, dtype=dtype), ALIGNED[3])


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_any_strides(form):
    batch = Batch(form)
    batch.arrays = [np.repeat(array, 2, axis=0)[::-2] for array in batch.arrays]
    assert_one_loss(batch, ALIGNED[3])


def test_other_axes():
    """Rows count in the C order of the axes without the class axis."""
    rng = np.random.default_rng(1)
    logits, target = rng.normal(size=(CLASSES, 20, 256)), rng.integers(0, CLASSES, (20, 256))
    parts = [parallel.RowSums.of_rows(xe.cross_entropy, logits[:, a:b], target[a:b], axis=0, start=256 * a)
             for a, b in ((0, 8), (8, 20))]
    assert_same_bits(parallel.merge(*parts).loss(), xe.cross_entropy(logits, target, axis=0))


@pytest.mark.parametrize("options", [
    {"alpha": 0.0, "ignore_index": 2}, {"alpha": 1.0, "ignore_index": 2}, {"temperature": 1e-200},
], ids=str)
def test_one_term_of_a_distillation(options):
    """Alone; and with a share that T^2 rounds to 0, while the divergence is infinite."""
    batch = distillation_batch(**options)
    assert len(batch.sums(ALIGNED[0])[0].denominators) == (1 if "alpha" in options else 2)
    for bounds in ALIGNED:
        assert_one_loss(batch, bounds)


@pytest.mark.parametrize("options", [{}, {"weight": np.arange(CLASSES)}, {"label_smoothing": 0.1}], ids=str)
@pytest.mark.parametrize("ignored", [(0, 1024), (1024, 5000), (0, 5000)], ids=str)
def test_ignored_rows(options, ignored):
    batch = cross_entropy_batch(ignored, **options)
    for bounds in ALIGNED:
        assert_one_loss(batch, bounds)


def test_weights_that_cancel():
    signs = np.where(np.arange(ROWS) % 2, 1.0, -1.0)
    for weights in (signs, -signs - 0.25, np.zeros(ROWS)):
        batch = cross_entropy_batch(sample_weight=weights)
        [whole] = parallel.merge(*batch.sums(ALIGNED[0])).denominators
        assert whole == math.fsum(weights)
        for bounds in ALIGNED:
            assert_one_loss(batch, bounds)


@pytest.mark.parametrize("values", [(np.nan,), (np.inf,), (-np.inf, np.inf), (np.nan, np.inf)], ids=str)
def test_losses_that_are_not_finite(values):
    log_probs, target = np.random.default_rng(0).normal(size=(ROWS, 2)), np.zeros(ROWS, int)
    log_probs[1024 * np.arange(1, 1 + len(values)), 0] = values
    parts = [parallel.RowSums.of_rows(xe.nll_loss, log_probs[begin:end], target[begin:end], start=begin)
             for begin, end in pairwise(ALIGNED[4])]
    whole = xe.nll_loss(log_probs, target)
    assert not np.isfinite(whole)
    assert_same_bits(parallel.merge(*parts).loss(), whole)


def test_sums_out_of_range():
    """The sum overflows in the last merge only; a float64 sum does not fit the float32 of the loss."""
    target = np.zeros(4096, int)
    for log_probs in (np.full((4096, 2), -1e305), np.full((4096, 2), -3e38, np.float32)):
        parts = [parallel.RowSums.of_rows(xe.nll_loss, log_probs[k:k + 1024], target[k:k + 1024], start=k)
                 for k in range(0, 4096, 1024)]
        merged = parallel.merge(*parts)
        for reduction in ("mean", "sum"):
            assert_same_bits(merged.loss(reduction=reduction), xe.nll_loss(log_probs, target, reduction=reduction))


# ---- Parts that begin within a block ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", UNALIGNED, ids=str)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_unaligned_parts(form, bounds):
    """The sum is rounded, the denominator, the quotient; and, of two terms, their products with shares and their sum.

    That is 5 roundings to float64 for the whole and for the parts, which are at most 10 * 2^-53 from each other; 2^-60
    is more than the sums of 5,000 numbers of one sign and the products of these errors can add.
    """
    batch = Batch(form)
    merged = parallel.merge(*batch.sums(bounds))
    assert not merged.exact
    whole = Fraction(float(batch.whole()))
    found = Fraction(float(merged.loss()))
    assert abs(found - whole) <= (10 * Fraction(1, 2**53) + Fraction(1, 2**60)) * abs(whole)


def test_exact_says_what_it_means():
    x = np.ones(3000)
    at = lambda begin, end: sums_of(x[begin:end], x[begin:end], start=begin)
    assert at(0, 10).exact and at(1024, 1500).exact
    assert not at(10, 2048).exact
    assert at(10, 10).exact  # no rows
    assert not parallel.merge(at(0, 1500), at(1500, 3000)).exact
    assert parallel.merge(at(0, 2048), at(2048, 3000), at(1500, 1500)).exact


# ---- Values ----------------------------------------------------------------------------------------------------------


def test_a_value_is_small():
    """Of 2^20 rows from any block on: at most two nodes for each size of a subtree, and one for a block that is cut."""
    x = np.zeros(1 << 20)
    for start in (0, 1024, 1024 * 341, 1024 * 1023):
        sums = sums_of(x[:-5], x[:-5], start=start)
        assert len(sums.to_bytes()) < 32 * (2 * 10 + 1) + 600


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_value_travels(form):
    first, second = Batch(form).sums((0, 2048, 5000))
    wanted = parallel.merge(first, second)
    for sent in (lambda sums: pickle.loads(pickle.dumps(sums)), lambda sums: sums.from_bytes(sums.to_bytes())):
        found = parallel.merge(sent(second), sent(first))
        assert sent(found).to_bytes() == wanted.to_bytes()
        assert_same_bits(sent(found).loss(), wanted.loss())
        assert found.denominators == wanted.denominators


def test_numbers_that_are_not_finite_travel():
    x = np.array([np.nan, np.inf, 1.0])
    for part in (x[:1], x[1:], -x[1:]):
        sums = sums_of(part, np.ones(part.size), np.float32)
        assert_same_bits(sums.from_bytes(sums.to_bytes()).loss(), sums.loss())


def test_bytes_that_are_none():
    data = Batch(FORMS[0]).sums((0, 5000))[0].to_bytes()
    about, numbers = unpack(data)
    numbers = bytes(numbers)
    changed = [pack(about | change, numbers) for change in (
        {"dtype": "float65"}, {"stop": None}, {"shares": [1.0, 1.0]}, {"ends": [5000.5]}, {"ends": 5000})]
    without = pack({name: value for name, value in about.items() if name != "exact"}, numbers)
    for bad in (b"", b"\n", b"\x02\0\0\0{}", b"\x02\0\0\0[]", pack(about), data[:-1], data + b"12345678", data[4:],
                pack(about, numbers[16:]), pickle.dumps(data), without, *changed):
        with pytest.raises(ValueError, match=r"^data is not a result of RowSums.to_bytes: expected all of its bytes$"):
            parallel.RowSums.from_bytes(bad)


def test_losses_of_rows_that_are_there():
    """From the losses of each row, as they are before they are rounded."""
    batch = Batch(FORMS[0], "everything")
    arrays, options = batch.arrays, batch.options
    losses = xe.cross_entropy(*arrays, **options, reduction="none")
    counted = np.where(arrays[1] == options["ignore_index"], 0, options["sample_weight"])
    weights = counted * options["weight"][arrays[1]]
    parts = [sums_of(losses[k], weights[k], losses.dtype, k.start) for k in (slice(0, 2048), slice(2048, None))]
    merged = parallel.merge(*parts)
    assert_same_bits(merged.loss(), batch.whole())


# ---- Errors ----------------------------------------------------------------------------------------------------------


def test_rows_that_are_missing_or_in_two_parts():
    first, second, third = Batch(FORMS[0]).sums((0, 1024, 3072, 5000))
    merge = parallel.merge
    with pytest.raises(ValueError, match=r"^the rows from 1024 to 3072 are in no part$"):
        merge(third, first)
    with pytest.raises(ValueError, match=r"^the rows from 1024 to 3072 are in two parts$"):
        merge(first, second, second, third)
    with pytest.raises(ValueError, match=r"^the rows from 1024 to 3072 are in two parts$"):
        merge(second, merge(first, second, third))
    for call in (merge(second, third).loss, second.loss, lambda: second.denominators):
        with pytest.raises(ValueError, match=r"^the rows before 1024 are in no part$"):
            call()


def test_sums_of_different_calls():
    [first], [single] = Batch(FORMS[0]).sums((0, 5000)), Batch(FORMS[0], dtype=np.float32).sums((0, 5000))
    with pytest.raises(ValueError, match=r"^the sums are of different losses, options or dtypes: expected"):
        parallel.merge(first, single)
    with pytest.raises(ValueError, match=r"^no states were given: expected at least one$"):
        parallel.merge()


@pytest.mark.parametrize(("error", "text", "arguments", "options"), [
    (TypeError, "loss is .*: expected crossent.binary_cross_entropy, .* or crossent.sparse_dist", (max, [1]), {}),
    (TypeError, "loss is array", (np.zeros(3), [1]), {}),
    (TypeError, "missing a required argument: 'target'", (xe.cross_entropy, [[0.0]]), {}),
    (TypeError, "unexpected keyword argument 'smoothing'", (xe.cross_entropy, [[0.0]], [0]), {"smoothing": 0.1}),
    (TypeError, "reduction was given for some of the rows", (xe.cross_entropy, [[0.0]], [0]), {"reduction": "sum"}),
    (TypeError, "start is 1.5: expected an integer", (xe.cross_entropy, [[0.0]], [0]), {"start": 1.5}),
    (ValueError, "start is -1: expected the number of rows before", (xe.cross_entropy, [[0.0]], [0]), {"start": -1}),
    (IndexError, r"target\[0\] is 3, outside \[0, 1\)", (xe.cross_entropy, [[0.0]], [3]), {}),
    (ValueError, "label_smoothing is 2.0", (xe.cross_entropy, [[0.0]], [0]), {"label_smoothing": 2.0}),
], ids=lambda x: x if isinstance(x, str) else "")
def test_bad_arguments(error, text, arguments, options):
    with pytest.raises(error, match=text):
        parallel.RowSums.of_rows(*arguments, **options)


@pytest.mark.parametrize(("text", "options"), [
    ("reduction is 'none': expected one of 'mean', 'sum'", {"reduction": "none"}),
    ("denominator was given with reduction='sum'", {"reduction": "sum", "denominator": 2.0}),
    ("denominator is 0.0: expected a finite number > 0", {"denominator": 0.0}),
], ids=lambda x: x if isinstance(x, str) else "")
def test_bad_arguments_of_finish(text, options):
    [sums] = Batch(FORMS[0]).sums((0, 5000))
    with pytest.raises(ValueError, match=text):
        sums.loss(**options)


def test_no_rows():
    [sums] = cross_entropy_batch().sums((0, 0))
    merged = parallel.merge(sums, sums)
    assert merged.denominators == (0.0,)
    assert np.isnan(merged.loss())
    assert merged.loss(reduction="sum") == merged.loss(denominator=2.0) == 0.0
