"""Shards of any strides beside a guard page: nothing beyond them is read or written, and a copy has the same bits."""

import random

import numpy as np
import pytest
from faults.fuzz_layouts import Placed, draw_layout
from faults.guard_pages import Pool
from support import assert_same_bits

from crossent import parallel

FILL = 0x5A
POOL = Pool()


def placed(draw, array, apart):
    place = Placed(POOL, draw_layout(draw, array.shape, array.itemsize, apart), array.shape, array.dtype, FILL)
    place.array[...] = array
    return place


@pytest.mark.parametrize("seed", range(120))
def test_states_and_gradients(seed):
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    rows, classes, start = draw.randint(1, 20), draw.choice((1, 7, 130, 1024, 1500)), draw.choice((0, 1024, 77))
    n_classes, dtype = start + classes + draw.choice((0, 900)), draw.choice(("f2", "f4", "f8"))
    axis = draw.randint(0, 1)
    shape = (rows, classes) if axis == 1 else (classes, rows)
    logits = placed(draw, rng.normal(0, 5, shape).astype(dtype), False)
    by_index = draw.random() < 0.6
    target = placed(draw, rng.integers(0, n_classes, rows) if by_index else rng.random(shape).astype(dtype), False)
    weight = placed(draw, rng.random(n_classes).astype(dtype), False)
    options = {"weight": weight.array, "label_smoothing": draw.choice((0.0, 0.1))} if draw.random() < 0.6 else {}
    own = np.array(logits.array, order="C"), np.array(target.array, order="C")  # what is there, if they overlap, too
    for place in (logits, target, weight):
        place.block.protect(read_only=True)

    def states_of(x, y):
        return parallel.ShardState.of_shard(x, y, start, n_classes=n_classes, axis=axis, **options)

    states, wanted = states_of(logits.array, target.array), states_of(*own)
    assert states.to_bytes() == wanted.to_bytes()
    others = [
        parallel.ShardState.of_shard(
            np.zeros((rows, stop - first), dtype), own[1] if by_index else np.zeros((rows, stop - first)), first,
            n_classes=n_classes, **options)
        for first, stop in ((0, start), (start + classes, n_classes)) if stop > first
    ]
    whole = parallel.merge(states, *others)
    kept = {"weight": options.get("weight")}
    out = placed(draw, np.zeros(shape, dtype), True)
    before = out.block.bytes.copy()
    result = whole.gradient(logits.array, target.array, start, axis=axis, out=out.array, **kept)
    assert result is out.array
    assert out.changed_outside(before) == 0
    assert_same_bits(result, whole.gradient(own[0], own[1], start, axis=axis, **kept))
    for place in (logits, target, weight, out):
        POOL.give_back(place.block)
