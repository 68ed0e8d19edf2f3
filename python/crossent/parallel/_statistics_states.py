"""Statistics of rows whose classes are in shards, without a communicator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _numbers
from ._cross_entropy_states import shard_like
from ._shard_statistics import ShardStatistics
from ._shards import check_same

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._results import RowStatistics
    from ._row_states import RowStates


def partial_statistics(
    logits_shard: ArrayLike,
    states: RowStates,
    target: ArrayLike | None = None,
    start: int = 0,
    *,
    axis: int = -1,
    top_k: int = 0,
) -> ShardStatistics:
    """What a shard of the classes says of rows whose states are known, for `finish_statistics`.

    The third of four steps: the states of all shards, from `partial`, are put together by `merge`; with these, each
    shard is read once more; what that gives is put together by `ShardStatistics.merge`, and `finish_statistics` makes
    the statistics of it.

    The formulas for a row ``x`` with the target ``y`` and the maximum ``m``, of the classes ``c`` of the shard, and of
    the sums in each branch of the tree over blocks of 1,024 classes::

        sum_c e[c] * (m - x[c])  and  sum_c e[c]^2                 with e[c] = exp((x[c] - m) / temperature)
        sum_c (x[c] > x[y]) + sum_{c < y} (x[c] == x[y])
        the max(1, top_k) largest x[c], of equal ones those of the lower c

    Parameters
    ----------
    logits_shard : array_like
        The logits of the classes from `start` on, of all rows. There may be none.
    states : RowStates
        Of all classes, from `merge`; made without class weights. They have the temperature and the `ignore_index`.
    target : array_like, optional
        The class indices that the states were made with; None where there were none.
    start : int, default 0
        The first class of the shard.
    axis : int, default -1
        The class axis.
    top_k : int, default 0
        How many of the most likely classes of each row are wanted, at most `n_classes`.

    Returns
    -------
    ShardStatistics
        Of 32 bytes for each branch and row, 8 for a target, and 16 for each of the ``max(1, top_k)`` classes.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `crossent.row_statistics`; ValueError also if classes are missing in the states, or if the rows or the target
        are others than the states were made with.

    References
    ----------
    docs/explanation/design/row.md, "Merging blocks".

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> from crossent import parallel
    >>> logits, target = np.random.default_rng(0).normal(size=(2, 4096)), [7, 4000]
    >>> shards = (0, logits[:, :2048]), (2048, logits[:, 2048:])
    >>> states = parallel.merge(*(parallel.partial(x, target, start, n_classes=4096) for start, x in shards))
    >>> parts = [parallel.partial_statistics(x, states, target, start) for start, x in shards]
    >>> parallel.finish_statistics(states, parallel.ShardStatistics.merge(*parts), target).rank
    array([694, 537])
    >>> xe.row_statistics(logits, target).rank
    array([694, 537])
    """
    shard = shard_like(states, logits_shard, start, axis)
    _check_target(states, target)
    return ShardStatistics.of_shard(shard, states, target, _numbers.top_k(top_k, states.rows.n_classes))


def finish_statistics(
    states: RowStates, statistics: ShardStatistics, target: ArrayLike | None = None
) -> RowStatistics:
    """The statistics of rows from what all shards say of them.

    The formulas are those of `crossent.row_statistics`, which has the same bits if states and statistics are `exact`.

    Parameters
    ----------
    states : RowStates
        Of all classes, those that the statistics were made with.
    statistics : ShardStatistics
        Of all classes, from `ShardStatistics.merge`.
    target : array_like, optional
        The class indices that the states were made with; None where there were none.

    Returns
    -------
    RowStatistics
        As `crossent.row_statistics`.

    Raises
    ------
    TypeError, ValueError
        If classes are missing, or if rows, options or target are others than the states were made with.

    References
    ----------
    docs/explanation/design/row.md, "Merging blocks".

    Examples
    --------
    >>> from crossent import parallel
    >>> logits = [[2.0, 1.0, 0.0], [0.0, 3.0, 3.0]]
    >>> states = parallel.partial(logits, [1, 2], n_classes=3)
    >>> statistics = parallel.partial_statistics(logits, states, [1, 2], top_k=2)
    >>> parallel.finish_statistics(states, statistics, [1, 2]).top_k.tolist()
    [[0, 1], [1, 2]]
    """
    _check_target(states, target)
    return statistics.finish(states, target)


def _check_target(states: RowStates, target: object) -> None:
    if (states.rows.target == "indices") != (target is not None):
        expected = "expected None" if target is not None else "expected class indices"
        raise ValueError(f"target: {expected}, as the states were made with")
    if target is not None:
        check_same(states, target, None)
