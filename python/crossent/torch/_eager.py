"""The losses for plain tensors outside of torch.compile and torch.func: the shortest way from a call to the core."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.autograd import Function

import crossent as xe

from ._derivatives import for_target, through_log_softmax, through_softmax
from ._losses import Loss
from ._operators import operator
from ._tensors import call, tensor

Tensor = torch.Tensor
PLAIN = (torch.Tensor, torch.nn.Parameter)


def seen(grad: Tensor) -> bool:
    """Whether the backward pass is itself differentiated, or many are done at once (`is_grads_batched`)."""
    return torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(grad)


def plain(*tensors: Tensor | None) -> bool:
    """Whether nothing but autograd looks at the operations on these tensors."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
    ) and all(type(x) in PLAIN for x in tensors if x is not None)


def loss_value(loss: Loss, inplace: bool, *arguments: Any) -> Tensor:
    x, target = arguments[:2]
    if torch.is_grad_enabled() and (x.requires_grad or target.requires_grad):
        return apply_loss(loss, inplace, *arguments)  # type: ignore[no-any-return]
    return tensor(loss.value(*arguments))


class LossFunction(Function):
    """Keeps the gradient for one backward pass. The tensors that it needs to compute it again are saved."""

    @staticmethod
    def forward(ctx: Any, loss: Loss, inplace: bool, *arguments: Any) -> Tensor:  # type: ignore[override]
        x = arguments[0]
        ctx.loss, ctx.inplace, ctx.kept = loss, inplace, None
        ctx.save_for_backward(*arguments[: loss.tensors])
        ctx.options = arguments[loss.tensors :]
        # A float16 gradient would lose what the upstream gradient, which scales it, is there for.
        if inplace or not x.requires_grad or arguments[-1] == "none" or x.dtype is torch.float16:
            return tensor(loss.value(*arguments))
        value, gradient = loss.value(*arguments, return_grad=True)
        ctx.kept = tensor(gradient)
        return tensor(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        loss, kept, needed = ctx.loss, ctx.kept, ctx.needs_input_grad
        results: list[Any] = [None] * len(needed)
        ctx.kept = None  # it belongs to whoever receives it
        if kept is not None and not seen(grad) and scaled(kept, grad):
            results[2] = kept
        elif needed[2]:
            results[2] = gradient(ctx, grad)
        if needed[3]:
            results[3] = for_target(loss, grad, (*ctx.saved_tensors, *ctx.options))
        return tuple(results)


apply_loss = super(Function, LossFunction).apply  # Function.apply is for torch.func, too, and takes longer


def scaled(gradient: Tensor, factor: Tensor) -> bool:
    """Multiply by `factor` if that is exact: by a power of two that does not magnify what has been rounded."""
    number = float(factor)
    if number == 1:
        return True
    mantissa, exponent = math.frexp(number)
    if abs(mantissa) != 0.5 or exponent > 1:
        return False
    gradient.mul_(number)
    return True


def gradient(ctx: Any, grad: Tensor) -> Tensor:
    arguments = (*ctx.saved_tensors, *ctx.options)
    if seen(grad):
        if ctx.inplace:
            raise RuntimeError("inplace=True: the gradient takes the memory of input, and has no derivative")
        return operator(f"{ctx.loss.name}_backward", grad, *arguments)  # type: ignore[no-any-return]
    if not ctx.inplace:
        return tensor(ctx.loss.gradient(grad, *arguments))
    x = arguments[0].detach()
    ctx.loss.gradient(grad, *arguments, out=x)
    torch.autograd.graph.increment_version(x)  # so that whoever still needs the input says so
    return x


def normalised(name: str, x: Tensor, dim: int) -> Tensor:
    if torch.is_grad_enabled() and x.requires_grad:
        return apply_normaliser(name, x, dim)  # type: ignore[no-any-return]
    return tensor(call(getattr(xe, name), x, dim))


class NormaliserFunction(Function):
    @staticmethod
    def forward(ctx: Any, name: str, x: Tensor, dim: int) -> Tensor:  # type: ignore[override]
        output = tensor(call(getattr(xe, name), x, dim))
        ctx.save_for_backward(output)
        ctx.name, ctx.dim = name, dim
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        output, dim = ctx.saved_tensors[0], ctx.dim
        if seen(grad):
            through = through_softmax if ctx.name == "softmax" else through_log_softmax
            return None, through(grad, output, dim), None
        return None, tensor(call(getattr(xe, f"{ctx.name}_backward"), grad, output, dim)), None


apply_normaliser = super(Function, NormaliserFunction).apply
