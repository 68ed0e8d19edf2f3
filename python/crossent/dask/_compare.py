"""How far the predictions of one model are from those of another, found by many tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dask import delayed

from ..evaluation._compare import check_worst, matched, open_paired_targets, window_length
from ..evaluation._compare_summary import summary
from ..evaluation._evaluate import block_index
from ..evaluation._llama import LlamaStatistics
from ..evaluation._paired_statistics import Divergences
from ._blocks import blocks_of, result
from ._readings import Source, Work, merge, plan

if TYPE_CHECKING:
    from .._types import Array
    from ..evaluation import Comparison, LlamaComparison


def compare(
    base: Any,
    other: Any,
    target: Any = None,
    *,
    ignore_index: int | None = -100,
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
    ignore_index, vocab_size, skip_nan, worst, llama
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
    work, parts = plan(kind, sources, labels, rows_at_a_time, ignore_index=ignore_index, skip_nan=skip_nan)
    if llama:
        return result(delayed(_llama_comparison, pure=False)(work, parts), compute)
    ids = blocks_of(blocks, base_rows.count)
    return result(delayed(_comparison, pure=False)(work, parts, ids, worst), compute)


def _comparison(
    work: Work[Divergences], parts: Sequence[dict[str, Array]], blocks: Any, worst: int
) -> Comparison:
    statistics = merge(work, parts)
    return summary(statistics, block_index(blocks, statistics.done), window_length(blocks), worst)


def _llama_comparison(work: Work[LlamaStatistics], parts: Sequence[dict[str, Array]]) -> LlamaComparison:
    return merge(work, parts).summary()
