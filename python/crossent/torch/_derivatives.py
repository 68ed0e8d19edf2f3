"""Derivatives that the core has not, by PyTorch's functions: for the target, and of the second order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.func import vjp

from ._losses import Loss


def for_target(loss: Loss, grad: Tensor, arguments: Sequence[Any]) -> Tensor:
    """The vector-Jacobian product of `loss` for its second argument."""
    x, target, *others = arguments
    return vjp_of(lambda y: loss.wide(x, y, *others), (target,), grad)[0]


def second(loss: Loss, grad_grad: Tensor, grad: Tensor, arguments: Sequence[Any]) -> tuple[Tensor | None, ...]:
    """The vector-Jacobian product of the gradient of `loss`: for the upstream gradient, the input and the target."""
    x, target, *others = arguments
    if target.is_floating_point():

        def gradient(grad: Tensor, x: Tensor, target: Tensor) -> Tensor:
            return vjp_of(lambda x: loss.wide(x, target, *others), (x,), grad)[0]

        return vjp_of(gradient, (grad, x, target), grad_grad)

    def gradient_of_indices(grad: Tensor, x: Tensor) -> Tensor:
        return vjp_of(lambda x: loss.wide(x, target, *others), (x,), grad)[0]

    return *vjp_of(gradient_of_indices, (grad, x), grad_grad), None


def through_softmax(grad: Tensor, output: Tensor, dim: int) -> Tensor:
    product = grad * output
    return product - output * product.sum(dim, keepdim=True)


def through_log_softmax(grad: Tensor, output: Tensor, dim: int) -> Tensor:
    return grad - output.exp() * grad.sum(dim, keepdim=True)


def vjp_of(function: Any, arguments: tuple[Tensor, ...], cotangent: Tensor) -> tuple[Tensor, ...]:
    return vjp(function, *arguments)[1](cotangent)
