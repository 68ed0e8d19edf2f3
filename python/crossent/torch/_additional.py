"""The losses of crossent that PyTorch does not have, for tensors."""

from __future__ import annotations

from typing import Any

from torch import Tensor

import crossent

from .._options import OF_GRADIENT, takes_options_of
from ._calls import loss, loss_by_names, number_and_tensor

NOT_OF_PYTORCH = ("axis", *OF_GRADIENT)  # the classes are along the axis 1, as in PyTorch; gradients are autograd's


def distillation_loss(
    input: Tensor,
    teacher_logits: Tensor,
    target: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    sample_weight: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    softcap: float | None = None,
    logit_bias: Tensor | None = None,
    teacher_softcap: float | None = None,
    teacher_logit_bias: Tensor | None = None,
    alpha: float | None = None,
    scale_by_temperature: bool = True,
    divergence: str = "forward",
    beta: float = 0.5,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    denominator: float | None = None,
    reduction: str = "mean",
    inplace: bool = False,
    recompute: bool = False,
) -> Tensor:
    """`crossent.distillation_loss` of tensors: a divergence from a teacher and a cross-entropy.

    The options are those of `crossent.distillation_loss`. A gradient exists for both logits; `inplace`,
    `recompute`, dtypes, result and errors are as in `cross_entropy`.

    Examples
    --------
    >>> import torch, crossent.torch as xt
    >>> teacher = torch.tensor([[2.0, 0.0]])
    >>> float(xt.distillation_loss(teacher, teacher, temperature=2.0))
    0.0
    """
    number, temperatures = number_and_tensor(temperature)
    tensors = (
        input, teacher_logits, target, temperatures, logit_bias, teacher_logit_bias, weight, sample_weight,
    )  # fmt: skip
    options = (
        number, softcap, teacher_softcap, alpha, scale_by_temperature, divergence, beta, ignore_index,
        label_smoothing, z_loss, denominator, reduction,
    )  # fmt: skip
    return loss("distillation_loss", tensors, options, inplace, recompute)


@takes_options_of(crossent.kl_div_with_logits, *NOT_OF_PYTORCH)
def kl_div_with_logits(
    input: Tensor, teacher_logits: Tensor, *, inplace: bool = False, recompute: bool = False, **options: Any
) -> Tensor:
    """`crossent.kl_div_with_logits` of tensors: a divergence of a student's distribution and a teacher's.

    The options are those of `crossent.kl_div_with_logits`. A gradient exists for both logits; `inplace`,
    `recompute`, dtypes, result and errors are as in `cross_entropy`.

    Examples
    --------
    >>> import torch, crossent.torch as xt
    >>> float(xt.kl_div_with_logits(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, -torch.inf]])))
    0.6931471824645996
    """
    given = {"input": input, "teacher_logits": teacher_logits, **options}
    return loss_by_names("kl_div_with_logits", given, inplace, recompute)


@takes_options_of(crossent.sparse_distillation_loss, *NOT_OF_PYTORCH)
def sparse_distillation_loss(
    input: Tensor, classes: Tensor, values: Tensor, *, inplace: bool = False, recompute: bool = False, **options: Any
) -> Tensor:
    """`crossent.sparse_distillation_loss` of tensors: a divergence from a teacher that is known of a few classes.

    The options are those of `crossent.sparse_distillation_loss`. The gradient is that of the student's logits, and has
    no derivative; `inplace`, `recompute`, dtypes, result and errors are as in `cross_entropy`.

    Examples
    --------
    >>> import torch, crossent.torch as xt
    >>> classes, values = torch.tensor([[2, 0]]), torch.tensor([[0.5, 0.25]])
    >>> float(xt.sparse_distillation_loss(torch.zeros(1, 4), classes, values, values_are="probs"))
    0.1732867956161499
    """
    given = {"input": input, "classes": classes, "values": values, **options}
    return loss_by_names("sparse_distillation_loss", given, inplace, recompute)
