"""Statistics of rows whose classes are in shards, without a communicator."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import _core, _numbers
from ._cross_entropy_states import shard_like
from ._merge_tree import OrderedSums, Summed, in_order
from ._messages import Message
from ._row_states import Rows, refuse_missing_classes, refuse_other_rows, rows_of
from ._shards import check_same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from .._results import RowStatistics
    from .._types import Array
    from ._messages import Received
    from ._row_states import RowStates
    from ._shards import Shard


@dataclass(frozen=True, eq=False, repr=False)
class ShardStatistics(Message, Summed):
    """What the classes from `start` to `stop` say of some rows, from `partial_statistics`. It is pickled as any value.

    Attributes
    ----------
    start, stop : int
        Where these classes begin and end.
    exact : bool
        Whether every shard began at a multiple of 1,024 classes and ended at one or at the last class.

    Examples
    --------
    >>> import numpy as np
    >>> from crossent import parallel
    >>> logits = np.zeros((4, 2000))
    >>> states = parallel.partial(logits, n_classes=2000)
    >>> first = parallel.partial_statistics(logits[:, :1024], states)
    >>> second = parallel.partial_statistics(logits[:, 1024:], states, start=1024)
    >>> received = parallel.ShardStatistics.from_bytes(second.to_bytes())
    >>> parallel.ShardStatistics.merge(received, first)
    ShardStatistics(start=0, stop=2000, exact=True)
    """

    rows: Rows
    top_k: int
    sums: OrderedSums  # over the classes: of each row that of its entropy, then of each that of its squares
    ahead: Array  # int64: how many classes come before the target; empty without targets
    classes: Array  # int64: those of the largest logits, the largest first, at least one; -1 where there are fewer
    logits: Array  # float64, of these classes

    def __repr__(self) -> str:
        return f"ShardStatistics(start={self.start}, stop={self.stop}, exact={self.exact})"

    @property
    def nbytes(self) -> int:
        """The number of bytes of the numbers, which are float64 and int64."""
        return sum(x.nbytes for x in (self.sums.nodes, self.ahead, self.classes, self.logits))

    @classmethod
    def of_shard(cls, shard: Shard, states: RowStates, target: object, top_k: int) -> Self:
        """`target`: of the states, class indices or None."""
        rows, count = states.rows, states.rows.count
        if shard.ranges:
            sums, *others = _core.predict_shard(
                states.whole(), shard.place, shard.logits, target, shard.axis, rows.temperature, rows.ignore_index,
                top_k,
            )
        else:
            k = max(1, top_k)
            ahead = np.zeros(0 if target is None else count, np.int64)
            sums, others = np.zeros((0, 2 * count, 2)), [ahead, np.full((count, k), -1), np.full((count, k), np.nan)]
        return cls(rows, top_k, OrderedSums(shard.start, shard.stop, shard.is_aligned, shard.ends, sums), *others)

    @staticmethod
    def merge(*parts: ShardStatistics) -> ShardStatistics:
        """Of the classes of all `parts`, in any order; ValueError if they do not follow each other, or do not fit."""
        if not parts:
            raise ValueError("no statistics were given: expected those of at least one shard")
        rows, top_k = parts[0].rows, parts[0].top_k
        for other in parts[1:]:
            refuse_other_rows(rows, other.rows)
            if other.top_k != top_k:
                raise ValueError(f"top_k is {top_k} for one and {other.top_k} for another: expected the same")
        ordered = in_order(parts, "classes", "part")
        logits, classes = (np.concatenate([getattr(p, x) for p in ordered], axis=1) for x in ("logits", "classes"))
        # Of equal logits, those of the lower class are before the others and stay there. NaN comes last.
        largest = np.argsort(-logits, axis=1, kind="stable")[:, : max(1, top_k)]
        return ShardStatistics(
            rows, top_k, OrderedSums.merge(p.sums for p in ordered), np.sum([p.ahead for p in ordered], axis=0),
            np.take_along_axis(classes, largest, 1), np.take_along_axis(logits, largest, 1),
        )

    def finish(self, states: RowStates, target: object) -> RowStatistics:
        """`states`: of all classes; `target`: of these."""
        refuse_missing_classes(self, self.rows.n_classes)
        refuse_other_rows(states.rows, self.rows)
        rows = self.rows
        statistics = self.sums.total(), self.ahead, self.classes, self.logits
        return _core.row_statistics_of_shards(
            states.whole(), statistics, rows.place(), target, len(rows.shape), rows.temperature, rows.ignore_index,
            self.top_k,
        )

    def _parts(self) -> tuple[dict[str, Any], Sequence[Array]]:
        facts = {"rows": asdict(self.rows), "top_k": self.top_k, **self.sums.facts}
        return facts, [self.sums.nodes, self.ahead, self.classes, self.logits]

    @classmethod
    def _of_parts(cls, facts: Any, arrays: Received) -> Self:
        rows, top_k = rows_of(facts["rows"]), facts["top_k"]
        if type(top_k) is not int:
            raise ValueError
        sums = OrderedSums.received(facts, arrays, 2 * rows.count)
        ahead = arrays.array(rows.count if rows.target == "indices" else 0, kind="i8")
        candidates = rows.count, max(1, top_k)
        return cls(rows, top_k, sums, ahead, arrays.array(*candidates, kind="i8"), arrays.array(*candidates))


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
