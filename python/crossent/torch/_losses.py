"""What each loss is: its arguments, its functions in the core, and the same loss in PyTorch's own functions."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vjp

import crossent

from .. import _core
from .._options import OF_GRADIENT
from ._tensors import SERIAL, array, limited

HIDDEN = ("axis", "log_floor")  # those of PyTorch are the defaults
TYPES = {"ArrayLike": "Tensor", "float": "float", "int": "int", "bool": "bool"}  # others are names: str


def schema_type(annotation: str) -> str:
    kind = annotation.removesuffix(" | None")
    return TYPES.get(kind, "str") + ("?" if kind != annotation else "")


class Loss:
    """A loss by its function in NumPy: tensors first, in their order, then options, `reduction` last.

    `reference`: the same of PyTorch's functions, by the names of the arguments; `of_rows`: whether there is one value
    per row of classes, or one per element.
    """

    def __init__(self, function: Callable[..., Any], reference: Callable[..., Tensor], of_rows: bool = True) -> None:
        parameters = inspect.signature(function).parameters
        for_core = [name for name in parameters if name not in OF_GRADIENT]
        types = {name: schema_type(parameters[name].annotation) for name in for_core if name not in HIDDEN}
        tensors = [name for name in types if types[name].startswith("Tensor")]
        names = [*tensors, *(name for name in types if name not in (*tensors, "reduction")), "reduction"]
        labels = ["input", *names[1:]]
        self.name, self.names, self.tensors = function.__name__, labels, len(tensors)
        self.schema = ", ".join(f"{types[name]} {label}" for name, label in zip(names, labels, strict=True))
        self.of_rows, self.reference = of_rows, reference
        self.more_tensors = tuple(enumerate(labels[: self.tensors]))[2:]
        # All arguments of the core's functions that both have are passed by position: by keyword it takes 0.3 us more.
        hidden = [name for name in for_core if name in HIDDEN]
        self.hidden = tuple(parameters[name].default for name in hidden)
        self.for_core = itemgetter(*map([*names, *hidden].index, for_core))
        self.core = getattr(_core, self.name)
        self.core_backward = getattr(_core, f"{self.name}_backward")

    def split(self, arguments: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        return arguments[: self.tensors], arguments[self.tensors :]

    def value(
        self, tensors: Sequence[Any], options: Sequence[Any], return_grad: bool = False, grad_out: Any = None
    ) -> Any:
        """What the core returns: the loss, and with `return_grad` the gradient."""
        arguments = self.for_core((*map(array, tensors), *options, *self.hidden))
        if arguments[0].size < SERIAL:  # as `limited` does, without one more call
            return self.core(*arguments, return_grad, grad_out)
        return limited(self.core, (*arguments, return_grad, grad_out), {})

    def gradient(self, grad: Tensor, tensors: Sequence[Any], options: Sequence[Any], out: Any = None) -> Any:
        arguments = self.for_core((*map(array, tensors), *options, *self.hidden))
        return limited(self.core_backward, (array(grad), *arguments, out), {})

    def wide(self, x: Tensor, *arguments: Any) -> Tensor:
        """`reference` with the loss in the dtype that the core gives it."""
        x = x if x.dtype is torch.float64 else x.float()
        return self.reference(**dict(zip(self.names, (x, *arguments), strict=True)))


def class_axis(x: Tensor) -> int:
    return 0 if x.ndim == 1 else 1


# PyTorch's own, also while `patch` has others in their place.
_cross_entropy, _nll_loss, _bce, _bce_with_logits, _kl_div = (
    F.cross_entropy, F.nll_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.kl_div,
)  # fmt: skip


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, sample_weight: Tensor | None, ignore_index: int | None,
    label_smoothing: float, z_loss: float, denominator: float | None, reduction: str, temperature: float = 1.0,
    entropy_weight: float = 0.0,
) -> Tensor:  # fmt: skip
    z, target = input / temperature, _like(input, target)
    losses = _cross_entropy(
        z, target, _cast(z, weight), ignore_index=_ignored(ignore_index), label_smoothing=label_smoothing,
        reduction="none")  # fmt: skip
    if z_loss:
        losses = losses + _counted(z_loss * z.logsumexp(class_axis(z)).square(), target, ignore_index)
    if entropy_weight:
        losses = losses - _counted(entropy_weight * _entropy(z, class_axis(z)), target, ignore_index)
    return _of_rows(losses, target, weight, sample_weight, ignore_index, denominator, reduction)


def _entropy(z: Tensor, axis: int) -> Tensor:
    """Of the softmax; a class of -inf has no part in it."""
    log_p = torch.log_softmax(z, axis)
    return -(log_p.exp() * log_p.masked_fill(log_p == -math.inf, 0)).sum(axis)


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None, sample_weight: Tensor | None, ignore_index: int | None,
    denominator: float | None, reduction: str,
) -> Tensor:  # fmt: skip
    target = _like(input, target)
    losses = _nll_loss(input, target, _cast(input, weight), ignore_index=_ignored(ignore_index), reduction="none")
    return _of_rows(losses, target, weight, sample_weight, ignore_index, denominator, reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, denominator: float | None, reduction: str
) -> Tensor:
    losses = _bce(input, target.to(input.dtype), _cast(input, weight), reduction="none")
    return _reduced(losses, losses.numel(), denominator, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, label_smoothing: float,
    denominator: float | None, reduction: str,
) -> Tensor:  # fmt: skip
    target = target.to(input.dtype) * (1 - label_smoothing) + label_smoothing / 2
    losses = _bce_with_logits(
        input, target, _cast(input, weight), reduction="none", pos_weight=_cast(input, pos_weight))  # fmt: skip
    return _reduced(losses, losses.numel(), denominator, reduction)


def kl_div(input: Tensor, target: Tensor, log_target: bool, denominator: float | None, reduction: str) -> Tensor:
    losses = _kl_div(input, target.to(input.dtype), reduction="none", log_target=log_target)
    divisor = input.shape[0] if input.ndim and reduction == "batchmean" else losses.numel()
    return _reduced(losses, divisor, denominator, reduction)


def distillation_loss(
    input: Tensor, teacher_logits: Tensor, target: Tensor | None, weight: Tensor | None, sample_weight: Tensor | None,
    temperature: float, alpha: float | None, scale_by_temperature: bool, divergence: str, beta: float,
    ignore_index: int | None, label_smoothing: float, z_loss: float, denominator: float | None, reduction: str,
) -> Tensor:  # fmt: skip
    axis = class_axis(input)
    s, t = (torch.log_softmax(z / temperature, axis) for z in (input, teacher_logits.to(input.dtype)))
    losses = _divergence(s, t, axis, divergence, beta)
    of_target = None if target is None else _like(input, target)
    if of_target is not None:
        losses = _counted(losses, of_target, ignore_index)
    d = _of_rows(losses, of_target, None, sample_weight, ignore_index, denominator, reduction)
    if scale_by_temperature:
        d = d * temperature**2
    if target is None:
        return d
    ce = cross_entropy(input, target, weight, sample_weight, ignore_index, label_smoothing, z_loss, denominator,
                       reduction)  # fmt: skip
    share = 0.5 if alpha is None else alpha
    return share * d + (1 - share) * ce


def _kl(p: Tensor, q: Tensor, axis: int) -> Tensor:
    """Of log-probabilities."""
    return (p.exp() * (p - q)).sum(axis)


def _divergence(s: Tensor, t: Tensor, axis: int, kind: str, beta: float) -> Tensor:
    if kind == "forward":
        return _kl(t, s, axis)
    if kind == "reverse":
        return _kl(s, t, axis)
    m = torch.logaddexp(t + math.log(beta), s + math.log1p(-beta))
    return beta * _kl(t, m, axis) + (1 - beta) * _kl(s, m, axis)


def _cast(x: Tensor, weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight.to(x.dtype)


def _like(x: Tensor, target: Tensor) -> Tensor:
    """A target as PyTorch takes it: indices are int64, and that of a single row has no axis."""
    if target.is_floating_point():
        return target.to(x.dtype)
    return target.long().reshape(()) if x.ndim == 1 else target.long()


def _ignored(ignore_index: int | None) -> int:
    return -100 if ignore_index is None else ignore_index


def _counted(losses: Tensor, target: Tensor, ignore_index: int | None) -> Tensor:
    """0 for the rows that are ignored."""
    return losses if target.is_floating_point() else losses.where(target != _ignored(ignore_index), 0)


def _of_rows(
    losses: Tensor, target: Tensor | None, weight: Tensor | None, sample_weight: Tensor | None,
    ignore_index: int | None, denominator: float | None, reduction: str,
) -> Tensor:  # fmt: skip
    """The losses of rows, weighted and reduced. A mean divides by the weights of rows and, of indices, of classes."""
    v = torch.ones_like(losses)
    if sample_weight is not None:
        v = v * sample_weight
        losses = losses * v
    if target is not None and not target.is_floating_point():
        v = _counted(v, target, ignore_index)
        if weight is not None:
            v = v * weight[target.where(target != _ignored(ignore_index), 0)]
    return _reduced(losses, v.sum(), denominator, reduction)


def _reduced(losses: Tensor, divisor: Tensor | int, denominator: float | None, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    return losses.sum() / (1 if reduction == "sum" else divisor if denominator is None else denominator)


LOSSES = {
    loss.name: loss
    for loss in (
        Loss(crossent.cross_entropy, cross_entropy),
        Loss(crossent.nll_loss, nll_loss),
        Loss(crossent.binary_cross_entropy, binary_cross_entropy, of_rows=False),
        Loss(crossent.binary_cross_entropy_with_logits, binary_cross_entropy_with_logits, of_rows=False),
        Loss(crossent.kl_div, kl_div, of_rows=False),
        Loss(crossent.distillation_loss, distillation_loss),
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
