"""The losses for plain tensors outside of torch.compile and torch.func: the shortest way from a call to the core."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, is_grad_enabled
from torch._C import _are_functorch_transforms_active, _len_torch_dispatch_stack
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import Function
from torch.compiler import is_compiling

import crossent as xe

from ._losses import Loss, for_target, through_log_softmax, through_softmax
from ._operators import operator
from ._tensors import array, limited, loss_tensor, tensor

PLAIN = (torch.Tensor, torch.nn.Parameter)


def plain(tensors: Sequence[Tensor | None]) -> bool:
    """Whether these are ordinary tensors on the CPU, and nothing but autograd looks at what happens to them."""
    if is_compiling() or _are_functorch_transforms_active() or _len_torch_dispatch_stack():
        return False
    for x in tensors:  # noqa: SIM110  # a generator takes longer
        if x is not None and (type(x) not in PLAIN or not x.is_cpu):
            return False
    return True


def seen(grad: Tensor) -> bool:
    """Whether the backward pass is itself differentiated, or many are done at once (`is_grads_batched`)."""
    return is_grad_enabled() or is_legacy_batchedtensor(grad)


class LossFunction(Function):
    """Keeps the gradient for one backward pass, or nothing. The tensors that it is computed from again are saved."""

    @staticmethod
    def forward(ctx: Any, settings: tuple[Loss, Sequence[Any], bool, bool], *tensors: Any) -> Tensor:
        ctx.settings = loss, options, inplace, recompute = settings
        ctx.save_for_backward(*tensors)
        x = tensors[0]
        # A float16 gradient would lose what the upstream gradient, which scales it, is there for.
        recompute = recompute or inplace or options[-1] == "none" or x.dtype is torch.float16
        if recompute or not x.requires_grad:
            ctx.kept = None
            return loss_tensor(loss.value(tensors, options))
        value, gradient = loss.value(tensors, options, return_grad=True)
        ctx.kept = tensor(gradient)
        return loss_tensor(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        kept, ctx.kept = ctx.kept, None  # it belongs to whoever receives it
        needed = ctx.needs_input_grad
        if needed[1] and (kept is None or seen(grad) or not scaled(kept, grad)):
            kept = gradient(ctx, grad)
        target = for_target(ctx.settings[0], grad, arguments(ctx)) if needed[2] else None
        return None, kept, target, *(None,) * (len(needed) - 3)


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


def arguments(ctx: Any) -> tuple[Any, ...]:
    return *ctx.saved_tensors, *ctx.settings[1]


def gradient(ctx: Any, grad: Tensor) -> Tensor:
    loss, options, inplace, _ = ctx.settings
    tensors = ctx.saved_tensors
    if inplace and is_grad_enabled():
        raise RuntimeError("inplace=True: the gradient takes the memory of input, and has no derivative")
    if seen(grad):
        return operator(f"{loss.name}_backward", grad, *arguments(ctx))
    if not inplace:
        return tensor(loss.gradient(grad, tensors, options))
    x = tensors[0].detach()
    loss.gradient(grad, tensors, options, out=array(x))
    torch.autograd.graph.increment_version(x)  # so that whoever still needs the input says so
    return x


def normalised(name: str, x: Tensor, dim: int) -> Tensor:
    if is_grad_enabled() and x.requires_grad:
        return apply_normaliser(name, x, dim)
    return tensor(limited(getattr(xe, name), (array(x), dim), {}))


class NormaliserFunction(Function):
    @staticmethod
    def forward(ctx: Any, name: str, x: Tensor, dim: int) -> Tensor:
        output = tensor(limited(getattr(xe, name), (array(x), dim), {}))
        ctx.save_for_backward(output)
        ctx.name, ctx.dim = name, dim
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        output, dim = ctx.saved_tensors[0], ctx.dim
        if seen(grad):
            through = through_softmax if ctx.name == "softmax" else through_log_softmax
            return None, through(grad, output, dim), None
        return None, tensor(limited(getattr(xe, f"{ctx.name}_backward"), (array(grad), array(output), dim), {})), None


apply_normaliser = super(Function, NormaliserFunction).apply
