"""What a divergence comes to in a part of the classes, as a value that is put together anywhere and in any order."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import _core
from ._merge_tree import in_order
from ._messages import Message
from ._ordered_sums import OrderedSums, Summed
from ._row_states import Rows, refuse_other_rows, rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._types import Array
    from ._divergence_states import Whole
    from ._messages import Received
    from ._shards import Shard


@dataclass(frozen=True, eq=False, repr=False)
class DivergenceSums(Message, Summed):
    """What a divergence comes to over the classes from `start` to `stop`, from `partial_divergence`. It can be pickled.

    Attributes
    ----------
    start, stop : int
        Where these classes begin and end.
    exact : bool
        As of `RowStates`.

    Examples
    --------
    >>> from crossent import parallel
    >>> states = parallel.partial([[0.0, 0.0]], n_classes=2)
    >>> parallel.partial_divergence([[0.0, 0.0]], [[0.0, 0.0]], states, states)
    DivergenceSums(start=0, stop=2, exact=True)
    """

    rows: Rows
    divergence: str
    beta: float
    sums: OrderedSums

    def __repr__(self) -> str:
        return f"DivergenceSums(start={self.start}, stop={self.stop}, exact={self.exact})"

    @classmethod
    def of_shard(cls, whole: Whole, options: Mapping[str, Any], shard: Shard, teacher: object) -> Self:
        """Over the classes of a shard: of each row the value, then what its gradient needs."""
        rows, how = whole.rows, [options[name] for name in ("temperature", "divergence", "beta")]
        sums = np.zeros((0, 2 * rows.count, 2))
        if shard.ranges:
            _, smoothed, probabilities = rows.format
            sums = _core.divergence_subtrees(
                rows.whole(shard.axis), whole.student.whole().numbers, whole.teacher.whole().numbers, smoothed,
                probabilities, shard.logits, teacher, shard.start, shard.block_counts, shard.axis, *how,
            )
        ordered = OrderedSums(shard.start, shard.stop, shard.is_aligned, shard.ends, sums)
        return cls(rows, options["divergence"], float(options["beta"]), ordered)

    @staticmethod
    def merge(*parts: DivergenceSums) -> DivergenceSums:
        """Over the classes of all `parts`, in any order; ValueError if they do not follow each other, or do not fit."""
        if not parts:
            raise ValueError("no sums were given: expected those of at least one shard")
        first = parts[0]
        for other in parts[1:]:
            refuse_other_rows(first.rows, other.rows)
            if (other.divergence, other.beta) != (first.divergence, first.beta):
                raise ValueError("the sums are of different divergences: expected one, with the same beta")
        ordered = in_order(parts, "classes", "part")
        return DivergenceSums(first.rows, first.divergence, first.beta, OrderedSums.merge(p.sums for p in ordered))

    def _parts(self) -> tuple[dict[str, Any], Sequence[Array]]:
        facts = {"rows": asdict(self.rows), "divergence": self.divergence, "beta": self.beta}
        return {**facts, **self.sums.facts}, [self.sums.nodes]

    @classmethod
    def _of_parts(cls, facts: Any, arrays: Received) -> Self:
        rows = rows_of(facts["rows"])
        return cls(rows, facts["divergence"], facts["beta"], OrderedSums.received(facts, arrays, 2 * rows.count))
