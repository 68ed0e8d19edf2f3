"""The losses as operators of PyTorch: what torch.compile, torch.func and every derivative of a derivative see.

Each loss has three: its value; its value and the gradient, which is kept for the backward pass; the gradient for any
upstream gradient. A call of an operator costs more than one of `_eager`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._losses import LOSSES, Loss, for_target, second
from ._references import class_axis
from ._tensors import array, loss_tensor

LIBRARY = torch.library.Library("crossent", "DEF")


class Derivative(NamedTuple):
    """Of an operator: what it keeps of its arguments and results, and the vector-Jacobian product."""

    name: str
    keep: Callable[[Any, tuple[Any, ...], Any], None]
    backward: Callable[..., tuple[Tensor | None, ...]]


DERIVATIVES: dict[str, Derivative] = {}


def operator(name: str, *arguments: Any) -> Any:
    """The result of an operator, also under the transforms of torch.func, which see no derivatives of operators."""
    if torch._C._are_functorch_transforms_active():
        return Transformed.apply(*arguments, DERIVATIVES[name])
    return called(name, *arguments)


def called(name: str, *arguments: Any) -> Any:
    return getattr(torch.ops.crossent, name).default(*arguments)


class Transformed(torch.autograd.Function):
    """An operator under torch.func. The last of its inputs is the operator's `Derivative`."""

    @staticmethod
    def forward(*inputs: Any) -> Any:
        *arguments, derivative = inputs
        return called(derivative.name, *arguments)  # here the transforms are done

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *arguments, ctx.derivative = inputs
        ctx.derivative.keep(ctx, tuple(arguments), output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *ctx.derivative.backward(ctx, *grads), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        *arguments, derivative = inputs

        def at(k: int) -> list[Any]:
            return [a if dim is None else a.select(dim, k) for a, dim in zip(arguments, in_dims, strict=False)]

        results = [operator(derivative.name, *at(k)) for k in range(info.batch_size)]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        stacked = tuple(map(torch.stack, zip(*results, strict=True)))
        return stacked, (0,) * len(stacked)


def define(
    signature: str, kernel: Callable[..., Any], fake: Callable[..., Any], keep: Any, backward: Callable[..., Any]
) -> None:
    """An operator: its kernel, the shapes of its results, and its derivative."""
    name = signature.partition("(")[0]
    DERIVATIVES[name] = Derivative(name, keep, backward)
    LIBRARY.define(signature)
    LIBRARY.impl(name, torch.no_grad()(kernel), "CPU")
    name = f"crossent::{name}"
    torch.library.register_fake(name, fake, lib=LIBRARY)
    torch.library.register_autograd(name, backward, setup_context=keep, lib=LIBRARY)


def define_loss(loss: Loss) -> None:
    name, schema = loss.name, loss.schema
    backward_operator = f"{name}_backward"

    def value(*arguments: Any) -> Tensor:
        return loss_tensor(loss.value(*loss.split(arguments))).contiguous()

    def fake_value(x: Tensor, target: Tensor, *arguments: Any) -> Tensor:
        shape = list(x.shape) if arguments[-1] == "none" else []
        if shape and loss.of_rows:
            del shape[class_axis(x)]
        return x.new_empty(shape, dtype=torch.float64 if x.dtype is torch.float64 else torch.float32)

    def both(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
        gradient = torch.empty_like(x)
        result, _ = loss.value(*loss.split((x, *arguments)), return_grad=True, grad_out=array(gradient))
        return loss_tensor(result).contiguous(), gradient

    def fake_both(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
        return fake_value(x, *arguments), torch.empty_like(x)

    def gradient(grad: Tensor, x: Tensor, *arguments: Any) -> Tensor:
        out = torch.empty_like(x)
        loss.gradient(grad, *loss.split((x, *arguments)), out=array(out))
        return out

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        tensors, ctx.options = loss.split(inputs)
        ctx.save_for_backward(*tensors, *(output[1:] if isinstance(output, tuple) else ()))

    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        tensors, kept = loss.split(ctx.saved_tensors)
        arguments = (*tensors, *ctx.options)
        results: list[Tensor | None] = [None] * len(arguments)
        if ctx.needs_input_grad[0]:
            once = kept and not torch.is_grad_enabled()
            results[0] = kept[0] * grad if once else operator(backward_operator, grad, *arguments)
        if ctx.needs_input_grad[1]:
            results[1] = for_target(loss, grad, arguments)
        return tuple(results)

    def keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[: loss.tensors + 1])
        ctx.options = inputs[loss.tensors + 1 :]

    def backward_gradient(ctx: Any, grad_grad: Tensor) -> tuple[Tensor | None, ...]:
        grad, *tensors = ctx.saved_tensors
        results = second(loss, grad_grad, grad, (*tensors, *ctx.options))
        return (*results, *(None,) * (1 + len(tensors) + len(ctx.options) - len(results)))

    define(f"{name}({schema}) -> Tensor", value, fake_value, keep, backward)
    define(f"{name}_and_gradient({schema}) -> (Tensor, Tensor)", both, fake_both, keep, backward)
    define(f"{backward_operator}(Tensor grad, {schema}) -> Tensor", gradient, lambda grad, x, *_: torch.empty_like(x),
           keep_gradient, backward_gradient)  # fmt: skip


for _loss in LOSSES.values():
    define_loss(_loss)
