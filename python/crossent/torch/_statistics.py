"""The statistics of rows: an operator with the derivatives of those that have one, and the functions made of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import vjp

import crossent as xe

from .._options import takes_options_of
from .._results import RowStatistics
from ._calls import check_dtype, check_tensor, logit_tensors
from ._losses import vjp_of
from ._operators import define, operator
from ._references import transformed
from ._row_operators import numpy_options
from ._tensors import array, limited, loss_tensor

ARGUMENTS = ("Tensor input, Tensor? target, Tensor? temperatures, Tensor? logit_bias, int axis, int? ignore_index, "
             "float temperature, float? softcap, int? n_classes")  # fmt: skip
TENSORS = 4
DIFFERENTIABLE = ("log_prob", "entropy", "logsumexp")  # the arguments of the backward function
INTEGERS = ("rank", "argmax", "top_k")
OF_TARGET = ("log_prob", "rank")


@takes_options_of(xe.row_statistics)
def row_statistics(logits: Tensor, target: Tensor | None = None, **options: Any) -> Any:
    """`crossent.row_statistics` of tensors: what the softmax of each row of `logits` predicts, as a named tuple.

    The options are those of `crossent.row_statistics`, the class axis ``axis=-1`` among them. ``log_prob``, ``entropy``
    and ``logsumexp`` have a gradient, the others none. Dtypes and errors are as in `cross_entropy`.

    Examples
    --------
    >>> import torch, crossent.torch as xt
    >>> s = xt.row_statistics(torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 3.0]]), torch.tensor([1, 2]))
    >>> s.rank, s.argmax
    (tensor([1, 1]), tensor([0, 1]))
    """
    if target is not None:
        check_tensor("target", target)
    return _statistics("row_statistics", logits, target, options)


def token_log_probs(
    logits: Tensor,
    target: Tensor,
    *,
    axis: int = -1,
    temperature: float | Tensor = 1.0,
    softcap: float | None = None,
    logit_bias: Tensor | None = None,
    ignore_index: int | None = -100,
) -> tuple[Tensor, Tensor]:
    """The log-probability of each target and the entropy of its row, in nats, as losses of policies take them.

    Both are computed in one pass, and so is their gradient; no log-probabilities of all classes are made.

    Parameters
    ----------
    logits : Tensor
        Of float16, bfloat16, float32 or float64, of any strides.
    target : Tensor
        Class indices of any integer dtype, in the shape of `logits` without the class axis.
    axis : int, default -1
        The class axis.
    temperature, softcap, logit_bias
        As in `crossent.cross_entropy`; a tensor as `temperature` has one number for each row.
    ignore_index : int or None, default -100
        Rows of this target have 0 of both, and a gradient of 0.

    Returns
    -------
    log_prob, entropy : Tensor
        In the shape of `target`; float32, or float64 for float64 `logits`.

    Raises
    ------
    TypeError, ValueError, IndexError, RuntimeError
        As `cross_entropy`.

    Examples
    --------
    >>> import torch, crossent.torch as xt
    >>> log_prob, entropy = xt.token_log_probs(torch.tensor([[0.0, 0.0], [17.0, 0.0]]), torch.tensor([0, -100]))
    >>> log_prob, entropy
    (tensor([-0.6931,  0.0000]), tensor([0.6931, 0.0000]))
    """
    check_tensor("target", target)
    options = {"axis": axis, "ignore_index": ignore_index, "temperature": temperature, "softcap": softcap,
               "logit_bias": logit_bias, "n_classes": None, "top_k": 0}  # fmt: skip
    rows = _statistics("token_log_probs", logits, target, options)
    if ignore_index is None:
        return rows.log_prob, rows.entropy
    ignored = (target == ignore_index).reshape(rows.entropy.shape)  # that of one row may have an axis
    return rows.log_prob.masked_fill(ignored, 0), rows.entropy.masked_fill(ignored, 0)


def _statistics(name: str, logits: Tensor, target: Tensor | None, options: dict[str, Any]) -> Any:
    check_tensor("logits", logits)
    check_dtype(logits, "logits")
    number, tensors = logit_tensors(name, options["temperature"], options["logit_bias"])
    results = operator(
        "row_statistics", logits, target, *tensors, options["axis"], options["ignore_index"], number,
        options["softcap"], options["n_classes"], options["top_k"])  # fmt: skip
    named = dict(zip(RowStatistics._fields, results, strict=True))
    return RowStatistics(**(named if target is not None else {**named, **dict.fromkeys(OF_TARGET)}))


def _value(
    x: Tensor, target: Tensor | None, temperatures: Tensor | None, bias: Tensor | None, axis: int,
    ignore_index: int | None, temperature: float, softcap: float | None, n_classes: int | None, top_k: int,
) -> tuple[Tensor, ...]:  # fmt: skip
    options = {"axis": axis, "ignore_index": ignore_index, "n_classes": n_classes, "top_k": top_k}
    options |= numpy_options(temperatures, bias, temperature, softcap)
    results = limited(xe.row_statistics, (array(x), array(target)), options)
    return tuple(x.new_empty(0) if r is None else loss_tensor(r) for r in results)


def _fake_value(x: Tensor, target: Tensor | None, *arguments: Any) -> tuple[Tensor, ...]:
    axis, *_, top_k = arguments[2:]
    rows = list(x.shape)
    del rows[axis]
    dtype = torch.float64 if x.dtype is torch.float64 else torch.float32
    fakes = []
    for name in RowStatistics._fields:
        if target is None and name in OF_TARGET:
            fakes.append(x.new_empty(0))
            continue
        shape = [*rows, top_k] if name.startswith("top_k") else rows
        fakes.append(x.new_empty(shape, dtype=torch.int64 if name in INTEGERS else dtype))
    return tuple(fakes)


def _gradient(
    log_prob: Tensor | None, entropy: Tensor | None, logsumexp: Tensor | None, x: Tensor, target: Tensor | None,
    temperatures: Tensor | None, bias: Tensor | None, axis: int, ignore_index: int | None, temperature: float,
    softcap: float | None, n_classes: int | None,
) -> Tensor:  # fmt: skip
    out = torch.empty_like(x)
    options = {"axis": axis, "ignore_index": ignore_index, "n_classes": n_classes, "out": array(out)}
    options |= numpy_options(temperatures, bias, temperature, softcap)
    options |= {"log_prob": array(log_prob), "entropy": array(entropy), "logsumexp": array(logsumexp)}
    limited(xe.row_statistics_backward, (array(x), array(target)), options)
    return out


def _reference(
    x: Tensor, target: Tensor | None, temperatures: Tensor | None, bias: Tensor | None, axis: int,
    ignore_index: int | None, temperature: float, softcap: float | None, n_classes: int | None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The differentiable statistics by PyTorch's own functions."""
    x, axis = x if x.dtype is torch.float64 else x.float(), axis % x.ndim
    if n_classes is not None:
        x = x.narrow(axis, 0, n_classes)
    z = transformed(x, (axis,), temperature, temperatures, softcap, bias)
    total = z.logsumexp(axis)
    log_p = z - total.unsqueeze(axis)
    possible = log_p.masked_fill(log_p.isneginf(), 0)  # a class of probability 0 adds nothing to the entropy
    entropy = -(log_p.exp() * possible).sum(axis)
    if target is None:
        return torch.zeros_like(entropy), entropy, total
    target = target.long().reshape(total.shape)
    ignored = torch.zeros_like(target, dtype=torch.bool) if ignore_index is None else target == ignore_index
    log_prob = log_p.gather(axis, target.masked_fill(ignored, 0).unsqueeze(axis)).squeeze(axis)
    return tuple(v.masked_fill(ignored, 0) for v in (log_prob, entropy, total))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *arguments, _ = inputs  # all but top_k
    ctx.save_for_backward(*arguments[:TENSORS])
    ctx.options = arguments[TENSORS:]
    named = dict(zip(RowStatistics._fields, output, strict=True))
    of_target = () if inputs[1] is not None else OF_TARGET
    constant = [x for name, x in named.items() if name not in DIFFERENTIABLE or name in of_target]
    ctx.mark_non_differentiable(*constant)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    named = dict(zip(RowStatistics._fields, grads, strict=True))
    upstream = [named[name] for name in DIFFERENTIABLE]
    if ctx.saved_tensors[1] is None:
        upstream[0] = None
    result = None
    if any(g is not None for g in upstream):
        result = operator("row_statistics_backward", *upstream, *ctx.saved_tensors, *ctx.options)
    return result, *(None,) * (TENSORS + len(ctx.options))


def _keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    count = len(DIFFERENTIABLE) + TENSORS
    ctx.save_for_backward(*inputs[:count])
    ctx.options = inputs[count:]


def _backward_gradient(ctx: Any, grad_grad: Tensor) -> tuple[Tensor | None, ...]:
    upstream, (x, *others) = ctx.saved_tensors[: len(DIFFERENTIABLE)], ctx.saved_tensors[len(DIFFERENTIABLE) :]
    given = [k for k, g in enumerate(upstream) if g is not None]

    def gradient(x: Tensor, *grads: Tensor) -> Tensor:
        def statistics(x: Tensor) -> tuple[Tensor, ...]:
            results = _reference(x, *others, *ctx.options)
            return tuple(results[k] for k in given)

        return vjp(statistics, x)[1](grads)[0]

    of_x, *of_upstream = vjp_of(gradient, (x, *(upstream[k] for k in given)), grad_grad)
    results: list[Tensor | None] = [None] * len(DIFFERENTIABLE)
    for k, g in zip(given, of_upstream, strict=True):
        results[k] = g
    return *results, of_x, *(None,) * (len(others) + len(ctx.options))


define(f"row_statistics({ARGUMENTS}, int top_k) -> ({', '.join(['Tensor'] * len(RowStatistics._fields))})", _value,
       _fake_value, _keep, _backward)  # fmt: skip
define(f"row_statistics_backward({', '.join(f'Tensor? {name}' for name in DIFFERENTIABLE)}, {ARGUMENTS}) -> Tensor",
       _gradient, lambda a, b, c, x, *_: torch.empty_like(x), _keep_gradient, _backward_gradient)  # fmt: skip
