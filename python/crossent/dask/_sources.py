"""What `evaluate` and `compare` are given: all rows of it, and those of each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import dask.array as da
import numpy as np

from .._dtypes import like
from ..evaluation._inputs import open_rows, open_target_rows
from ..evaluation._logits_file import ScoredRows
from ..evaluation._rows import Rows
from ._arrays import known_chunks


class Source(NamedTuple):
    """Logits, or targets as rows of one integer."""

    rows: Rows
    """What is known of all rows, and the rows themselves where they are in files."""
    array: Any
    """The rows where they are in an array of Dask or NumPy; else None."""

    @classmethod
    def of_logits(cls, given: Any, name: str, vocab_size: int | None) -> Source:
        if not isinstance(given, (da.Array, np.ndarray)):
            return cls(open_rows(given, vocab_size=vocab_size, name=name), None)
        array = known_chunks(name, given)
        rows = _outline(open_rows(like(array), vocab_size=vocab_size, name=name))
        return cls(rows, array.reshape(rows.count, array.shape[-1]))

    @classmethod
    def of_targets(cls, given: Any, count: int) -> Source:
        if not isinstance(given, (da.Array, np.ndarray)):
            return cls(open_target_rows(given, count), None)
        array = known_chunks("target", given).reshape(-1)
        return cls(_outline(open_target_rows(like(array), count)), array)

    def matching(self, rows: Rows) -> Source:
        """The same rows, or some of them, as `matched` says."""
        array = self.array
        return Source(rows, array if array is None or rows is self.rows else cast(ScoredRows, rows).of_array(array))

    def of_tasks(self, lengths: Sequence[int]) -> list[Any]:
        """A Delayed array of so many rows for each task; None where the task opens files."""
        if self.array is None or not lengths:
            return [None] * len(lengths)
        chunks = (tuple(lengths), *self.array.shape[1:])
        is_lazy = isinstance(self.array, da.Array)
        array = self.array.rechunk(chunks) if is_lazy else da.from_array(self.array, chunks)
        return array.to_delayed().ravel().tolist()  # type: ignore[no-any-return]


def _outline(rows: Rows) -> Rows:
    """What is known of the rows, without them."""
    return Rows(rows.name, rows.count, rows.classes, rows.dtype)


def rows_of_task(rows: Rows, array: Any, first: int, count: int) -> Rows:
    """Of all the rows, those of a task, which are in `array` or in files."""
    if array is None:
        return rows.part(first, first + count)
    return open_rows(array, vocab_size=rows.classes, name=rows.name)


def targets_of_task(rows: Rows, array: Any, first: int, count: int) -> Rows:
    """As `rows_of_task`."""
    return rows.part(first, first + count) if array is None else open_target_rows(array, count)
