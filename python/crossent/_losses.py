"""What the losses share: how the checked arguments of one reach the core, and its results the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

import numpy as np

from ._outputs import output
from ._threads import thread_limit
from ._validate import arithmetic, floating, same_shape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[Any]
    Loss = np.floating[Any] | Array
    Reduction = Literal["none", "mean", "sum"]
    ReductionKL = Literal["none", "mean", "sum", "batchmean"]
    Divergence = Literal["forward", "reverse", "js"]

    class IndexLossOptions(TypedDict, total=False):
        """The keyword arguments that the losses over class indices share."""

        axis: int | None
        weight: ArrayLike | None
        ignore_index: int | None
        sample_weight: ArrayLike | None
        reduction: Reduction
        denominator: float | None


REDUCTIONS_KL = ("none", "mean", "sum", "batchmean")


class Call(NamedTuple):
    """A loss whose arguments have been checked, value or gradient."""

    core: Callable[..., Any]
    # What `core` takes, from the array that the gradient is for to the reduction and the denominator.
    arguments: tuple[Any, ...]
    # Every array argument as the caller gave it: what an output must not overlap.
    inputs: dict[str, Any]
    # The shape of the loss with reduction "none".
    shape: tuple[int, ...]


def evaluate(call: Call, return_grad: bool, grad_out: Array | None) -> Any:
    core, arguments, inputs, shape = call
    x = arguments[0]
    grad = None
    if grad_out is not None:
        if not return_grad:
            raise ValueError("grad_out was given without return_grad: expected return_grad=True")
        grad = output("grad_out", grad_out, x.shape, x.dtype, inputs)
    elif return_grad:
        grad = grad_out = np.empty_like(x)
    losses = np.empty(shape, arithmetic(x.dtype)) if arguments[-2] == "none" else None
    loss = core(*arguments, None, losses, grad, thread_limit())
    if losses is not None:
        loss = losses if shape else losses[()]
    return (loss, grad_out) if return_grad else loss


def backward(call: Call, grad_output: Any, out: Array | None) -> Array:
    core, arguments, inputs, shape = call
    x = arguments[0]
    upstream = floating("grad_output", grad_output)
    same_shape("grad_output", upstream, shape if arguments[-2] == "none" else ())
    if out is None:
        grad = out = np.empty_like(x)
    else:
        grad = output("out", out, x.shape, x.dtype, {"grad_output": grad_output, **inputs})
    core(*arguments, upstream, None, grad, thread_limit())
    return out
