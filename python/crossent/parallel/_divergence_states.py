"""Divergences of rows whose classes are in shards, with a cross-entropy beside them, without a communicator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _numbers, _validate
from .._distillation_loss import distillation_loss
from .._dtypes import arithmetic, converted, floating
from .._options import for_core
from ._row_states import Root, Rows, RowStates
from ._shards import Shard, split_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._types import Array


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
    states = whole.cross_entropy
    numbers = whole.student.whole().numbers, whole.teacher.whole().numbers
    if states is None:
        return _call(whole.rows, options, *numbers, None, False, sums, shard, teacher, target, grad_out)
    by_probabilities = states.rows.target == "probabilities"
    return _call(
        whole.rows, options, *numbers, states.whole(), by_probabilities, sums, shard, teacher, target, grad_out)


def check(rows: Rows, options: Mapping[str, Any], cross_entropy: Rows | None, target: object) -> None:
    """The arguments that are used when all sums are known: by a call without logits, on rows of zeros."""
    third = None if cross_entropy is None else cross_entropy.zeros()
    by_probabilities = cross_entropy is not None and cross_entropy.target == "probabilities"
    of_teacher = replace(rows, smoothed=False, target=None)
    _call(rows, options, rows.zeros().numbers, of_teacher.zeros().numbers, third, by_probabilities,
          np.zeros((2 * rows.count, 2)), None, None, target, None)


def _call(
    rows: Rows, options: Mapping[str, Any], student: Array, teacher_numbers: Array, cross_entropy: Root | None,
    by_probabilities: bool, sums: Array, shard: Shard | None, teacher: object, target: object, grad_out: object,
) -> Any:
    indices, probabilities = split_target(target)
    axis, logits, start = (len(rows.shape), None, 0) if shard is None else (shard.axis, shard.logits, shard.start)
    subtree, target_logits = (None, None) if cross_entropy is None else cross_entropy
    return _core.distillation_of_shards(
        rows.whole(axis), student, teacher_numbers, subtree, target_logits, sums, by_probabilities,
        logits, None if shard is None else teacher, start, indices, None if shard is None else probabilities,
        *for_core(distillation_loss, {**options, "axis": axis}), shard is not None, grad_out,
    )
