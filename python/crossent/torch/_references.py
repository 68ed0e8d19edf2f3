"""The losses in PyTorch's own functions, which give the derivatives that the core has not.

Each takes its arguments as its operator does (`_losses.Loss.names`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def class_axis(x: Tensor) -> int:
    return 0 if x.ndim == 1 else 1


# PyTorch's own, also while `patch` has others in their place.
_cross_entropy, _nll_loss, _bce, _bce_with_logits, _kl_div = (
    F.cross_entropy, F.nll_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.kl_div,
)  # fmt: skip


def transformed(
    x: Tensor, axes: tuple[int, ...], temperature: float, temperatures: Tensor | None, softcap: float | None,
    logit_bias: Tensor | None,
) -> Tensor:  # fmt: skip
    """(softcap tanh(x / softcap) + logit_bias) / T along the class axes."""
    if softcap is not None:
        x = softcap * torch.tanh(x / softcap)
    if logit_bias is not None:
        x = x + logit_bias.to(x.dtype).reshape([n if axis in axes else 1 for axis, n in enumerate(x.shape)])
    return x / (temperature if temperatures is None else _along(x, axes, temperatures))


def _along(x: Tensor, axes: tuple[int, ...], of_rows: Tensor) -> Tensor:
    """The numbers of rows, broadcast over the class axes of x."""
    sizes = list(enumerate(x.shape))
    spread = of_rows.to(x.dtype).expand([n for axis, n in sizes if axis not in axes])
    return spread.reshape([1 if axis in axes else n for axis, n in sizes])


def slope(like: Tensor, x: Tensor | None, dim: int, temperatures: Tensor | None, softcap: float | None) -> Tensor:
    """The derivative of `transformed` at x, in the dtype of `like`, but for a temperature that is a number.

    That of the softcap, 1 - tanh(u)^2, is 4 sigmoid(2u) sigmoid(-2u), where nothing cancels.
    """
    result = like.new_ones(())
    if softcap is not None and x is not None:
        u = x.to(like.dtype) * (2 / softcap)
        result = 4 * u.sigmoid() * (-u).sigmoid()
    if temperatures is not None:
        result = result / _along(like, (dim % like.ndim,), temperatures)
    return result


def cross_entropy(
    input: Tensor, target: Tensor, temperatures: Tensor | None, logit_bias: Tensor | None, weight: Tensor | None,
    sample_weight: Tensor | None, temperature: float, softcap: float | None, ignore_index: int | None,
    label_smoothing: float, z_loss: float, denominator: float | None, reduction: str, entropy_weight: float = 0.0,
) -> Tensor:  # fmt: skip
    axis = class_axis(input)
    z = transformed(input, (axis,), temperature, temperatures, softcap, logit_bias)
    target = _like(input, target)
    losses = _cross_entropy(
        z, target, _cast(z, weight), ignore_index=_ignored(ignore_index), label_smoothing=label_smoothing,
        reduction="none")  # fmt: skip
    if z_loss:
        losses = losses + _counted(z_loss * z.logsumexp(axis).square(), target, ignore_index)
    if entropy_weight:
        losses = losses - _counted(entropy_weight * _entropy(z, axis), target, ignore_index)
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


def kl_div_with_logits(
    input: Tensor, teacher_logits: Tensor, temperatures: Tensor | None, logit_bias: Tensor | None,
    teacher_logit_bias: Tensor | None, sample_weight: Tensor | None, temperature: float, softcap: float | None,
    teacher_softcap: float | None, divergence: str, beta: float, denominator: float | None, reduction: str,
) -> Tensor:  # fmt: skip
    axes = (class_axis(input),)
    losses = _divergence(
        transformed(input, axes, temperature, temperatures, softcap, logit_bias),
        transformed(teacher_logits.to(input.dtype), axes, temperature, temperatures, teacher_softcap,
                    teacher_logit_bias),
        *axes, divergence, beta)  # fmt: skip
    return _of_rows(losses, None, None, sample_weight, None, denominator, reduction)


def distillation_loss(
    input: Tensor, teacher_logits: Tensor, target: Tensor | None, temperatures: Tensor | None,
    logit_bias: Tensor | None, teacher_logit_bias: Tensor | None, weight: Tensor | None, sample_weight: Tensor | None,
    temperature: float, softcap: float | None, teacher_softcap: float | None, alpha: float | None,
    scale_by_temperature: bool, divergence: str, beta: float, ignore_index: int | None, label_smoothing: float,
    z_loss: float, denominator: float | None, reduction: str,
) -> Tensor:  # fmt: skip
    losses = kl_div_with_logits(
        input, teacher_logits, temperatures, logit_bias, teacher_logit_bias, None, temperature, softcap,
        teacher_softcap, divergence, beta, None, "none")  # fmt: skip
    if scale_by_temperature:
        losses = losses * (temperature if temperatures is None else temperatures.to(losses.dtype)) ** 2
    of_target = None if target is None else _like(input, target)
    if of_target is not None:
        losses = _counted(losses, of_target, ignore_index)
    d = _of_rows(losses, of_target, None, sample_weight, ignore_index, denominator, reduction)
    if target is None:
        return d
    ce = cross_entropy(input, target, None, logit_bias, weight, sample_weight, 1.0, softcap, ignore_index,
                       label_smoothing, z_loss, denominator, reduction)  # fmt: skip
    share = 0.5 if alpha is None else alpha
    return share * d + (1 - share) * ce


def _kl(p: Tensor, q: Tensor, axis: int) -> Tensor:
    """Of log-probabilities. A class that p has not adds nothing, nor has a derivative, whatever q is."""
    p, q = (x.masked_fill(p.isneginf(), 0) for x in (p, q))
    return (p.exp() * (p - q)).sum(axis)


def _divergence(student: Tensor, teacher: Tensor, axis: int, kind: str, beta: float) -> Tensor:
    """Of logits."""
    s, t = (torch.log_softmax(z, axis) for z in (student, teacher))
    if kind == "forward":
        return _kl(t, s, axis)
    if kind == "reverse":
        return _kl(s, t, axis)
    neither = s.isneginf() & t.isneginf()  # has no derivative in logaddexp
    m = torch.logaddexp(*(x.masked_fill(neither, 0) for x in (t + math.log(beta), s + math.log1p(-beta))))
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
