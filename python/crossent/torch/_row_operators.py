"""The normalisers as operators of PyTorch, and logsumexp; each by its function in NumPy.

Softmax and its logarithm are two operators: of logits as they are, which has a shorter way in `_eager`; and of logits
with a temperature, a softcap or a bias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import crossent as xe

from ._losses import through_log_softmax, through_softmax, vjp_of
from ._operators import define, operator
from ._references import slope, transformed
from ._tensors import array, limited, loss_tensor

OF_LOGITS = "Tensor input, Tensor? temperatures, Tensor? logit_bias, int dim, float temperature, float? softcap"


def numpy_options(
    temperatures: Tensor | None, logit_bias: Tensor | None, temperature: float, softcap: float | None
) -> dict[str, Any]:
    given = temperature if temperatures is None else array(temperatures)
    return {"temperature": given, "softcap": softcap, "logit_bias": array(logit_bias)}


def define_normaliser(name: str, derivative: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    function, function_backward = getattr(xe, name), getattr(xe, f"{name}_backward")

    def value(x: Tensor, dim: int) -> Tensor:
        return value_of_logits(x, None, None, dim, 1.0, None)

    def value_of_logits(x: Tensor, temperatures: Any, bias: Any, dim: int, *others: Any) -> Tensor:
        out = torch.empty_like(x)
        limited(function, (array(x), dim), {**numpy_options(temperatures, bias, *others), "out": array(out)})
        return out

    def gradient(grad: Tensor, output: Tensor, dim: int, temperature: float) -> Tensor:
        out = torch.empty_like(output)
        options = {"temperature": temperature, "out": array(out)}
        limited(function_backward, (array(grad), array(output), dim), options)
        return out

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.dim = inputs[1]

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return operator(f"{name}_backward", grad, *ctx.saved_tensors, ctx.dim, 1.0), None

    def keep_logits(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, temperatures, _, ctx.dim, ctx.temperature, ctx.softcap = inputs
        ctx.save_for_backward(output, x if ctx.softcap is not None else None, temperatures)
        ctx.dtype = x.dtype

    def backward_logits(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        output, x, temperatures = ctx.saved_tensors
        through_more = x is not None or temperatures is not None
        if through_more and ctx.dtype is not torch.float64:
            output = output.float()  # so that a half is rounded once
        g = operator(f"{name}_backward", grad, output, ctx.dim, 1.0 if temperatures is not None else ctx.temperature)
        if through_more:
            g = (g * slope(output, x, ctx.dim, temperatures, ctx.softcap)).to(ctx.dtype)
        return g, *(None,) * 5

    def keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.dim, ctx.temperature = inputs[2:]

    def backward_gradient(ctx: Any, grad_grad: Tensor) -> tuple[Tensor | None, ...]:
        through = vjp_of(lambda g, y: derivative(g, y, ctx.dim) / ctx.temperature, ctx.saved_tensors, grad_grad)
        return *through, None, None

    define(f"{name}(Tensor input, int dim) -> Tensor", value, lambda x, dim: torch.empty_like(x), keep, backward)
    define(f"{name}_of_logits({OF_LOGITS}) -> Tensor", value_of_logits, lambda x, *_: torch.empty_like(x), keep_logits,
           backward_logits)  # fmt: skip
    define(f"{name}_backward(Tensor grad, Tensor output, int dim, float temperature) -> Tensor", gradient,
           lambda grad, output, *_: torch.empty_like(output), keep_gradient, backward_gradient)  # fmt: skip


def define_logsumexp() -> None:
    def value(x: Tensor, temperatures: Any, bias: Any, dim: int, *others: Any) -> Tensor:
        return loss_tensor(limited(xe.logsumexp, (array(x), dim), numpy_options(temperatures, bias, *others)))

    def fake_value(x: Tensor, temperatures: Any, bias: Any, dim: int, *others: Any) -> Tensor:
        shape = list(x.shape)
        del shape[dim]
        return x.new_empty(shape, dtype=torch.float64 if x.dtype is torch.float64 else torch.float32)

    def gradient(grad: Tensor, x: Tensor, temperatures: Any, bias: Any, dim: int, *others: Any) -> Tensor:
        out = torch.empty_like(x)
        options = {**numpy_options(temperatures, bias, *others), "out": array(out)}
        limited(lambda x, g: xe.logsumexp_backward(g, x, dim, **options), (array(x), array(grad)), {})
        return out

    def reference(x: Tensor, temperatures: Any, bias: Any, dim: int, temperature: float, softcap: Any) -> Tensor:
        x = x if x.dtype is torch.float64 else x.float()
        return transformed(x, (dim % x.ndim,), temperature, temperatures, softcap, bias).logsumexp(dim)

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.options = inputs[3:]

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return operator("logsumexp_backward", grad, *ctx.saved_tensors, *ctx.options), *(None,) * 5

    def keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:4])
        ctx.options = inputs[4:]

    def backward_gradient(ctx: Any, grad_grad: Tensor) -> tuple[Tensor | None, ...]:
        grad, x, *others = ctx.saved_tensors

        def of_both(grad: Tensor, x: Tensor) -> Tensor:
            return vjp_of(lambda x: reference(x, *others, *ctx.options), (x,), grad)[0]

        return *vjp_of(of_both, (grad, x), grad_grad), *(None,) * 5

    define(f"logsumexp({OF_LOGITS}) -> Tensor", value, fake_value, keep, backward)
    define(f"logsumexp_backward(Tensor grad, {OF_LOGITS}) -> Tensor", gradient,
           lambda grad, x, *_: torch.empty_like(x), keep_gradient, backward_gradient)  # fmt: skip


define_normaliser("softmax", through_softmax)
define_normaliser("log_softmax", through_log_softmax)
define_logsumexp()
