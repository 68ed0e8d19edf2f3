"""Divergences of rows whose classes are in shards: the states they need, and their sums over a part of the classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import _core, _numbers, _validate
from .._distillation_loss import distillation_loss
from .._dtypes import arithmetic, converted, floating
from .._options import for_core
from ._merge_tree import OrderedSums, Summed, in_order
from ._messages import Message
from ._row_states import Root, Rows, RowStates, refuse_other_rows, rows_of
from ._shards import Shard, split_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._types import Array
    from ._messages import Received


@dataclass(frozen=True, eq=False)
class Whole:
    """The states of all classes of student and teacher, and of the student's cross-entropy, where there is one."""

    student: RowStates
    teacher: RowStates
    cross_entropy: RowStates | None

    @classmethod
    def of(cls, merged: list[RowStates], with_cross_entropy: bool) -> Whole:
        """From the states of the teacher, of the student and, where it is at another temperature, of the rest."""
        teacher, student, *others = merged
        return cls(student, teacher, (others[0] if others else student) if with_cross_entropy else None)

    @property
    def rows(self) -> Rows:
        return self.student.rows


def share_of_divergence(alpha: object, target: object) -> float:
    return _numbers.fraction("alpha", alpha) if alpha is not None else 1.0 if target is None else 0.5


def teacher_of(shard: Shard, logits: object) -> Array:
    """The teacher's logits of a shard, of a dtype with the arithmetic of the student's."""
    given, wanted = floating("teacher_logits", logits), arithmetic(shard.logits.dtype)
    _validate.same_shape("teacher_logits", given, shard.logits.shape)
    return given if arithmetic(given.dtype) == wanted else converted(given, wanted)


def computed(
    whole: Whole, options: Mapping[str, Any], sums: Array, shard: Shard | None, teacher: object, target: object,
    grad_out: object,
) -> Any:
    """The loss, or with a shard it and the gradient there. `sums`: over all classes."""
    third = None if whole.cross_entropy is None else whole.cross_entropy.whole()
    states = whole.student.whole(), whole.teacher.whole(), third, sums
    return _call(whole.rows, options, states, shard, teacher, target, grad_out)


def check(rows: Rows, options: Mapping[str, Any], cross_entropy: Rows | None, target: object) -> None:
    """The arguments that are used when all sums are known: by a call without logits, on rows of zeros."""
    third = None if cross_entropy is None else cross_entropy.zeros()
    of_teacher = replace(rows, smoothed=False, target=None)
    states = rows.zeros(), of_teacher.zeros(), third, np.zeros((2 * rows.count, 2))
    _call(rows, options, states, None, None, target, None)


def _call(
    rows: Rows, options: Mapping[str, Any], states: tuple[Root, Root, Root | None, Array], shard: Shard | None,
    teacher: object, target: object, grad_out: object,
) -> Any:
    if shard is None:  # of probabilities, all that is needed is in the states
        place, axis, logits, teacher, target = rows.place(), len(rows.shape), None, None, split_target(target)[0]
    else:
        place, axis, logits = shard.place, shard.axis, shard.logits
    return _core.distillation_of_shards(
        states, place, logits, teacher, target, *for_core(distillation_loss, {**options, "axis": axis}),
        shard is not None, grad_out,
    )


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
            sums = _core.divergence_subtrees(
                whole.student.whole(), whole.teacher.whole(), shard.place, shard.logits, teacher, shard.axis, *how)
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
