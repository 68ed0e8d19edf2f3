"""What each loss is: its arguments, its functions in the core, and the same loss in PyTorch's own functions.

The core has the value and the gradient for the first argument. Every other derivative, that for the target and those of
the second order, is one of PyTorch's functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import _core
from ._tensors import SERIAL, array, limited


class Loss:
    def __init__(
        self, name: str, schema: str, of_rows: bool, reference: Callable[..., Tensor],
        for_core: Callable[..., tuple[Any, ...]],
    ) -> None:  # fmt: skip
        arguments = [argument.split() for argument in schema.split(", ")]
        names = [argument[1] for argument in arguments]
        tensors = sum(argument[0].startswith("Tensor") for argument in arguments)  # they come first
        self.name, self.names = name, names
        self.schema = schema
        self.of_rows = of_rows  # one value per row of classes, or one per element
        self.reference = reference
        self.tensors = tensors
        self.more_tensors = tuple(enumerate(names[:tensors]))[2:]
        # All arguments of the core's functions, by position, that both have: a call by keywords takes 0.3 us more.
        self.for_core = for_core
        self.core = getattr(_core, name)
        self.core_backward = getattr(_core, f"{name}_backward")

    def split(self, arguments: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        return arguments[: self.tensors], arguments[self.tensors :]

    def value(
        self, tensors: Sequence[Any], options: Sequence[Any], return_grad: bool = False, grad_out: Any = None
    ) -> Any:
        """What the core returns: the loss, and with `return_grad` the gradient."""
        arguments = self.for_core(*map(array, tensors), *options)
        if arguments[0].size < SERIAL:  # as `limited` does, without one more call
            return self.core(*arguments, return_grad, grad_out)
        return limited(self.core, (*arguments, return_grad, grad_out), {})

    def gradient(self, grad: Tensor, tensors: Sequence[Any], options: Sequence[Any], out: Any = None) -> Any:
        return limited(self.core_backward, (array(grad), *self.for_core(*map(array, tensors), *options), out), {})

    def wide(self, x: Tensor, *arguments: Any) -> Tensor:
        """`reference` with the loss in the dtype that the core gives it."""
        return self.reference(x if x.dtype is torch.float64 else x.float(), *arguments)


def class_axis(x: Tensor) -> int:
    return 0 if x.ndim == 1 else 1


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


def _distillation_loss(
    x: Tensor, teacher: Tensor, target: Tensor | None, weight: Tensor | None, ignore_index: int, label_smoothing: float,
    temperature: float, alpha: float | None, scale_by_temperature: bool, divergence: str, beta: float, reduction: str,
) -> Tensor:  # fmt: skip
    axis = class_axis(x)
    s, t = (torch.log_softmax(z / temperature, axis) for z in (x, teacher.to(x.dtype)))
    d = _divergence(s, t, axis, divergence, beta)
    if target is not None and not target.is_floating_point():
        counted = target.reshape(d.shape) != ignore_index
        d, rows = d.where(counted, 0), counted.sum()
    else:
        rows = torch.tensor(d.numel())
    if reduction != "none":
        d = d.sum() / (rows if reduction == "mean" else 1)
    if scale_by_temperature:
        d = d * temperature**2
    if target is None:
        return d
    ce = cross_entropy(x, target, weight, ignore_index, label_smoothing, reduction)
    share = 0.5 if alpha is None else alpha
    return share * d + (1 - share) * ce


# PyTorch's own, also while `patch` has others in their place.
_cross_entropy, _nll_loss, _bce, _bce_with_logits, _kl_div = (
    F.cross_entropy, F.nll_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.kl_div,
)  # fmt: skip


def cross_entropy(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, label_smoothing: float, reduction: str
) -> Tensor:
    target = _like(x, target)
    return _cross_entropy(x, target, _cast(x, weight), ignore_index=ignore_index, label_smoothing=label_smoothing,
                          reduction=reduction)  # fmt: skip


def _nll(x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str) -> Tensor:
    return _nll_loss(x, _like(x, target), _cast(x, weight), ignore_index=ignore_index, reduction=reduction)


def _binary(x: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return _bce(x, target.to(x.dtype), _cast(x, weight), reduction=reduction)


def _binary_with_logits(
    x: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, reduction: str
) -> Tensor:
    return _bce_with_logits(x, target.to(x.dtype), _cast(x, weight), reduction=reduction,
                            pos_weight=_cast(x, pos_weight))  # fmt: skip


def _kullback_leibler(x: Tensor, target: Tensor, log_target: bool, reduction: str) -> Tensor:
    if reduction == "mean":  # PyTorch's own warns
        return _kl_div(x, target.to(x.dtype), reduction="sum", log_target=log_target) / x.numel()
    return _kl_div(x, target.to(x.dtype), reduction=reduction, log_target=log_target)


def _cast(x: Tensor, weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight.to(x.dtype)


def _like(x: Tensor, target: Tensor) -> Tensor:
    """A target as PyTorch takes it: indices are int64, and that of a single row has no axis."""
    if target.is_floating_point():
        return target.to(x.dtype)
    return target.long().reshape(()) if x.ndim == 1 else target.long()


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("cross_entropy", "Tensor input, Tensor target, Tensor? weight, int ignore_index, float label_smoothing, "
             "str reduction", True, cross_entropy,
             lambda x, y, weight, ignore_index, smoothing, reduction:
             (x, y, None, 1.0, weight, ignore_index, smoothing, 0.0, None, reduction, None)),
        Loss("nll_loss", "Tensor input, Tensor target, Tensor? weight, int ignore_index, str reduction", True, _nll,
             lambda x, y, weight, ignore_index, reduction: (x, y, None, weight, ignore_index, None, reduction, None)),
        Loss("binary_cross_entropy", "Tensor input, Tensor target, Tensor? weight, str reduction", False, _binary,
             lambda x, y, weight, reduction: (x, y, weight, -100.0, reduction, None)),
        Loss("binary_cross_entropy_with_logits", "Tensor input, Tensor target, Tensor? weight, Tensor? pos_weight, "
             "str reduction", False, _binary_with_logits,
             lambda x, y, weight, pos_weight, reduction: (x, y, weight, pos_weight, 0.0, reduction, None)),
        Loss("kl_div", "Tensor input, Tensor target, bool log_target, str reduction", False, _kullback_leibler,
             lambda x, y, log_target, reduction: (x, y, log_target, None, reduction, None)),
        Loss("distillation_loss", "Tensor input, Tensor teacher_logits, Tensor? target, Tensor? weight, "
             "int ignore_index, float label_smoothing, float temperature, float? alpha, bool scale_by_temperature, "
             "str divergence, float beta, str reduction", True, _distillation_loss,
             lambda x, teacher, y, weight, ignore_index, smoothing, temperature, alpha, scaled, divergence, beta,
             reduction: (x, teacher, y, None, temperature, alpha, scaled, divergence, beta, weight, ignore_index,
                         smoothing, 0.0, None, reduction, None)),
    )
}  # fmt: skip
