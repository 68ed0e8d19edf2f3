"""The losses of `torch.nn` as modules, and models that call PyTorch's losses, computed by crossent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _functional
from ._additional import distillation_loss
from ._functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    nll_loss,
)
from ._losses import LOSSES
from ._tensors import FLOATING


def _more(function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Takes the options that the module of PyTorch has not out of those that are given."""
    parameters = inspect.signature(function).parameters.values()
    names = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - {"sample_weight"}  # which comes with each call
    return {name: given.pop(name) for name in names & given.keys()}


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """`cross_entropy` as a module: `torch.nn.CrossEntropyLoss` with its arguments and the other options.

    >>> import torch, crossent.torch as xt
    >>> float(xt.CrossEntropyLoss()(torch.tensor([[17.0, 0.0]]), torch.tensor([0])))
    4.139937459513021e-08
    """

    logit_bias: Tensor | None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        more = _more(cross_entropy, options)
        super().__init__(*arguments, **options)
        self.register_buffer("logit_bias", more.pop("logit_bias", None))
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
            logit_bias=self.logit_bias,
            **self.options,
        )


class NLLLoss(torch.nn.NLLLoss):
    """`nll_loss` as a module: `torch.nn.NLLLoss` with its arguments and `denominator`; calls take `sample_weight`."""

    def __init__(self, *arguments: Any, denominator: float | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.denominator = denominator

    def forward(self, input: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            sample_weight=sample_weight,
            denominator=self.denominator,
        )


class BCELoss(torch.nn.BCELoss):
    """`binary_cross_entropy` as a module: `torch.nn.BCELoss` with its arguments."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(torch.nn.BCEWithLogitsLoss):
    """`binary_cross_entropy_with_logits` as a module: `torch.nn.BCEWithLogitsLoss` with its arguments and four more.

    `label_smoothing`, `denominator`, `inplace` and `recompute` are those of the function.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        more = _more(binary_cross_entropy_with_logits, options)
        super().__init__(*arguments, **options)
        self.options = more

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight, **self.options)


class KLDivLoss(torch.nn.KLDivLoss):
    """`kl_div` as a module: `torch.nn.KLDivLoss` with its arguments."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


BIASES = ("logit_bias", "teacher_logit_bias")


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
        for name in BIASES:
            self.register_buffer(name, options.pop(name, None))
        self.options = options

    def forward(self, input: Tensor, teacher_logits: Tensor, target: Tensor | None = None) -> Tensor:
        biases = {name: getattr(self, name) for name in BIASES}
        return distillation_loss(input, teacher_logits, target, self.weight, **biases, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


PATCHED = ("log_softmax", *(name for name in LOSSES if hasattr(F, name)))


def _routed(theirs: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(theirs)
    def route(*arguments: Any, **options: Any) -> Any:
        tensors = [x for x in (*arguments, *options.values()) if isinstance(x, torch.Tensor)]
        x = options["input"] if "input" in options else arguments[0]
        possible = x.dtype in FLOATING and all(t.device.type == "cpu" and t.layout is torch.strided for t in tensors)
        return (ours if possible else theirs)(*arguments, **options)

    return route


@contextmanager
def patch() -> Iterator[None]:
    """Let crossent compute the losses of `torch.nn.functional`, and `log_softmax`, within a ``with`` block.

    So do the modules of `torch.nn`, and models that use either. It is for the whole process, and it does not reach
    names imported before: ``from torch.nn.functional import cross_entropy``. Tensors that are not on the CPU, or not of
    a floating dtype, go to PyTorch as before.

    Examples
    --------
    >>> import torch, crossent.torch as xt
    >>> with xt.patch():
    ...     print(float(torch.nn.CrossEntropyLoss()(torch.tensor([[17.0, 0.0]]), torch.tensor([0]))))
    4.139937459513021e-08
    """
    before = {name: getattr(F, name) for name in PATCHED}
    try:
        for name, theirs in before.items():
            setattr(F, name, _routed(theirs, getattr(_functional, name)))
        yield
    finally:
        for name, theirs in before.items():
            setattr(F, name, theirs)
