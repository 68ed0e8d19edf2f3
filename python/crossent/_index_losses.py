"""What the losses over class indices share: their checks, and the way to the core and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np

from ._threads import thread_limit
from ._validate import (
    class_axis,
    class_indices,
    converted,
    floating,
    fraction,
    ignored_class,
    output,
    positive,
    reduction_name,
    row_weights,
    rows_of,
    same_shape,
    weights,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[Any]
    Loss = np.floating[Any] | Array

    class IndexLossOptions(TypedDict, total=False):
        """The keyword arguments that the losses over class indices share."""

        axis: int | None
        weight: ArrayLike | None
        ignore_index: int | None
        sample_weight: ArrayLike | None
        reduction: Literal["none", "mean", "sum"]
        denominator: float | None

# The leading arguments of a core loss, from x to denominator.
Checked = tuple[Any, Any, int, Any, "int | None", float, Any, str, float]


def checked_arguments(
    name: str,
    x: Any,
    target: Any,
    axis: int | None,
    weight: Any,
    ignore_index: int | None,
    label_smoothing: float,
    sample_weight: Any,
    reduction: str,
    denominator: float | None,
) -> Checked:
    x = floating(name, x)
    axis = class_axis(name, x, (1 if x.ndim > 1 else 0) if axis is None else axis)
    shape = x.shape
    rows = rows_of(shape, axis)
    hint = " (class probabilities are not supported yet)" if name == "logits" else ""
    target = class_indices(target, rows, hint)
    if weight is not None:
        weight = weights("weight", weight, x.dtype)
        same_shape("weight", weight, (shape[axis],))
        if not rows:
            # One row and its weights have the same shape, so that the gradient may go where the weights lie.
            weight = weight.copy()
    if sample_weight is not None:
        sample_weight = row_weights(sample_weight, rows, x.dtype)
    reduction = reduction_name(reduction)
    if denominator is None:
        denominator = 0.0
    elif reduction == "mean":
        denominator = positive("denominator", denominator)
    else:
        raise ValueError(f"denominator was given with reduction={reduction!r}: expected it with 'mean' only")
    ignore_index = ignored_class(ignore_index)
    smoothing = fraction("label_smoothing", label_smoothing)
    return x, target, axis, weight, ignore_index, smoothing, sample_weight, reduction, denominator


def evaluate(
    core: Callable[..., Any], checked: Checked, inputs: dict[str, Any], return_grad: bool, grad_out: Array | None
) -> Any:
    x, rows = checked[0], checked[1].shape
    grad = None
    if grad_out is not None:
        if not return_grad:
            raise ValueError("grad_out was given without return_grad: expected return_grad=True")
        grad = output("grad_out", grad_out, x.shape, x.dtype, inputs)
    elif return_grad:
        grad = grad_out = np.empty_like(x)
    losses = np.empty(rows, x.dtype) if checked[7] == "none" else None
    loss = core(*checked, None, losses, grad, thread_limit())
    if losses is not None:
        loss = losses if rows else losses[()]
    return (loss, grad_out) if return_grad else loss


def backward(
    core: Callable[..., Any], checked: Checked, inputs: dict[str, Any], grad_output: Any, out: Array | None
) -> Array:
    x, rows = checked[0], checked[1].shape
    upstream = converted("grad_output", grad_output, x.dtype)
    same_shape("grad_output", upstream, rows if checked[7] == "none" else ())
    if out is None:
        grad = out = np.empty_like(x)
    else:
        grad = output("out", out, x.shape, x.dtype, {"grad_output": grad_output, **inputs})
    core(*checked, upstream, None, grad, thread_limit())
    return out
