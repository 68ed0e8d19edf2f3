"""From the arguments of a user to those of an operator: checks of tensors, and the shortest way to the core."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, is_grad_enabled

from ._eager import apply_loss, plain
from ._losses import LOSSES, TEMPERATURES, Loss
from ._operators import operator
from ._tensors import FLOATING, loss_tensor


def number_and_tensor(temperature: Any) -> tuple[Any, Tensor | None]:
    """A temperature as the two arguments of an operator, of which one is used."""
    if isinstance(temperature, Tensor):
        return 1.0, temperature
    if not isinstance(temperature, (float, int)) and np.ndim(temperature) > 0:
        raise TypeError(f"temperature is a {type(temperature).__name__}: expected a number or a tensor")
    return temperature, None


def logit_tensors(name: str, temperature: Any, logit_bias: Any) -> tuple[Any, tuple[Tensor | None, Tensor | None]]:
    """The temperature, if it is a number, and the tensors of `temperature` and `logit_bias`, of a function that is no
    loss."""
    number, temperatures = number_and_tensor(temperature)
    for label, x in (("temperature", temperatures), ("logit_bias", logit_bias)):
        if x is not None:
            check_tensor(label, x)
            if x.requires_grad:
                refuse_gradient(name, label)
    return number, (temperatures, logit_bias)


def loss_by_names(name: str, given: dict[str, Any], inplace: bool, recompute: bool) -> Tensor:
    """`loss` with its arguments by the names that users know."""
    number, temperatures = number_and_tensor(given["temperature"])
    given = {**given, "temperature": number, TEMPERATURES: temperatures}
    tensors, options = LOSSES[name].split([given[label] for label in LOSSES[name].names])
    return loss(name, tuple(tensors), tuple(options), inplace, recompute)


def loss(
    name: str, tensors: tuple[Any, ...], options: tuple[Any, ...], inplace: bool = False, recompute: bool = False
) -> Tensor:
    """A loss with its tensors and options in the order of its schema."""
    called = LOSSES[name]
    ordinary = plain(tensors)
    if not ordinary:
        _check_tensors(called, tensors)
    x = tensors[0]
    check_dtype(x)
    for k, label in called.more_tensors:
        if tensors[k] is not None and tensors[k].requires_grad:
            refuse_gradient(name, label)
    if ordinary:
        if inplace and x.is_leaf and x.requires_grad:
            raise RuntimeError("inplace=True: input is a leaf that requires a gradient, so its values are still needed")
        if is_grad_enabled() and (x.requires_grad or tensors[1].requires_grad):
            return apply_loss((called, options, inplace, recompute), *tensors)
        return loss_tensor(called.value(tensors, options))
    # The gradient of a forward pass is of use in compiled code, where derivatives of derivatives do not exist. Of half
    # types it would be rounded twice.
    once = torch.compiler.is_compiling() and is_grad_enabled() and x.requires_grad and not recompute
    if once and options[-1] != "none" and x.dtype in (torch.float32, torch.float64):
        return operator(f"{name}_and_gradient", *tensors, *options)[0]
    return operator(name, *tensors, *options)


def _check_tensors(called: Loss, tensors: tuple[Any, ...]) -> None:
    for k, label in enumerate(called.labels):
        if k < 2 or tensors[k] is not None:
            check_tensor(label, tensors[k])


def check_input(x: Any) -> None:
    check_tensor("input", x)
    check_dtype(x)


def check_dtype(x: Tensor, label: str = "input") -> None:
    if x.dtype not in FLOATING:
        raise TypeError(f"{label} has dtype {x.dtype}: expected float16, bfloat16, float32 or float64")


def refuse_gradient(name: str, label: str) -> NoReturn:
    raise RuntimeError(f"{label} requires a gradient, which {name} has not: pass {label}.detach()")


def check_tensor(label: str, x: Any) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{label} is a {type(x).__name__}: expected a tensor")
    if not x.is_cpu:
        raise ValueError(f"{label} is on {x.device}: crossent computes on the CPU alone")
