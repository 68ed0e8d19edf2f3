"""What a part of the classes says of rows whose states are known, as a value that is put together in any order."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import _core
from ._merge_tree import in_order
from ._messages import Message
from ._ordered_sums import OrderedSums, Summed
from ._row_states import Rows, refuse_missing_classes, refuse_other_rows, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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
            _, smoothed, probabilities = rows.format
            sums, *others = _core.predict_shard(
                rows.whole(shard.axis), *states.whole(), smoothed, probabilities, shard.logits,
                shard.start, shard.block_counts, target, shard.axis, rows.temperature, rows.ignore_index, top_k,
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
        _, smoothed, probabilities = rows.format
        return _core.row_statistics_of_shards(
            rows.whole(), *states.whole(), smoothed, probabilities, self.sums.total(), self.ahead,
            self.classes, self.logits, target, len(rows.shape), rows.temperature, rows.ignore_index, self.top_k,
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
