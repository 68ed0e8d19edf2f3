"""The order of the additions: whole subtrees of any parts of the rows, put together in any order."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from support import assert_same_bits

from crossent import _core
from crossent.parallel._state import OrderedSums


def dyadic(rng, rows):
    """Numbers whose sum depends on the order of the additions, and on every rounding error of it."""
    return rng.normal(size=rows) * 2.0 ** rng.integers(-60, 60, rows)


def total_of(x):
    [total] = OrderedSums.of_blocks(0, x.size, blocks_of(x)).total()
    return total


def blocks_of(x):
    return _core.sum_blocks(np.ascontiguousarray(x))[None]


def whole_tree(blocks):
    """The definition, by recursion: a range of n blocks is split at the largest power of two below n."""
    if len(blocks) == 1:
        return blocks[0]
    half = 1 << (len(blocks) - 1).bit_length() - 1
    (a, a_lo), (b, b_lo) = whole_tree(blocks[:half]), whole_tree(blocks[half:])
    hi = a + b
    b_rounded = hi - a
    return hi, ((a - (hi - b_rounded)) + (b - b_rounded)) + (a_lo + b_lo)


@pytest.mark.parametrize("rows", [1, 1023, 1024, 1025, 3 * 1024, 7 * 1024 + 1, 16 * 1024, 23 * 1024 + 500])
def test_any_split_of_any_number_of_blocks(rows):
    rng = np.random.default_rng(rows)
    x = dyadic(rng, rows)
    [blocks] = blocks_of(x)
    wanted = np.array(whole_tree(list(blocks)))
    assert_same_bits(total_of(x), wanted)
    for parts in range(1, 10):
        for _ in range(20):
            inner = sorted((1024 * rng.integers(0, (rows - 1) // 1024 + 1, parts - 1)).tolist())
            sums = [OrderedSums.of_blocks(begin, end - begin, blocks_of(x[begin:end]))
                    for begin, end in pairwise([0, *inner, rows])]
            rng.shuffle(sums)
            merged = OrderedSums.merge(sums)
            assert merged.exact
            assert_same_bits(merged.total()[0], wanted)


def test_merged_in_any_groups():
    """Neighbours may be merged before others, in any order: it is the same in the end."""
    rng = np.random.default_rng(3)
    rows = 29 * 1024 + 3
    x = dyadic(rng, rows)
    for _ in range(50):
        bounds = [0, *sorted((1024 * rng.choice(np.arange(1, 29), 12, replace=False)).tolist()), rows]
        sums = [OrderedSums.of_blocks(begin, end - begin, blocks_of(x[begin:end])) for begin, end in pairwise(bounds)]
        while len(sums) > 1:
            k = rng.integers(len(sums) - 1)
            sums[k:k + 2] = [OrderedSums.merge(sums[k:k + 2])]
        assert_same_bits(sums[0].total()[0], total_of(x))


def test_unaligned_sums_against_exact_ones():
    """A sum of any parts errs by its rounding, 1/2 ULP; each of 20,000 additions by less than 2^-50 of that."""
    rng = np.random.default_rng(5)
    x = rng.exponential(size=20_000) * 2.0 ** rng.integers(-30, 30, 20_000)
    exact = sum(map(Fraction, x.tolist()))
    for _ in range(50):
        bounds = [0, *sorted(rng.integers(0, x.size, 6).tolist()), x.size]
        merged = OrderedSums.merge(
            OrderedSums.of_blocks(begin, end - begin, blocks_of(x[begin:end])) for begin, end in pairwise(bounds))
        [(hi, lo)] = merged.total()
        assert abs(Fraction(hi + lo) - exact) <= (Fraction(1, 2) + Fraction(1, 2**35)) * Fraction(math.ulp(hi + lo))


def test_sums_at_any_address():
    """As they are in a message of another process. The core has no loads for them, and says so."""
    rows = 7 * 1024
    blocks = blocks_of(dyadic(np.random.default_rng(5), rows))
    odd = np.frombuffer(b"odd" + blocks.tobytes(), offset=3).reshape(blocks.shape)
    assert not odd.flags.aligned
    assert_same_bits(OrderedSums.of_blocks(0, rows, odd).total(), OrderedSums.of_blocks(0, rows, blocks).total())
    with pytest.raises(TypeError, match="aligned"):
        _core.merge_sums(odd.reshape(-1, 1, 2))
