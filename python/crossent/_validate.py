"""Checks of arguments, shared by all functions, for every argument that is not an ordinary one.

The core passes ordinary arguments itself (cpp/bindings/checks.cpp) and hands every other one to the check of the same
name here. A check is complete: it returns an argument that the core can take, or raises. A `refuse_` function only
raises. A message names the argument, its value and the expectation. Arrays of the core's dtypes are not copied,
whatever their strides.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import _core, _hints
from ._arrays import (
    FLOAT32,
    arithmetic,
    as_array,
    clashes,
    converted,
    floating,
    floating_dtype,
    largest,
    least_positive,
    overlaps_itself,
    position,
    rows_of,
    shares_memory,
)
from ._numbers import (  # noqa: F401  # for the core, which looks here
    at_least_zero,
    at_most_zero,
    bounds,
    finite,
    fraction,
    logarithm_base,
    max_passes,
    number,
    positive,
    refuse_alpha,
    refuse_beta,
    refuse_denominator,
    refuse_fit,
    refuse_name,
    top_k,
    whole_number,
)
from ._sparse_teacher import listed_classes, refuse_listed_class, refuse_teacher, sparse_teacher  # noqa: F401  # likewise

if TYPE_CHECKING:
    from ._results import RowStatistics
    from ._types import Array

# ---- Values ----------------------------------------------------------------------------------------------------------


def within(name: str, x: Array, low: float, high: float) -> None:
    """Every value of `x` is in [low, high]; a NaN is not."""
    _core.within(name, x, low, high)


def refuse_value(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any], at: int, value: float, low: float, high: float
) -> NoReturn:
    hint = _hints.IN_THE_SECOND_PLACE if name == "target" else ""
    raise ValueError(f"{position(name, shape, at)} is {dtype.type(value)}: expected {_finite_in(low, high)}{hint}")


def refuse_values(name: str, shape: tuple[int, ...], at: int, count: int, low: float, high: float) -> NoReturn:
    """One of the `count` values from `at` on was out of range when it was checked, and is not any more."""
    block = f"{position(name, shape, at)} to {position(name, shape, at + count - 1)}"
    seen = f"a value outside [{low:g}, {high:g}] was seen in this block, and has been changed since"
    raise ValueError(f"{block}: {seen}: expected {_finite_in(low, high)}")


def _finite_in(low: float, high: float) -> str:
    if low == -np.inf:
        return "a finite number or -inf"
    least = np.float64(low).view(np.int64) > 0 and low < 1e-44  # a subnormal number, which is 0 in the threads of XLA
    return "a finite number > 0" if least else f"a finite number in [{low:g}, {high:g}]"


# ---- Shapes ----------------------------------------------------------------------------------------------------------


def sum_axis(name: str, shape: tuple[int, ...], axis: Any) -> int:
    """`axis` of an array of this `shape`, counted from 0."""
    ndim = len(shape)
    try:
        index = operator.index(axis)
    except TypeError:
        raise TypeError(f"axis is {axis!r}: expected one int") from None
    if not -ndim <= index < ndim:
        if ndim == 0:
            raise np.exceptions.AxisError(f"{name} has no axes: expected at least one, the class axis")
        raise np.exceptions.AxisError(index, ndim)
    return index % ndim


def class_axis(name: str, shape: tuple[int, ...], axis: Any) -> int:
    """`sum_axis` of what has no value without a class; it may be empty only where there are no rows."""
    index = sum_axis(name, shape, axis)
    if shape[index] == 0 and 0 not in rows_of(shape, index):
        raise ValueError(f"{name} has shape {shape}: expected at least one class along axis {index}")
    return index


def loss_axis(name: str, shape: tuple[int, ...], axis: Any) -> int:
    """`class_axis` with the default of the losses."""
    return class_axis(name, shape, (1 if len(shape) > 1 else 0) if axis is None else axis)


def over_axes(function: str, arguments: tuple[Any, ...]) -> Any:
    """The result of a normaliser whose axis is a tuple or None, or whose first argument is a number."""
    from . import _axes  # which takes its checks from here

    return getattr(_axes, function)(*arguments)


def same_shape(name: str, x: Array, shape: tuple[int, ...]) -> None:
    if x.shape != shape:
        refuse_shape(name, x.shape, shape)


def refuse_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> NoReturn:
    raise ValueError(f"{name} has shape {shape}: expected {expected}")


# ---- Targets ---------------------------------------------------------------------------------------------------------


def class_indices(target: object, shape: tuple[int, ...], rows: tuple[int, ...]) -> Array:
    """`target` as a native integer array of the rows' shape; their range is the core's to check."""
    array = as_array("target", target)
    dtype = array.dtype
    if dtype.kind not in "iu":
        hint = _hints.of_target(array, shape, rows)
        raise TypeError(f"target has dtype {dtype}: expected class indices, of an integer dtype{hint}")
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    if array.shape != rows:
        if rows or array.shape != (1,):
            expected = f"{rows}, one class index per row" if rows else "() or (1,), as the logits are one row"
            hint = _hints.of_target(array, shape, rows)
            raise ValueError(f"target has shape {array.shape}: expected {expected}{hint}")
        array = array.reshape(())
    return array


def class_target(target: object, shape: tuple[int, ...], rows: tuple[int, ...], ignore_index: int | None) -> Array:
    """`target` as class indices or as class probabilities for logits of this `shape`: its dtype says which."""
    array = as_array("target", target)
    dtype = array.dtype
    if dtype.kind in "iu":
        return class_indices(array, shape, rows)
    if floating_dtype(dtype) is None:
        expected = "class indices, of an integer dtype, or class probabilities, of a floating dtype"
        expected += _hints.of_dtype("target", dtype)
        raise TypeError(f"target has dtype {dtype}: expected {expected}")
    if array.shape != shape:
        given = f"target has shape {array.shape} and, as class probabilities do, dtype {dtype}"
        expected = f"the shape of the logits, {shape}, or class indices, of an integer dtype"
        raise ValueError(f"{given}: expected {expected}{_hints.of_target(array, shape, rows)}")
    if ignore_index != -100:
        raise ValueError(f"ignore_index is {ignore_index} with class probabilities: expected it with indices only")
    array = floating("target", array)
    within("target", array, 0.0, 1.0)
    return array


def class_labels(target: object, shape: tuple[int, ...], rows: tuple[int, ...], ignore_index: int | None) -> Array:
    """`target` as `class_target`, or as class labels of a floating dtype: whether they are integers is for the core."""
    array = as_array("target", target)
    one_row = rows == () and array.shape == (1,) != shape
    if floating_dtype(array.dtype) is None or (array.ndim == len(shape) and not one_row):
        return class_target(array, shape, rows, ignore_index)
    array = floating("target", array)
    if one_row:
        return array.reshape(())
    if array.shape != rows:
        expected = f"{rows}, one class label per row, or class probabilities in the shape of the logits, {shape}"
        raise ValueError(f"target has shape {array.shape}: expected {expected}")
    return array


def refuse_label(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], at: int, value: float) -> NoReturn:
    raise ValueError(f"{position(name, shape, at)} is {dtype.type(value)}: expected a class label, an integer")


def binary_target(target: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """`target` as probabilities of this `shape`; integers and bool become the dtype of the arithmetic on `dtype`."""
    array = floating("target", target, arithmetic(dtype))
    same_shape("target", array, shape)
    within("target", array, 0.0, 1.0)
    return array


def refuse_class(
    name: str, shape: tuple[int, ...], at: int, value: str, classes: int, ignore_index: int | None
) -> NoReturn:
    ignored = "" if ignore_index is None else f" and not ignore_index ({ignore_index})"
    seen = f"is {value}," if value else "was, before it was changed during the call,"
    raise IndexError(f"{position(name, shape, at)} {seen} outside [0, {classes}){ignored}")


def refuse_without_target(name: str) -> NoReturn:
    raise ValueError(f"{name} was given without a target: expected it with a target only")


def ignored_class(ignore_index: Any) -> int | None:
    if ignore_index is None:
        return None
    try:
        if isinstance(ignore_index, (bool, np.bool_)):
            raise TypeError
        value = operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index is {ignore_index!r}: expected an int or None") from None
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"ignore_index is {value}: expected a 64-bit signed integer")
    return value


# ---- Weights ---------------------------------------------------------------------------------------------------------


def weights(name: str, x: object, dtype: np.dtype[Any], low: float) -> Array:
    """`x` as an array, of its own floating dtype, of weights >= `low` that are finite in the arithmetic on `dtype`."""
    array = floating(name, x)
    within(name, array, low, largest(dtype))
    return array


def class_weights(x: object, classes: int, rows: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """`weight` of shape (C,), in the dtype that the call computes in."""
    array = weights("weight", x, dtype, 0.0)
    same_shape("weight", array, (classes,))
    array = converted(array, arithmetic(dtype))
    # One row and its weights have the same shape, so that the gradient may go where the weights lie.
    return array if rows else array.copy()


def class_bias(name: str, x: object, classes: int) -> Array:
    """A bias of shape (C,), of which an entry of -inf leaves a class out."""
    array = floating(name, x)
    within(name, array, -np.inf, largest(array.dtype))
    same_shape(name, array, (classes,))
    return array


def temperatures(x: object, rows: tuple[int, ...]) -> float | Array:
    """`temperature` as one number, or as one of each row."""
    if np.ndim(x) == 0:  # type: ignore[arg-type]
        return positive("temperature", x)
    array = floating("temperature", x)
    within("temperature", array, least_positive(array.dtype), largest(array.dtype))
    return spread("temperature", array, rows)


def row_numbers(name: str, x: object, rows: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """`x` in the rows' shape, or 0-d where one number is for every row; in the dtype of the arithmetic."""
    array = converted(weights(name, x, dtype, -largest(dtype)), arithmetic(dtype))
    return array if array.ndim == 0 else spread(name, array, rows)


def element_weights(name: str, x: object, shape: tuple[int, ...], dtype: np.dtype[Any], low: float) -> Array:
    """`weight` or `pos_weight` in this `shape`, from `low` on, for a call on `dtype`."""
    return spread(name, weights(name, x, dtype, low), shape)


def spread(name: str, x: Array, shape: tuple[int, ...]) -> Array:
    """`x` broadcast to `shape`."""
    try:
        return np.broadcast_to(x, shape)
    except ValueError:
        raise ValueError(f"{name} has shape {x.shape}: expected {shape} or what broadcasts to it") from None


# ---- Outputs ---------------------------------------------------------------------------------------------------------


def output(name: str, out: object, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: dict[str, Any]) -> Array:
    """`out` as a plain ndarray that can be written while the `inputs` are read."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} is of type {type(out).__name__}: expected an ndarray")
    plain = as_array(name, out)
    if plain.dtype != dtype:
        raise TypeError(f"{name} has dtype {plain.dtype}: expected {dtype}, in native byte order")
    same_shape(name, plain, shape)
    if not plain.flags.writeable:
        raise ValueError(f"{name} is read-only: expected a writeable array")
    if overlaps_itself(plain):
        raise ValueError(f"{name} has several positions in the same memory: expected an array without overlap")
    for other, x in inputs.items():
        if x is not None and x is not out and clashes(plain, np.asarray(x)):
            raise ValueError(
                f"{name} shares memory with {other}: expected exactly the same array, to work in place, or one apart"
            )
    return plain


def output_apart(
    name: str, out: object, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: dict[str, Any]
) -> Array:
    """`out` as `output`, but without memory of any of the `inputs`."""
    plain = output(name, out, shape, dtype, inputs)
    for other, x in inputs.items():
        if x is not None and shares_memory(plain, np.asarray(x)):
            raise ValueError(f"{name} shares memory with {other}: expected an array apart from it")
    return plain


def result_dtype(of: np.dtype[Any], dtype: Any, out: object) -> np.dtype[Any]:
    """The dtype of a normaliser's result: that `of` its argument, or float32 in place of a half dtype."""
    allowed = [of] if arithmetic(of) == of else [of, FLOAT32]
    if dtype is None:
        return FLOAT32 if isinstance(out, np.ndarray) and out.dtype in allowed[1:] else of
    try:
        return allowed[allowed.index(np.dtype(dtype))]
    except (TypeError, ValueError):
        raise TypeError(f"dtype is {dtype!r}: expected None or {' or '.join(map(str, allowed))}") from None


def refuse_changed(name: str) -> NoReturn:
    raise RuntimeError(
        f"{name} was changed while the arguments were checked: expected that neither another thread nor the code of "
        "another argument gives it another shape, dtype or memory"
    )


def refuse_grad_out() -> NoReturn:
    raise ValueError("grad_out was given without return_grad: expected return_grad=True")


# ---- Statistics of rows ----------------------------------------------------------------------------------------------


def without_padding(logits: object, axis: Any, n_classes: object) -> Array:
    """The logits of the first classes."""
    x = np.asarray(logits)
    axis = class_axis("logits", x.shape, axis)
    return x[(*(slice(None),) * axis, slice(classes_without_padding(x.shape, axis, n_classes)))]


def classes_without_padding(shape: tuple[int, ...], axis: int, n_classes: object) -> int:
    count = whole_number("n_classes", n_classes)
    if not 0 < count <= shape[axis]:
        raise ValueError(f"n_classes is {count}: expected an integer in [1, {shape[axis]}], the classes of logits")
    return count


def refuse_no_upstream() -> NoReturn:
    raise ValueError("log_prob, entropy and logsumexp are None: expected an upstream gradient of at least one of them")


def refuse_log_prob() -> NoReturn:
    raise ValueError("log_prob was given without a target: expected the target whose log-probability it belongs to")


def named_row_statistics(values: tuple[Any, ...]) -> RowStatistics:
    from ._results import RowStatistics

    return RowStatistics(*(x[()] if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in values))
