"""Checks of a teacher that is known of some classes alone, as those of _validate.py, which has them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ._arrays import as_array, position, rows_of

if TYPE_CHECKING:
    from ._types import Array


def listed_classes(classes: object, shape: tuple[int, ...], axis: int) -> Array:
    """`classes` as a native integer array in the shape of the logits but for the class axis; their range is the core's
    to check."""
    array = as_array("classes", classes)
    dtype = array.dtype
    if dtype.kind not in "iu":
        raise TypeError(f"classes has dtype {dtype}: expected class indices, of an integer dtype")
    if array.ndim != len(shape) or rows_of(array.shape, axis) != rows_of(shape, axis):
        raise ValueError(f"classes has shape {array.shape}: expected {shape} with any length along axis {axis}")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def sparse_teacher(values_are: str, tail: str, divergence: str, temperature: float, has_logsumexp: int) -> None:
    """These go together."""
    are_logarithms = values_are in ("log_probs", "logits")
    if has_logsumexp and not are_logarithms:
        expected = "it with 'log_probs' or 'logits' only"
        raise ValueError(f"teacher_logsumexp was given with values_are={values_are!r}: expected {expected}")
    if temperature != 1 and not has_logsumexp:
        expected = "teacher_logsumexp, with values_are 'log_probs' or 'logits'" if are_logarithms else "1"
        raise ValueError(
            f"temperature is {temperature} without the teacher's logsumexp over all classes at that temperature, which "
            f"the classes that are not listed have a part in: expected {expected}"
        )
    if divergence == "forward":
        return
    if tail not in (("bucket", "renormalize") if divergence == "js" else ("bucket",)):
        raise ValueError(f"divergence is {divergence!r} with tail={tail!r}: expected {_WHY[divergence]}")
    if divergence == "reverse" and (values_are == "weights" or (values_are == "logits" and not has_logsumexp)):
        raise ValueError(f"divergence is 'reverse' and the values say nothing of the rest: expected {_WHY['reverse']}")


_WHY = {
    "reverse": "'forward', or a teacher with a rest (tail='bucket'), as it is infinite where a teacher is 0",
    "js": "'forward', or tail='bucket' or 'renormalize', as the mixture is of probabilities of these categories",
}


def refuse_listed_class(shape: tuple[int, ...], axis: int, at: int, value: str, classes: int) -> NoReturn:
    seen = f"is {value}," if value else "was, before it was changed during the call,"
    at_class = _listed_position("classes", shape, axis, at)
    raise IndexError(f"{at_class} {seen} outside [0, {classes}) and not -1, which stands for none")


def refuse_teacher(shape: tuple[int, ...], axis: int, at: int, value: float, is_sum: int) -> NoReturn:
    if is_sum:
        row = position("row", rows_of(shape, axis), at)
        raise ValueError(f"the probabilities of values in {row} add up to {value:g}: expected at most 1")
    at_value = _listed_position("values", shape, axis, at)
    raise ValueError(f"{at_value} is {value}: expected a probability, or a finite weight >= 0")


def _listed_position(name: str, shape: tuple[int, ...], axis: int, at: int) -> str:
    """As `position`, of an element counted with the class axis behind the others."""
    *rest, k = np.unravel_index(at, (*rows_of(shape, axis), shape[axis]))
    return f"{name}[{', '.join(map(str, (*rest[:axis], k, *rest[axis:])))}]"
