"""`evaluate` and `compare` by tasks that read some of the rows each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

import dask.array as da
import numpy as np
from dask import delayed

from .. import row_statistics
from .._arrays import like
from .._threads import num_threads
from ..evaluation._calibration import check_bins
from ..evaluation._compare import check_worst, matched, open_paired_targets, window_length
from ..evaluation._compare_summary import summary as summary_of_two
from ..evaluation._evaluate import block_index, summary
from ..evaluation._inputs import open_rows, open_target_rows, read_targets
from ..evaluation._llama import LlamaStatistics
from ..evaluation._logits_file import ScoredRows
from ..evaluation._paired_statistics import Divergences
from ..evaluation._rows import Rows
from ..evaluation._token_statistics import Reading, TokenStatistics, rows_in_block
from ._blocks import blocks_of, known_chunks, result

if TYPE_CHECKING:
    from .._types import Array
    from ..evaluation import Comparison, Evaluation, LlamaComparison


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


def evaluate(
    logits: Any,
    target: Any,
    *,
    ignore_index: int | None = -100,
    temperature: float = 1.0,
    softcap: float | None = None,
    logit_bias: Any = None,
    blocks: Any = None,
    vocab_size: int | None = None,
    skip_nan: bool = False,
    bins: int = 15,
    rows_at_a_time: int | None = None,
    compute: bool = True,
) -> Any:
    """How well logits predict their targets, with standard errors.

    The figures are those of `crossent.evaluation.evaluate`, to the bit, however the arrays are chunked. Each task keeps
    24 bytes of each of its rows (40 of float64 logits) and the target, and one task makes the figures of those of all
    rows, for which its worker needs some 190 bytes of memory a row.

    Parameters
    ----------
    logits : dask.array.Array or array_like, (N, C), or path, or a sequence of paths
        As for `crossent.evaluation.evaluate`. A path may be a glob. All workers must see the files.
    target : dask.array.Array or array_like, (N,), or path, or a sequence of paths
        Class indices.
    ignore_index, temperature, softcap, logit_bias, vocab_size, skip_nan, bins
        As for `crossent.evaluation.evaluate`.
    blocks : int, dask.array.Array or array_like, (N,), optional
        What belongs together.
    rows_at_a_time : int, optional
        The rows that a task reads where neither argument is a Dask array. The default is those of 64 million logits.
    compute : bool, default True
        Whether the figures are computed now.

    Returns
    -------
    crossent.evaluation.Evaluation, or dask.delayed.Delayed of it with ``compute=False``

    Raises
    ------
    TypeError, ValueError, IndexError, OSError
        As `crossent.evaluation.evaluate`: of shapes, dtypes and options by the call, of values when it is computed,
        with the position among all rows. ValueError also if the chunks of an array are of unknown sizes.

    References
    ----------
    See `crossent.evaluation.evaluate`.

    Examples
    --------
    >>> import dask.array as da
    >>> from crossent.dask import evaluate
    >>> logits = da.from_array([[2.0, 1.0, 0.0], [0.0, 3.0, 3.0], [4.0, 1.0, 0.0], [1.0, 0.0, 0.0]], chunks=(2, 3))
    >>> result = evaluate(logits, da.from_array([1, 2, 0, -100], chunks=3))
    >>> result.tokens, result.ignored, round(result.loss, 4), round(result.mean_rank, 4)
    (3, 1, 0.7304, 1.6667)
    """
    check_bins(bins)
    source = Source.of_logits(logits, "logits", vocab_size)
    labels = Source.of_targets(target, source.rows.count)
    _check_ignored(ignore_index)
    options = {
        "ignore_index": ignore_index,
        "temperature": temperature,
        "softcap": softcap,
        "logit_bias": logit_bias,
        "skip_nan": skip_nan,
    }
    work, parts = plan(TokenStatistics, [source], labels, rows_at_a_time, **options)
    return result(delayed(_evaluation, pure=False)(work, parts, blocks_of(blocks, source.rows.count), bins), compute)


def _check_ignored(ignore_index: int | None) -> None:
    row_statistics(np.empty((0, 1)), np.empty(0, int), ignore_index=ignore_index)


def _evaluation(work: Work[TokenStatistics], parts: Sequence[dict[str, Array]], blocks: Any, bins: int) -> Evaluation:
    statistics = merge(work, parts)
    return summary(statistics, block_index(blocks, statistics.done), bins)


def compare(
    base: Any,
    other: Any,
    target: Any = None,
    *,
    ignore_index: int | None = -100,
    base_softcap: float | None = None,
    base_logit_bias: Any = None,
    other_softcap: float | None = None,
    other_logit_bias: Any = None,
    blocks: Any = None,
    vocab_size: int | None = None,
    skip_nan: bool = False,
    worst: int = 10,
    llama: bool = False,
    rows_at_a_time: int | None = None,
    compute: bool = True,
) -> Any:
    """How far the predictions of one model are from those of another, with standard errors.

    The figures are those of `crossent.evaluation.compare`, to the bit, however the arrays are chunked. Each task keeps
    38 bytes of each of its rows (66 of float64 logits) and the target, and one task makes the figures of those of all
    rows, for which its worker needs some 250 bytes of memory a row.

    Parameters
    ----------
    base, other : dask.array.Array or array_like, (N, C), or path, or a sequence of paths
        As for `crossent.evaluation.compare`. A path may be a glob. All workers must see the files.
    target : dask.array.Array or array_like, (N,), or path, or a sequence of paths, optional
        Class indices.
    ignore_index, base_softcap, base_logit_bias, other_softcap, other_logit_bias, vocab_size, skip_nan, worst, llama
        As for `crossent.evaluation.compare`.
    blocks : int, dask.array.Array or array_like, (N,), optional
        What belongs together.
    rows_at_a_time : int, optional
        The rows that a task reads where no argument is a Dask array. The default is those of 64 million logits.
    compute : bool, default True
        Whether the figures are computed now.

    Returns
    -------
    crossent.evaluation.Comparison or LlamaComparison, or dask.delayed.Delayed of it with ``compute=False``

    Raises
    ------
    TypeError, ValueError, IndexError, OSError
        As `crossent.evaluation.compare`: of shapes, dtypes and options by the call, of values when it is computed, with
        the position among all rows. ValueError also if the chunks of an array are of unknown sizes.

    References
    ----------
    See `crossent.evaluation.compare`.

    Examples
    --------
    >>> import dask.array as da
    >>> from crossent.dask import compare
    >>> base = da.from_array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [4.0, 1.0, 0.0]], chunks=2)
    >>> other = base + da.from_array([[0.0, 0.5, 0.0], [0.0, -1.0, 1.5], [0.0, 0.0, 0.0]], chunks=2)
    >>> result = compare(base, other, da.from_array([0, 1, 0], chunks=2))
    >>> print(f"{result.kl:.4f} +- {result.standard_errors['kl']:.4f}, {result.perplexity_ratio:.4f}")
    0.1839 +- 0.1715, 1.3963
    """
    check_worst(worst)
    sources = [Source.of_logits(x, name, vocab_size) for x, name in ((base, "base"), (other, "other"))]
    base_rows, other_rows = matched(sources[0].rows, sources[1].rows)
    sources[1] = sources[1].matching(other_rows)
    if target is None:
        target = open_paired_targets(None, base, base_rows)
    labels = None if target is None else Source.of_targets(target, base_rows.count)
    kind: type[LlamaStatistics] | type[Divergences] = LlamaStatistics if llama else Divergences
    options = {
        "ignore_index": ignore_index,
        "base_softcap": base_softcap,
        "base_logit_bias": base_logit_bias,
        "other_softcap": other_softcap,
        "other_logit_bias": other_logit_bias,
        "skip_nan": skip_nan,
    }
    work, parts = plan(kind, sources, labels, rows_at_a_time, **options)
    if llama:
        return result(delayed(_llama_comparison, pure=False)(work, parts), compute)
    ids = blocks_of(blocks, base_rows.count)
    return result(delayed(_comparison, pure=False)(work, parts, ids, worst), compute)


def _comparison(
    work: Work[Divergences], parts: Sequence[dict[str, Array]], blocks: Any, worst: int
) -> Comparison:
    statistics = merge(work, parts)
    return summary_of_two(statistics, block_index(blocks, statistics.done), window_length(blocks), worst)


def _llama_comparison(work: Work[LlamaStatistics], parts: Sequence[dict[str, Array]]) -> LlamaComparison:
    return merge(work, parts).summary()
