"""Calls of the core: for the subtrees of a shard, and for rows whose totals over all classes are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core, _numbers
from .._arrays import arithmetic, converted
from .._cross_entropy import cross_entropy
from .._distillation_loss import distillation_loss
from .._options import defaults_of, for_core
from ._shards import OF_STATES, RowSpec, Shard, checksum, digest_of_bias, split_target, temperature_of
from ._state import Node

if TYPE_CHECKING:
    from .._types import Array


class Totals(NamedTuple):
    """What a state of all classes has of each row, as the core takes it."""

    numbers: Array
    target_logits: Array | None
    format: tuple[object, ...]

    @classmethod
    def of(cls, rows: RowSpec, numbers: Array, target_logits: Array | None) -> Totals:
        return cls(numbers, target_logits, rows.format)

    @classmethod
    def zeros(cls, rows: RowSpec) -> Totals:
        """For calls that check their other arguments."""
        target_logits = np.zeros(rows.count) if rows.target == "indices" else None
        return cls.of(rows, np.zeros((rows.numbers, rows.count)), target_logits)


def subtrees_of(
    shard: Shard, target: object, options: Mapping[str, Any]
) -> tuple[RowSpec, tuple[Node[Array], ...], Array | None]:
    """What the state of a shard holds: the rows, the state of each subtree, and the logits of the targets."""
    x, options = shard.logits, {**defaults_of(cross_entropy), **options}
    weight, ignore_index = options["weight"], options["ignore_index"]
    temperature, temperatures = temperature_of(options["temperature"], shard.rows)
    softcap, label_smoothing, entropy_weight = (
        _numbers.OPTIONS[name](name, options[name]) for name in ("softcap", "label_smoothing", "entropy_weight"))
    indices, probabilities = split_target(target)
    kind = "indices" if indices is not None else "probabilities" if probabilities is not None else None
    rows = RowSpec(
        shard.rows, shard.n_classes, x.dtype.name, temperature, temperatures, softcap,
        digest_of_bias("logit_bias", options["logit_bias"], shard.n_classes), kind, label_smoothing=label_smoothing,
        entropy_weight=entropy_weight)
    if temperature < 2.0**-32 and not rows.is_extended:
        raise ValueError(f"temperature is {temperature}: expected at least 2^-32 for logits of {x.dtype}")
    nodes: tuple[Node[Array], ...] = ()
    if shard.ranges:
        of_state = {name: options[name] for name in OF_STATES}
        numbers, target_logits, smoothed = _core.partial_states_of_shard(
            shard.place, x, target, *for_core(cross_entropy, {**of_state, "axis": shard.axis}))
        nodes = tuple(Node(*ends, value) for ends, value in zip(shard.ranges, numbers, strict=True))
    else:
        target_logits = np.zeros(math.prod(shard.rows)) if kind == "indices" else None
        weights = np.ones(1) if weight is None else converted(np.asarray(weight), arithmetic(x.dtype))
        smoothed = label_smoothing > 0 and bool(np.any(weights > 0))
    ignored = None if ignore_index is None else _numbers.whole_number("ignore_index", ignore_index)
    rows = replace(rows, ignore_index=ignored, smoothed=smoothed, checksum=checksum(indices, weight))
    return rows, nodes, target_logits


def _place_and_inputs(rows: RowSpec, shard: Shard | None, *given: object) -> tuple[tuple[object, ...], int]:
    """The place, the logits and these inputs of a shard, and its axis; without one the class indices alone."""
    if shard is not None:
        return (shard.place, shard.logits, *given), shard.axis
    *others, target = given
    return (rows.place(), None, *(None for _ in others), split_target(target)[0]), len(rows.shape)


def cross_entropy_of(
    rows: RowSpec, totals: Totals, target: object, shard: Shard | None, options: Mapping[str, Any],
    grad_output: object = None, out: object = None,
) -> Any:
    """The loss; with a shard it and the gradient there; with an upstream gradient the gradient alone.

    `options`: those that a RowSpec has are known, but for the temperatures of the rows, which a shard needs.
    """
    inputs, axis = _place_and_inputs(rows, shard, target)
    known = rows.options if shard is None else {**rows.options, "temperature": options["temperature"]}
    arguments = totals, *inputs, *for_core(cross_entropy, {**options, **known, "axis": axis})
    if grad_output is not None:
        return _core.cross_entropy_of_shards_backward(grad_output, *arguments, out)
    return _core.cross_entropy_of_shards(*arguments, shard is not None, out)


def check_cross_entropy(rows: RowSpec, target: object, options: Mapping[str, Any]) -> None:
    """The arguments that are used when all states are known: by a call without logits, on rows of zeros."""
    cross_entropy_of(rows, Totals.zeros(rows), target, None, options)


class DistillationTotals(NamedTuple):
    """The totals of student and teacher, of the student's cross-entropy, and the sums of the divergence."""

    student: Totals
    teacher: Totals
    cross_entropy: Totals | None
    sums: Array


def distillation_of(
    rows: RowSpec, totals: DistillationTotals, target: object, shard: Shard | None, teacher_logits: object,
    options: Mapping[str, Any], out: object = None,
) -> Any:
    """The loss; with a shard, and the teacher's logits there, it and the gradient there."""
    inputs, axis = _place_and_inputs(rows, shard, teacher_logits, target)
    arguments = totals, *inputs, *for_core(distillation_loss, {**options, "axis": axis})
    return _core.distillation_of_shards(*arguments, shard is not None, out)


def check_distillation(
    rows: RowSpec, cross_entropy_rows: RowSpec | None, target: object, options: Mapping[str, Any]
) -> None:
    """As `check_cross_entropy`; the second are the rows of the states of the cross-entropy."""
    third = None if cross_entropy_rows is None else Totals.zeros(cross_entropy_rows)
    student, teacher = Totals.zeros(rows), Totals.zeros(replace(rows, smoothed=False, target=None))
    totals = DistillationTotals(student, teacher, third, np.zeros((2 * rows.count, 2)))
    distillation_of(rows, totals, target, None, None, options)
