"""The numbers that `evaluate` and `compare` keep of each row, found by tasks that read some of the rows each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Generic, NamedTuple, TypeVar, cast

import dask.array as da
import numpy as np
from dask import delayed

from .._dtypes import like
from .._threads import num_threads
from .._types import Array
from ..evaluation._inputs import open_rows, open_target_rows, read_targets
from ..evaluation._logits_file import ScoredRows
from ..evaluation._rows import Rows
from ..evaluation._token_statistics import Reading, rows_in_block
from ._blocks import known_chunks


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


ELEMENTS_PER_TASK = 1 << 26  # 256 MiB of float32 logits in files: a second, beside which scheduling is nothing

Found = TypeVar("Found", bound=Reading[Any])


class Work(NamedTuple, Generic[Found]):
    """What is the same for all tasks."""

    kind: Callable[..., Found]
    inputs: tuple[Rows, ...]
    target: Rows | None
    options: dict[str, Any]


def plan(
    kind: Callable[..., Found],
    inputs: Sequence[Source],
    target: Source | None,
    rows_at_a_time: int | None,
    **options: Any,
) -> tuple[Any, list[Any]]:
    """Delayed: the work, and what each task finds. `merge` of them is as if one task had read all rows."""
    kind(*(source.rows.part(0, 0) for source in inputs), None, **options)  # refuses what it does not read
    work = Work(kind, tuple(source.rows for source in inputs), None if target is None else target.rows, options)
    lengths = _task_lengths([*inputs, *([] if target is None else [target])], rows_at_a_time)
    arrays = zip(*(source.of_tasks(lengths) for source in inputs), strict=True)
    targets = [None] * len(lengths) if target is None else target.of_tasks(lengths)
    shared = delayed(work, traverse=False)
    read = delayed(_read, pure=False)
    starts = accumulate(lengths, initial=0)
    parts = zip(starts, lengths, arrays, targets, strict=False)
    return shared, [read(shared, first, count, list(x), t) for first, count, x, t in parts]


def _task_lengths(sources: Sequence[Source], rows_at_a_time: int | None) -> list[int]:
    """The rows of each task: those of the chunks of the first Dask array; where there is none, so many."""
    for source in sources:
        if isinstance(source.array, da.Array):
            return [n for n in source.array.chunks[0] if n]
    rows = sources[0].rows
    size = rows_in_block(rows_at_a_time, rows.classes, ELEMENTS_PER_TASK)
    return [min(size, rows.count - first) for first in range(0, rows.count, size)]


def _read(work: Work[Found], first: int, count: int, arrays: list[Any], target: Any) -> dict[str, Array]:
    """What is kept of the rows of a task, by name, and their targets."""
    inputs = [rows_of_task(rows, x, first, count) for rows, x in zip(work.inputs, arrays, strict=True)]
    labels = None if work.target is None else read_targets(targets_of_task(work.target, target, first, count))
    found = work.kind(*inputs, labels, start=first, **work.options)
    with num_threads(1):
        for _ in found.read():
            pass
    return found.arrays() | ({} if labels is None else {"target": labels})


def merge(work: Work[Found], parts: Sequence[dict[str, Array]]) -> Found:
    """All rows, as they were read by the tasks, in order."""
    target = None
    if work.target is not None:
        target = np.concatenate([np.empty(0, np.int64), *(part["target"] for part in parts)])
    whole = work.kind(*work.inputs, target, **work.options)
    for part in parts:
        whole.keep(whole.done, len(next(iter(part.values()))), part)
    return whole
