"""How well logits predict their targets, found by many tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from dask import delayed

from .. import row_statistics
from ..evaluation._calibration import check_bins
from ..evaluation._evaluate import block_index, summary
from ..evaluation._token_statistics import TokenStatistics
from ._blocks import blocks_of, result
from ._readings import Source, Work, merge, plan

if TYPE_CHECKING:
    from .._types import Array
    from ..evaluation import Evaluation


def evaluate(
    logits: Any,
    target: Any,
    *,
    ignore_index: int | None = -100,
    temperature: float = 1.0,
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
    ignore_index, temperature, vocab_size, skip_nan, bins
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
    _check_options(ignore_index, temperature)
    options = {"ignore_index": ignore_index, "temperature": temperature, "skip_nan": skip_nan}
    work, parts = plan(TokenStatistics, [source], labels, rows_at_a_time, **options)
    return result(delayed(_evaluation, pure=False)(work, parts, blocks_of(blocks, source.rows.count), bins), compute)


def _check_options(ignore_index: int | None, temperature: float) -> None:
    row_statistics(np.empty((0, 1)), np.empty(0, int), ignore_index=ignore_index, temperature=temperature)


def _evaluation(work: Work[TokenStatistics], parts: Sequence[dict[str, Array]], blocks: Any, bins: int) -> Evaluation:
    statistics = merge(work, parts)
    return summary(statistics, block_index(blocks, statistics.done), bins)
