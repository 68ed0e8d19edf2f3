"""The numbers that `evaluate` and `compare` keep of each row, found by tasks that read some of the rows each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Generic, NamedTuple, TypeVar

import dask.array as da
import numpy as np
from dask import delayed

from .._threads import num_threads
from .._types import Array
from ..evaluation._inputs import read_targets
from ..evaluation._rows import Rows
from ..evaluation._token_statistics import Reading, rows_in_block
from ._sources import Source, rows_of_task, targets_of_task

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
