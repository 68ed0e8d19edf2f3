"""What each loss is: its arguments and its functions in the core; and the derivatives that the core has not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp

import crossent

from .. import _core
from .._options import OF_GRADIENT
from . import _references as references
from ._tensors import SERIAL, array, limited

HIDDEN = ("axis", "log_floor")  # those of PyTorch are the defaults
TYPES = {"ArrayLike": "Tensor", "float": "float", "int": "int", "bool": "bool"}  # others are names: str
# The temperature is a number or a tensor. The argument of an operator is one of both, so this one is the tensor.
TEMPERATURES = "temperatures"


def schema_types(parameters: Iterable[inspect.Parameter]) -> dict[str, str]:
    """The arguments of an operator, by their names, with their types."""
    types = {}
    for parameter in parameters:
        kind = parameter.annotation.removesuffix(" | None")
        types[parameter.name] = TYPES.get(kind, "str") + ("?" if kind != parameter.annotation else "")
        if types[parameter.name] == "Tensor" and parameter.name == "temperature":
            types |= {"temperature": "float", TEMPERATURES: "Tensor?"}
    return types


class Loss:
    """A loss by its function in NumPy: tensors first, in their order, then options, `reduction` last.

    `reference`: the same of PyTorch's functions, by the names of the arguments, or None if there is no second
    derivative; `of_rows`: whether there is one value per row of classes, or one per element.
    """

    def __init__(
        self, function: Callable[..., Any], reference: Callable[..., Tensor] | None, of_rows: bool = True
    ) -> None:
        parameters = inspect.signature(function).parameters
        for_core = [name for name in parameters if name not in OF_GRADIENT]
        types = schema_types(parameters[name] for name in for_core if name not in HIDDEN)
        tensors = [name for name in types if types[name].startswith("Tensor")]
        names = [*tensors, *(name for name in types if name not in (*tensors, "reduction")), "reduction"]
        labels = ["input", *names[1:]]
        self.name, self.names, self.tensors = function.__name__, labels, len(tensors)
        self.schema = ", ".join(f"{types[name]} {label}" for name, label in zip(names, labels, strict=True))
        self.of_rows, self.reference = of_rows, reference
        # As users know them.
        self.labels = ["temperature" if label == TEMPERATURES else label for label in labels[: self.tensors]]
        self.more_tensors = tuple(enumerate(self.labels))[2:]
        # All arguments of the core's functions that both have are passed by position: by keyword it takes 0.3 us more.
        hidden = [name for name in for_core if name in HIDDEN]
        self.hidden = tuple(parameters[name].default for name in hidden)
        position = [*names, *hidden].index
        self.for_core = itemgetter(*map(position, for_core))
        self.temperatures = names.index(TEMPERATURES) if TEMPERATURES in names else None
        if self.temperatures is not None:
            by_row = [TEMPERATURES if name == "temperature" else name for name in for_core]
            self.for_core_of_rows = itemgetter(*map(position, by_row))
        self.core = getattr(_core, self.name)
        self.core_backward = getattr(_core, f"{self.name}_backward")

    def split(self, arguments: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        return arguments[: self.tensors], arguments[self.tensors :]

    def core_arguments(self, tensors: Sequence[Any], options: Sequence[Any]) -> Sequence[Any]:
        ordered = self.for_core
        if self.temperatures is not None and tensors[self.temperatures] is not None:
            ordered = self.for_core_of_rows
        return ordered((*map(array, tensors), *options, *self.hidden))

    def value(
        self, tensors: Sequence[Any], options: Sequence[Any], return_grad: bool = False, grad_out: Any = None
    ) -> Any:
        """What the core returns: the loss, and with `return_grad` the gradient."""
        arguments = self.core_arguments(tensors, options)
        if arguments[0].size < SERIAL:  # as `limited` does, without one more call
            return self.core(*arguments, return_grad, grad_out)
        return limited(self.core, (*arguments, return_grad, grad_out), {})

    def gradient(self, grad: Tensor, tensors: Sequence[Any], options: Sequence[Any], out: Any = None) -> Any:
        arguments = (array(grad), *self.core_arguments(tensors, options), out)
        return limited(self.core_backward, arguments, {})

    def wide(self, x: Tensor, *arguments: Any) -> Tensor:
        """`reference` with the loss in the dtype that the core gives it."""
        if self.reference is None:
            raise NotImplementedError(f"{self.name} has no second derivative: crossent computes the first one alone")
        x = x if x.dtype is torch.float64 else x.float()
        return self.reference(**dict(zip(self.names, (x, *arguments), strict=True)))


LOSSES = {
    loss.name: loss
    for loss in (
        Loss(crossent.cross_entropy, references.cross_entropy),
        Loss(crossent.nll_loss, references.nll_loss),
        Loss(crossent.binary_cross_entropy, references.binary_cross_entropy, of_rows=False),
        Loss(crossent.binary_cross_entropy_with_logits, references.binary_cross_entropy_with_logits, of_rows=False),
        Loss(crossent.kl_div, references.kl_div, of_rows=False),
        Loss(crossent.kl_div_with_logits, references.kl_div_with_logits),
        Loss(crossent.distillation_loss, references.distillation_loss),
        Loss(crossent.sparse_distillation_loss, None),
    )
}


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
