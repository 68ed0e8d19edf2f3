"""The functions of `torch.nn.functional` that crossent has, with their signatures."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from .._axes import Axes
from . import _row_operators  # noqa: F401  # it defines operators
from ._calls import check_input, logit_tensors, loss, number_and_tensor
from ._eager import normalised, plain
from ._operators import operator


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    sample_weight: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    softcap: float | None = None,
    logit_bias: Tensor | None = None,
    z_loss: float = 0.0,
    entropy_weight: float = 0.0,
    denominator: float | None = None,
    inplace: bool = False,
    recompute: bool = False,
) -> Tensor:
    """`torch.nn.functional.cross_entropy` on the CPU: `crossent.cross_entropy` with gradients of any order, in nats.

    Parameters
    ----------
    input : Tensor, (C,), (N, C) or (N, C, d1, ..., dk)
        Logits of float16, bfloat16, float32 or float64, of any strides.
    target : Tensor
        Class indices of any integer dtype, in the shape of `input` without the classes; or class probabilities in
        [0, 1], of any floating dtype, in the shape of `input`.
    weight, size_average, ignore_index, reduce, reduction, label_smoothing
        As in PyTorch; `weight` is finite and >= 0.
    sample_weight, temperature, softcap, logit_bias, z_loss, entropy_weight, denominator
        As in `crossent.cross_entropy`; a tensor as `temperature` has one number for each row.
    inplace : bool, default False
        Whether the backward pass writes the gradient over `input`, which must not be needed after it.
    recompute : bool, default False
        Whether the backward pass computes the gradient from `input`, so that none is kept between the passes.

    Returns
    -------
    Tensor
        Float32, or float64 for float64 `input`. The gradient has the dtype of `input`.

    Raises
    ------
    TypeError
        If a dtype is not supported.
    ValueError
        If a tensor is not on the CPU, or a shape or value is not as above.
    IndexError
        If a target is outside [0, C) and is not `ignore_index`.
    RuntimeError
        If a tensor other than `input` and `target` requires a gradient, which crossent does not compute; or if `input`
        is needed elsewhere and `inplace` is given.

    Examples
    --------
    >>> import torch, crossent.torch as xt
    >>> float(xt.cross_entropy(torch.tensor([[17.0, 0.0]]), torch.tensor([0])))
    4.139937459513021e-08
    """
    if size_average is not None or reduce is not None:
        reduction = _reduction(size_average, reduce)
    number, temperatures = number_and_tensor(temperature)
    tensors = (input, target, temperatures, logit_bias, weight, sample_weight)
    options = (number, softcap, ignore_index, label_smoothing, z_loss, entropy_weight, denominator, reduction)
    return loss("cross_entropy", tensors, options, inplace, recompute)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    sample_weight: Tensor | None = None,
    denominator: float | None = None,
) -> Tensor:
    """`torch.nn.functional.nll_loss` on the CPU: `crossent.nll_loss` of log-probabilities.

    `target` holds class indices. The last two options are those of `crossent.nll_loss`; dtypes, result and errors are
    those of `cross_entropy`.
    """
    if size_average is not None or reduce is not None:
        reduction = _reduction(size_average, reduce)
    return loss("nll_loss", (input, target, weight, sample_weight), (ignore_index, denominator, reduction))


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    denominator: float | None = None,
) -> Tensor:
    """`torch.nn.functional.binary_cross_entropy` on the CPU: `crossent.binary_cross_entropy` of probabilities.

    `target` holds probabilities in the shape of `input`. Dtypes, result and errors are those of `cross_entropy`.
    """
    if size_average is not None or reduce is not None:
        reduction = _reduction(size_average, reduce)
    return loss("binary_cross_entropy", (input, target, weight), (denominator, reduction))


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    denominator: float | None = None,
    inplace: bool = False,
    recompute: bool = False,
) -> Tensor:
    """`torch.nn.functional.binary_cross_entropy_with_logits` on the CPU: crossent's.

    `target` holds probabilities in the shape of `input`. `label_smoothing` and `denominator` are those of
    `crossent.binary_cross_entropy_with_logits`; `inplace`, `recompute`, dtypes, result and errors are as in
    `cross_entropy`.
    """
    if size_average is not None or reduce is not None:
        reduction = _reduction(size_average, reduce)
    tensors = (input, target, weight, pos_weight)
    options = (label_smoothing, denominator, reduction)
    return loss("binary_cross_entropy_with_logits", tensors, options, inplace, recompute)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
    *,
    denominator: float | None = None,
) -> Tensor:
    """`torch.nn.functional.kl_div` on the CPU: `crossent.kl_div` of log-probabilities.

    `target` holds (log-)probabilities that broadcast with `input`. The default `reduction` is PyTorch's ``"mean"``,
    without its warning. Dtypes, result and errors are those of `cross_entropy`.
    """
    if size_average is not None or reduce is not None:
        reduction = _reduction(size_average, reduce)
    if input.shape != target.shape:
        input, target = torch.broadcast_tensors(input, target)
    return loss("kl_div", (input, target), (log_target, denominator, reduction))


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None,
    *, temperature: float | Tensor = 1.0, softcap: float | None = None, logit_bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`torch.nn.functional.softmax` on the CPU: `crossent.softmax` along `dim`, of `input` as `dtype`.

    `temperature`, `softcap` and `logit_bias` are those of `crossent.softmax`.
    """
    return _normaliser("softmax", input, dim, dtype, _stacklevel, temperature, softcap, logit_bias)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None,
    *, temperature: float | Tensor = 1.0, softcap: float | None = None, logit_bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`torch.nn.functional.log_softmax` on the CPU: `crossent.log_softmax` along `dim`, of `input` as `dtype`.

    `temperature`, `softcap` and `logit_bias` are those of `crossent.log_softmax`.
    """
    return _normaliser("log_softmax", input, dim, dtype, _stacklevel, temperature, softcap, logit_bias)


def logsumexp(
    input: Tensor, dim: int | tuple[int, ...], keepdim: bool = False, *, temperature: float | Tensor = 1.0,
    softcap: float | None = None, logit_bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`torch.logsumexp` on the CPU: `crossent.logsumexp` along `dim`, one axis or several.

    `temperature`, `softcap` and `logit_bias` are those of `crossent.logsumexp`. The result is float32, or float64 for
    float64 `input`.

    Examples
    --------
    >>> import torch, crossent.torch as xt
    >>> xt.logsumexp(torch.tensor([[0.0, 0.0], [1000.0, 1000.0]]), 1)
    tensor([6.9315e-01, 1.0007e+03])
    """
    check_input(input)
    number, tensors = logit_tensors("logsumexp", temperature, logit_bias)
    axes = Axes("input", input, dim, may_be_empty=True)
    of_rows = input.permute((*axes.others, *axes.classes)).reshape(*axes.rows, axes.count)
    result: Tensor = operator("logsumexp", of_rows, *tensors, -1, number, softcap)
    return result.reshape(axes.reduced_shape(keepdim))


def _normaliser(
    name: str, x: Tensor, dim: int | None, dtype: torch.dtype | None, stacklevel: int, temperature: Any,
    softcap: float | None, logit_bias: Tensor | None,
) -> Tensor:  # fmt: skip
    if dim is None:
        warnings.warn(f"{name} without dim is deprecated: pass dim=", stacklevel=stacklevel)
        dim = 0 if x.ndim in (0, 1, 3) else 1
    if dtype is not None:
        x = x.to(dtype)
    check_input(x)
    shape, x = x.shape, x.reshape(1) if x.ndim == 0 else x
    number, tensors = logit_tensors(name, temperature, logit_bias)
    if number != 1 or softcap is not None or tensors != (None, None):
        out = operator(f"{name}_of_logits", x, *tensors, dim, number, softcap)
    else:
        out = normalised(name, x, dim) if plain((x,)) else operator(name, x, dim)
    return out if shape else out.reshape(shape)


def _reduction(size_average: bool | None, reduce: bool | None) -> str:
    """The reduction that PyTorch's deprecated arguments mean."""
    reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn(f"size_average and reduce are deprecated: pass reduction={reduction!r}", stacklevel=3)
    return reduction
