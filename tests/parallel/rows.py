"""Batches of rows for the losses of the registry, and their parts."""

from itertools import pairwise

import numpy as np
import operations

import crossent as xe
from crossent import _core, parallel
from crossent.parallel._row_sums import LOSSES
from crossent.parallel._state import OrderedSums

FORMS = tuple(form for form in operations.FORMS if form.function in LOSSES)
# Where the parts of 5,000 rows begin and end: uneven, empty, one block each, blocks of several subtrees.
ALIGNED = (
    (0, 5000),
    (0, 1024, 5000),
    (0, 0, 4096, 5000, 5000),
    (0, 3072, 4096, 4096, 5000),
    (0, 1024, 2048, 3072, 4096, 5000),
    (0, 0, 1024, 1024, 2048, 2048, 3072, 4096, 4096, 5000),
)
UNALIGNED = ((0, 1, 5000), (0, 1000, 2000, 5000), (0, 1024, 1025, 3072, 4999, 5000))
ROWS, CLASSES = 5000, 5


class Batch:
    """Arrays and options of a form; those in `per_row` are split with the rows."""

    def __init__(self, form, case=None, dtype=np.float64, seed=0, rows=ROWS):
        rng = np.random.default_rng(seed)
        draw = lambda kind: operations.DRAW[kind](rng, rows, CLASSES)
        self.loss, self.form = form.function, form
        self.in_row = CLASSES if form.per_element else 1  # how many count as rows
        self.arrays = [self._typed(draw(kind), dtype) for kind in form.arrays.values()]
        options = form.last_case if case is None else form.cases[case]
        self.options = operations.resolved({**form.fixed, **options}, lambda name, kind: self._typed(draw(kind), dtype))

    @staticmethod
    def _typed(array, dtype):
        return array if array.dtype.kind in "iu" else array.astype(dtype)

    def part(self, begin, end):
        options = {name: value[begin:end] if name == "sample_weight" or np.shape(value)[:1] == (ROWS,) else value
                   for name, value in self.options.items()}
        return [array[begin:end] for array in self.arrays], options

    def parts(self, bounds):
        """(start, arrays, options) of each."""
        return [(begin * self.in_row, *self.part(begin, end)) for begin, end in pairwise(bounds)]

    def whole(self, **how):
        return self.loss(*self.arrays, **self.options, **{"reduction": "mean", **how})

    def sums(self, bounds):
        return [parallel.RowSums.of_rows(self.loss, *arrays, start=start, **options)
                for start, arrays, options in self.parts(bounds)]


def distillation_batch(**options):
    """With class indices, and other options than those of the registry."""
    batch = Batch(next(form for form in FORMS if form.name == "distillation_loss_indices"), "plain")
    batch.options = options
    return batch


def cross_entropy_batch(ignored=(0, 0), **options):
    """Of float32 logits and class indices, with other options than those of the registry. `ignored`: these rows."""
    form = next(form for form in FORMS if form.function is xe.cross_entropy)
    batch = Batch(form, "plain", np.float32)
    batch.options = options
    logits, target = batch.arrays
    logits[slice(*ignored)] = np.nan  # never read
    target[slice(*ignored)] = -100
    return batch


def sums_of(losses, weights, dtype=np.float64, start=0):
    """`RowSums` of the unrounded losses of rows and of their weights."""
    columns = [_core.sum_blocks(np.ascontiguousarray(x, np.float64)) for x in (losses, weights)]
    return parallel.RowSums(OrderedSums.of_blocks(start, losses.size, np.stack(columns)), (1.0,), np.dtype(dtype))
