"""The losses of `torch.nn` as modules: subclasses of PyTorch's, which differ in what computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    distillation_loss,
    kl_div,
    nll_loss,
)

# Options that the modules of PyTorch have not.
MORE = ("temperature", "z_loss", "denominator", "inplace", "recompute")


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """`cross_entropy` as a module: `torch.nn.CrossEntropyLoss` with its arguments and the other options.

    >>> import torch, crossent.torch as xt
    >>> float(xt.CrossEntropyLoss()(torch.tensor([[17.0, 0.0]]), torch.tensor([0])))
    4.139937459513021e-08
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        more = {name: options.pop(name) for name in MORE if name in options}
        super().__init__(*arguments, **options)
        self.options = more

    def forward(self, input: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            sample_weight=sample_weight,
            **self.options,
        )


class NLLLoss(torch.nn.NLLLoss):
    """`nll_loss` as a module: `torch.nn.NLLLoss` with its arguments."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class BCELoss(torch.nn.BCELoss):
    """`binary_cross_entropy` as a module: `torch.nn.BCELoss` with its arguments."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(torch.nn.BCEWithLogitsLoss):
    """`binary_cross_entropy_with_logits` as a module: `torch.nn.BCEWithLogitsLoss` with its arguments and two more.

    `inplace` and `recompute` are those of the function.
    """

    def __init__(self, *arguments: Any, inplace: bool = False, recompute: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.inplace, self.recompute = inplace, recompute

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            input,
            target,
            self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
            inplace=self.inplace,
            recompute=self.recompute,
        )


class KLDivLoss(torch.nn.KLDivLoss):
    """`kl_div` as a module: `torch.nn.KLDivLoss` with its arguments."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class DistillationLoss(torch.nn.Module):
    """`distillation_loss` as a module: the arguments of the function, then a call with (input, teacher_logits, target).

    >>> import torch, crossent.torch as xt
    >>> student, teacher = torch.zeros(2, 4, requires_grad=True), torch.eye(2, 4)
    >>> loss = xt.DistillationLoss(temperature=2.0)(student, teacher, torch.tensor([0, 1]))
    >>> loss.backward()
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, **options: Any) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.options = options

    def forward(self, input: Tensor, teacher_logits: Tensor, target: Tensor | None = None) -> Tensor:
        return distillation_loss(input, teacher_logits, target, self.weight, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())
