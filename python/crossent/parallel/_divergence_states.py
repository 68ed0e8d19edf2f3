"""Divergences of rows whose classes are in shards, with a cross-entropy beside them, without a communicator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _validate
from .._dtypes import arithmetic, converted, floating
from ._messages import pack, unpack
from ._ordered_sums import OrderedSums
from ._row_states import Root, Rows, RowStates
from ._shards import Shard, split_target

if TYPE_CHECKING:
    from .._types import Array


@dataclass(frozen=True)
class Distillation:
    """A divergence, and what is beside it; the same on all processes."""

    temperature: float
    divergence: str
    beta: float
    alpha: float
    scale_by_temperature: bool


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


def sums_of_shard(whole: Whole, how: Distillation, shard: Shard, teacher: object) -> OrderedSums:
    """The sums of the divergence over the classes of a shard: of each row its value, then what its gradient needs."""
    rows = whole.rows
    sums = np.zeros((0, 2 * rows.count, 2))
    if shard.ranges:
        _, smoothed, probabilities = rows.format
        sums = _core.divergence_subtrees(
            rows.whole(shard.axis), whole.student.whole().numbers, whole.teacher.whole().numbers, smoothed,
            probabilities, shard.logits, teacher, shard.start, shard.block_counts, shard.axis,
            how.temperature, how.divergence, how.beta,
        )
    return OrderedSums(shard.start, shard.stop, shard.is_aligned, shard.ends, sums)


def teacher_of(shard: Shard, logits: object) -> Array:
    """The teacher's logits of a shard, of a dtype with the arithmetic of the student's."""
    given, wanted = floating("teacher_logits", logits), arithmetic(shard.logits.dtype)
    _validate.same_shape("teacher_logits", given, shard.logits.shape)
    return given if arithmetic(given.dtype) == wanted else converted(given, wanted)


def to_bytes(sums: OrderedSums) -> bytes:
    about = {"start": sums.start, "stop": sums.stop, "exact": sums.exact, "ends": sums.ends, "shape": sums.nodes.shape}
    return pack(about, sums.nodes.astype("<f8", copy=False))


def from_bytes(data: memoryview) -> OrderedSums:
    about, numbers = unpack(data)
    nodes = np.frombuffer(numbers, "<f8").astype(np.float64).reshape(about["shape"])
    return OrderedSums(about["start"], about["stop"], about["exact"], tuple(about["ends"]), nodes)


def computed(
    whole: Whole, how: Distillation, sums: Array, shard: Shard | None, teacher: object, target: object,
    options: dict[str, Any], weighting: tuple[Any, ...], grad_out: object,
) -> Any:
    """The loss, or with a shard it and the gradient there.

    `sums`: over all classes. `options`: weight, ignore_index and label_smoothing; `weighting`: z_loss, sample_weight,
    reduction and denominator.
    """
    states = whole.cross_entropy
    return _call(
        whole.rows, how, whole.student.whole().numbers, whole.teacher.whole().numbers,
        None if states is None else states.whole(), states is not None and states.rows.target == "probabilities", sums,
        shard, teacher, target, options, weighting, grad_out,
    )


def check(
    rows: Rows, how: Distillation, cross_entropy: Rows | None, target: object, options: dict[str, Any],
    weighting: tuple[Any, ...],
) -> None:
    """The arguments that are used when all sums are known: by a call without logits, on rows of zeros."""
    third = None if cross_entropy is None else cross_entropy.zeros()
    by_probabilities = cross_entropy is not None and cross_entropy.target == "probabilities"
    of_teacher = replace(rows, smoothed=False, target=None)
    _call(rows, how, rows.zeros().numbers, of_teacher.zeros().numbers, third, by_probabilities,
          np.zeros((2 * rows.count, 2)), None, None, target, options, weighting, None)


def _call(
    rows: Rows, how: Distillation, student: Array, teacher_numbers: Array, cross_entropy: Root | None,
    by_probabilities: bool, sums: Array, shard: Shard | None, teacher: object, target: object, options: dict[str, Any],
    weighting: tuple[Any, ...], grad_out: object,
) -> Any:
    indices, probabilities = split_target(target)
    axis, logits, start = (len(rows.shape), None, 0) if shard is None else (shard.axis, shard.logits, shard.start)
    subtree, target_logits = (None, None) if cross_entropy is None else cross_entropy
    z_loss, sample_weight, reduction, denominator = weighting
    return _core.distillation_of_shards(
        rows.whole(axis), student, teacher_numbers, subtree, target_logits, sums, by_probabilities,
        logits, None if shard is None else teacher, start, indices, None if shard is None else probabilities, axis,
        how.temperature, how.alpha, how.scale_by_temperature, how.divergence, how.beta, options["weight"],
        options["ignore_index"], options["label_smoothing"], z_loss, sample_weight, reduction, denominator,
        shard is not None, grad_out,
    )
