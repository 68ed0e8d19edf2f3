"""What the rows of a student and those of its teacher must have in common, and the options of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _numbers, _validate
from .._arrays import arithmetic, converted, floating

if TYPE_CHECKING:
    from .._types import Array
    from ._shard_state import ShardState
    from ._shards import RowSpec, Shard

BIASES = ("logit_bias", "teacher_logit_bias")


def share_of_divergence(alpha: object, target: object) -> float:
    return _numbers.fraction("alpha", alpha) if alpha is not None else 1.0 if target is None else 0.5


def teacher_of(shard: Shard, logits: object, are_transformed: bool) -> Array:
    """The teacher's logits of a shard, of a dtype with the arithmetic of the student's; transformed ones of any."""
    given, wanted = floating("teacher_logits", logits), arithmetic(shard.logits.dtype)
    _validate.same_shape("teacher_logits", given, shard.logits.shape)
    return given if are_transformed or arithmetic(given.dtype) == wanted else converted(given, wanted)


def options_of_both(
    options: Mapping[str, Any], n_classes: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Those of a distillation; of them softcap and bias of the student, and of the teacher as if it were one.

    One process computes both rows in float64 where one of them has a softcap or a bias. Here each state has its own
    arithmetic: the other gets a bias of zeros.
    """
    softcap = _numbers.OPTIONS["softcap"]("teacher_softcap", options["teacher_softcap"])
    bias, of_teacher = (options[name] for name in BIASES)
    if of_teacher is not None:
        of_teacher = _validate.class_bias("teacher_logit_bias", of_teacher, n_classes)
    given = (options["softcap"], softcap, bias, of_teacher)
    if np.ndim(options["temperature"]) > 0 or any(x is not None for x in given):
        nothing = np.broadcast_to(-0.0, n_classes)  # 0 would make 0 of -0
        bias, of_teacher = (nothing if x is None else x for x in (bias, of_teacher))
    whole = {**options, "logit_bias": bias, "teacher_logit_bias": of_teacher}
    return whole, {"softcap": options["softcap"], "logit_bias": bias}, {"softcap": softcap, "logit_bias": of_teacher}


def known_options(state: ShardState, teacher_state: ShardState, temperature: object) -> dict[str, Any]:
    """Those of the logits that the states of student and teacher have. `temperature`: what was given of it again."""
    rows, of_teacher = state.rows, teacher_state.rows
    for name in ("shape", "n_classes", "temperature"):
        one, other = getattr(rows, name), getattr(of_teacher, name)
        if one != other:
            raise ValueError(f"the states of student and teacher do not fit: {name} is {one!r} and {other!r}")
    if rows.temperatures != of_teacher.temperatures:
        raise ValueError("the states of student and teacher do not fit: they have different temperatures of the rows")
    check_arithmetic("teacher_state", of_teacher, rows)
    checked = rows.checked_temperature(temperature)
    return {"temperature": checked, "softcap": rows.softcap, "teacher_softcap": of_teacher.softcap}


def check_arithmetic(name: str, rows: RowSpec, of_state: RowSpec) -> None:
    """That of the rows of the state of this `name` is the one of those of `state`."""
    if rows.is_extended == of_state.is_extended:
        return
    if rows.is_transformed or of_state.is_transformed:
        one, plain = (name, "state") if rows.is_transformed else ("state", name)
        options = "a softcap, a bias or temperatures of the rows"
        raise ValueError(f"{one} was made with {options}, {plain} without: make that with a logit_bias of zeros")
    raise ValueError(f"{name} is of {rows.dtype}, state of {of_state.dtype}: expected both of one dtype")


def check_biases(state: ShardState, teacher_state: ShardState, options: Mapping[str, Any]) -> None:
    for name, rows in zip(BIASES, (state.rows, teacher_state.rows), strict=True):
        rows.check_bias(name, options[name])
