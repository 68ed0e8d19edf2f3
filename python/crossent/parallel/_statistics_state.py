"""The state of statistics of rows in a shard of the classes, made with the states of all classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import _core, _numbers
from ._shards import RowSpec, Shard
from ._state import OrderedSums, StateOfSums, in_order

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._results import RowStatistics
    from .._types import Array
    from ._shard_state import ShardState
    from ._state import Received


@dataclass(frozen=True, eq=False, repr=False)
class StatisticsState(StateOfSums):
    """The partial result of row statistics over the classes from `start` to `stop`, from `of_shard`.

    They take two steps, as a divergence does: these states are made with the `ShardState` of all classes, and `merge`
    makes one of them as well. It is pickled as any value.

    Attributes
    ----------
    start, stop : int
        Where these classes begin and end.
    exact : bool
        Whether every shard began at a multiple of 1,024 classes and ended at one or at the last class.

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> from crossent import parallel
    >>> logits, target = np.random.default_rng(0).normal(size=(2, 4096)), [7, 4000]
    >>> shards = (logits[:, :2048], 0), (logits[:, 2048:], 2048)
    >>> state = parallel.merge(*(parallel.ShardState.of_shard(x, target, a, n_classes=4096) for x, a in shards))
    >>> states = [parallel.StatisticsState.of_shard(x, state, target, a) for x, a in shards]
    >>> states[1]
    StatisticsState(start=2048, stop=4096, exact=True)
    >>> parallel.merge(*states).statistics(state, target).rank
    array([694, 537])
    >>> xe.row_statistics(logits, target).rank
    array([694, 537])
    """

    rows: RowSpec
    top_k: int
    sums: OrderedSums  # over the classes: of each row that of its entropy, then of each that of its squares
    ahead: Array  # int64: how many classes come before the target; empty without targets
    classes: Array  # int64: those of the largest logits, the largest first, at least one; -1 where there are fewer
    logits: Array  # float64, of these classes

    @classmethod
    def of_shard(
        cls,
        logits_shard: ArrayLike,
        state: ShardState,
        target: ArrayLike | None = None,
        start: int = 0,
        *,
        axis: int = -1,
        temperature: ArrayLike | None = None,
        logit_bias: ArrayLike | None = None,
        top_k: int = 0,
    ) -> Self:
        """The state of statistics in a shard of the classes.

        The formulas for a row ``x`` with the target ``y`` and the maximum ``m``, of the classes ``c`` of the shard, and
        of the sums in each branch of the tree over blocks of 1,024 classes; with a softcap or a bias, ``x`` is what
        comes of them::

            sum_c e[c] * (m - x[c])  and  sum_c e[c]^2                 with e[c] = exp((x[c] - m) / temperature)
            sum_c (x[c] > x[y]) + sum_{c < y} (x[c] == x[y])
            the max(1, top_k) largest x[c], of equal ones those of the lower c

        Parameters
        ----------
        logits_shard : array_like
            The logits of the classes from `start` on, of all rows. There may be none.
        state : ShardState
            Of all classes; made without class weights. It has the temperature, the softcap and the `ignore_index`.
        target : array_like, optional
            The class indices that `state` was made with; None where there were none.
        start : int, default 0
            The first class of the shard.
        axis : int, default -1
            The class axis.
        temperature, logit_bias : array_like, optional
            The temperatures of the rows, and the bias of all classes, that `state` was made with; one temperature of
            all rows is known.
        top_k : int, default 0
            How many of the most likely classes of each row are wanted, at most `n_classes`.

        Returns
        -------
        StatisticsState
            Of 32 bytes for each branch and row, 8 for a target, and 16 for each of the ``max(1, top_k)`` classes.

        Raises
        ------
        TypeError, ValueError, numpy.exceptions.AxisError
            As `crossent.row_statistics`; ValueError also if classes are missing in `state`, or if the rows, the target,
            the temperatures or the bias are others than it was made with.

        References
        ----------
        docs/explanation/design/row.md, "Merging blocks".
        """
        shard = Shard.like(state.rows, logits_shard, axis, start)
        _check_target(state, target)
        temperature = state.rows.checked_temperature(temperature)
        state.rows.check_bias("logit_bias", logit_bias)
        return cls._of(shard, state, target, temperature, logit_bias, _numbers.top_k(top_k, state.rows.n_classes))

    @classmethod
    def _of(
        cls, shard: Shard, state: ShardState, target: object, temperature: object, logit_bias: object, top_k: int
    ) -> Self:
        """`target`: class indices or None; it and the options are those of `state`."""
        rows, count = state.rows, state.rows.count
        if shard.ranges:
            sums, *others = _core.predict_shard(
                state._totals(), shard.place, shard.logits, target, shard.axis, rows.ignore_index, temperature,
                rows.softcap, logit_bias, top_k)
        else:
            k = max(1, top_k)
            ahead = np.zeros(0 if target is None else count, np.int64)
            sums, others = np.zeros((0, 2 * count, 2)), [ahead, np.full((count, k), -1), np.full((count, k), np.nan)]
        return cls(rows, top_k, OrderedSums(shard.start, shard.stop, shard.is_aligned, shard.ends, sums), *others)

    def statistics(self, state: ShardState, target: ArrayLike | None = None) -> RowStatistics:
        """The statistics of the rows, from the states of all classes.

        The formulas are those of `crossent.row_statistics`, which has the same bits if both states are ``exact``.

        Parameters
        ----------
        state, target
            Those that this state was made with.

        Returns
        -------
        RowStatistics
            As `crossent.row_statistics`.

        Raises
        ------
        TypeError, ValueError
            If classes are missing, or if rows, options or target are others than the states were made with.
        """
        _check_target(state, target)
        rows = self.rows
        rows.refuse_missing(self)
        state.rows.refuse_other(rows)
        statistics = self.sums.total(), self.ahead, self.classes, self.logits
        return _core.row_statistics_of_shards(
            state._totals(), statistics, rows.place(), target, len(rows.shape), rows.ignore_index, self.top_k)

    @classmethod
    def _merged(cls, states: Sequence[Self]) -> Self:
        rows, top_k = states[0].rows, states[0].top_k
        for other in states[1:]:
            rows.refuse_other(other.rows)
            if other.top_k != top_k:
                raise ValueError(f"top_k is {top_k} for one and {other.top_k} for another: expected the same")
        ordered = in_order(states, "classes", "state")
        logits, classes = (np.concatenate([getattr(s, x) for s in ordered], axis=1) for x in ("logits", "classes"))
        # Of equal logits, those of the lower class are before the others and stay there. NaN comes last.
        largest = np.argsort(-logits, axis=1, kind="stable")[:, : max(1, top_k)]
        return cls(
            rows, top_k, OrderedSums.merge(s.sums for s in ordered), np.sum([s.ahead for s in ordered], axis=0),
            np.take_along_axis(classes, largest, 1), np.take_along_axis(logits, largest, 1),
        )

    def _parts(self) -> tuple[dict[str, Any], Sequence[Array]]:
        facts = {"rows": asdict(self.rows), "top_k": self.top_k, **self.sums.facts}
        return facts, [self.sums.nodes, self.ahead, self.classes, self.logits]

    @classmethod
    def _of_parts(cls, facts: Any, arrays: Received) -> Self:
        rows, top_k = RowSpec.received(facts["rows"]), facts["top_k"]
        if type(top_k) is not int:
            raise ValueError
        sums = OrderedSums.received(facts, arrays, 2 * rows.count)
        ahead = arrays.array(rows.count if rows.target == "indices" else 0, kind="i8")
        candidates = rows.count, max(1, top_k)
        return cls(rows, top_k, sums, ahead, arrays.array(*candidates, kind="i8"), arrays.array(*candidates))


def _check_target(state: ShardState, target: object) -> None:
    if (state.rows.target == "indices") != (target is not None):
        expected = "expected None" if target is not None else "expected class indices"
        raise ValueError(f"target: {expected}, as the states were made with")
    if target is not None:
        state.rows.check_inputs(target, None)
