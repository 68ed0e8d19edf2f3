"""Checks of numbers and names, as those of _validate.py, which has them too."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np


def number(name: str, value: object) -> float:
    """A real number, python's or NumPy's."""
    if type(value) is float:
        return value
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iuf":
        raise TypeError(f"{name} is {value!r}: expected a number")
    return float(array)


def positive(name: str, value: object) -> float:
    result = number(name, value)
    if not 0 < result < math.inf:
        raise ValueError(f"{name} is {result}: expected a finite number > 0")
    return result


def positive_or_none(name: str, value: object) -> float | None:
    return None if value is None else positive(name, value)


def fraction(name: str, value: object) -> float:
    result = number(name, value)
    if not 0 <= result <= 1:
        raise ValueError(f"{name} is {result}: expected a number in [0, 1]")
    return result


def at_least_zero(name: str, value: object) -> float:
    result = number(name, value)
    if not 0 <= result < math.inf:
        raise ValueError(f"{name} is {result}: expected a finite number >= 0")
    return result


def finite(name: str, value: object) -> float:
    result = number(name, value)
    if not math.isfinite(result):
        raise ValueError(f"{name} is {result}: expected a finite number")
    return result


def at_most_zero(name: str, value: object) -> float:
    result = number(name, value)
    if not result <= 0:
        raise ValueError(f"{name} is {result}: expected a number <= 0 or None")
    return result


def logarithm_base(value: object) -> float:
    result = positive("base", value)
    if result == 1:
        raise ValueError("base is 1.0: expected a finite number > 0 that is not 1")
    return result


def bounds(value: Any) -> tuple[float, float]:
    """The least and the largest temperature of a search."""
    try:
        first, second = value
    except (TypeError, ValueError):
        raise TypeError(f"bounds is {value!r}: expected two numbers") from None
    low, high = positive("bounds[0]", first), positive("bounds[1]", second)
    if not low < high:
        raise ValueError(f"bounds is {(low, high)}: expected the lower one first")
    return low, high


def max_passes(value: object) -> int:
    """How many times the logits are read at most; what no search needs is cut to a number that the core takes."""
    passes = whole_number("max_passes", value)
    if passes < 1:
        raise ValueError(f"max_passes is {passes}: expected an integer >= 1")
    return min(passes, sys.maxsize)


def whole_number(name: str, value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} is {value!r}: expected an integer") from None


def top_k(value: object, classes: int) -> int:
    """How many of the most likely classes are wanted."""
    k = whole_number("top_k", value)
    if not 0 <= k <= classes:
        raise ValueError(f"top_k is {k}: expected an integer in [0, {classes}], the number of classes")
    return k


# The options of the losses that are numbers, by what they may be.
OPTIONS: dict[str, Callable[[str, Any], Any]] = {
    "temperature": positive,
    "softcap": positive_or_none,
    "teacher_softcap": positive_or_none,
    "label_smoothing": fraction,
    "z_loss": at_least_zero,
    "entropy_weight": finite,
    "beta": fraction,
    "scale_by_temperature": lambda _, value: bool(value),
}


def refuse_fit(nll: float) -> NoReturn:
    finite = "expected a row that counts, finite logits, and none of -inf at a target"
    raise ValueError(f"the mean cross-entropy at temperature 1 is {nll}: {finite}")


def refuse_name(name: str, value: object, names: tuple[str, ...]) -> NoReturn:
    raise ValueError(f"{name} is {value!r}: expected one of {', '.join(map(repr, names))}")


def refuse_denominator(reduction: str) -> NoReturn:
    raise ValueError(f"denominator was given with reduction={reduction!r}: expected it with 'mean' only")


def refuse_alpha(alpha: float) -> NoReturn:
    raise ValueError(f"alpha is {alpha} without a target: expected 1 or None")


def refuse_beta(beta: float) -> NoReturn:
    elsewhere = "what other libraries mean by 0 and 1 is divergence='forward' and 'reverse'"
    raise ValueError(f"beta is {beta} with divergence='js': expected a number in (0, 1); {elsewhere}")
