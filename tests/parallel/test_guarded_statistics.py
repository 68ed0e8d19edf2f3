"""Statistics of shards of any strides beside a guard page: nothing beyond is read, and a copy has the same bits."""

import random

import numpy as np
import pytest
from faults.fuzz_layouts import Placed, draw_layout
from faults.guard_pages import Pool

from crossent import parallel

POOL = Pool()


@pytest.mark.parametrize("seed", range(120))
def test_statistics(seed):
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    rows, classes, start = draw.randint(1, 20), draw.choice((1, 7, 130, 1024, 1500)), draw.choice((0, 1024, 77))
    axis, dtype, top_k = draw.randint(0, 1), draw.choice(("f2", "f4", "f8")), draw.choice((0, 1, 9))
    n_classes = start + classes + draw.choice((9, 900))
    values = {
        "logits": np.round(rng.normal(0, 5, (rows, classes) if axis == 1 else (classes, rows))).astype(dtype),
        "target": rng.integers(0, n_classes, rows),
    }
    values["target"][rng.random(rows) < 0.2] = -100
    places = {}
    for name, array in values.items():
        layout = draw_layout(draw, array.shape, array.itemsize, False)
        place = places[name] = Placed(POOL, layout, array.shape, array.dtype, 0x5A)
        place.array[...] = array
        place.block.protect(read_only=True)
    logits, target = places["logits"].array, places["target"].array
    own = np.array(logits), np.array(target)  # what is there: elements may share memory
    options = {"n_classes": n_classes, "axis": axis}
    shards = [(start, own[0])]
    for first, stop in ((0, start), (start + classes, n_classes)):
        shards.append((first, np.zeros((rows, stop - first) if axis == 1 else (stop - first, rows), dtype)))
    states = parallel.merge(*(parallel.ShardState.of_shard(x, own[1], first, **options) for first, x in shards))
    found, wanted = (parallel.StatisticsState.of_shard(x, states, y, start, axis=axis, top_k=top_k)
                     for x, y in ((logits, target), own))
    assert found.to_bytes() == wanted.to_bytes()
    for place in places.values():
        POOL.give_back(place.block)
