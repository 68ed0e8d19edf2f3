"""PyTorch in float64 on the widened inputs: (value, gradient or None) of a case. What it lacks is composed."""

import numpy as np
import torch
import torch.nn.functional as F
from peer_bounds import wide
from peer_cases import FUNCTIONS, NORMALISERS, POINTWISE

torch.set_num_threads(1)
SUPPORTED = tuple(f for f in FUNCTIONS if f not in ("js_divergence", "information_cross_entropy", "kl_divergence"))


def tensor(x):
    x = np.asarray(x)
    return torch.from_numpy(np.array(x.astype(np.int64) if x.dtype.kind in "iu" else wide(x), order="C"))


def scalar_options(case):
    o = case.options
    return o.get("reduction", case.reduction), o.get("denominator"), o.get("temperature", 1.0)


def averaged(case, losses, denominator):
    reduction, given, _ = scalar_options(case)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    d = denominator if given is None else given
    return losses.sum() / d if d != 0 else losses.sum() * torch.nan


def cross_entropy(case, x, y, *, kept=False):
    """With the class axis at 1 (0 for one row)."""
    o = case.options
    weight = tensor(o["weight"]) if "weight" in o else None
    extra = {"ignore_index": o.get("ignore_index", -100)}
    if case.function == "cross_entropy":
        x = x / o.get("temperature", 1.0)
    if case.function != "nll_loss":
        extra["label_smoothing"] = o.get("label_smoothing", 0.0)
    if y.is_floating_point():
        extra.pop("ignore_index")
    elif x.ndim == 1:
        y = y.reshape(())
    loss = F.nll_loss if case.function == "nll_loss" else F.cross_entropy
    reduction, denominator, _ = scalar_options(case)
    if "sample_weight" not in o and denominator is None and not kept:
        return loss(x, y, weight=weight, reduction=reduction, **extra)
    losses = loss(x, y, weight=weight, reduction="none", **extra)
    v = tensor(np.broadcast_to(o.get("sample_weight", 1.0), losses.shape))
    count = v
    if not y.is_floating_point():
        ignored = y == extra["ignore_index"]
        count = torch.where(ignored, 0, v * (1 if weight is None else weight[torch.where(ignored, 0, y)]))
    if kept:
        return v, torch.where(ignored, 0, v) if not y.is_floating_point() else v
    return averaged(case, v * losses, count.sum())


def divergence(case, x, z, v):
    """(losses of the rows, denominator)."""
    o, d = case.options, min(1, x.ndim - 1)
    t = o.get("temperature", 1.0)
    ls, lt = F.log_softmax(x / t, d), F.log_softmax(z / t, d)
    kind, beta = o.get("divergence", "forward"), o.get("beta", 0.5)

    def kl(p, q):
        return F.kl_div(q, p, log_target=True, reduction="none").sum(d)

    if kind == "js":
        lm = torch.logaddexp(lt + np.log(beta), ls + np.log1p(-beta))
        rows = beta * kl(lt, lm) + (1 - beta) * kl(ls, lm)
    else:
        rows = kl(lt, ls) if kind == "forward" else kl(ls, lt)
    return averaged(case, v * rows, v.sum())


def class_losses(case, x, *others):
    o = case.options
    if case.function == "perplexity":
        return torch.exp(cross_entropy(case, x, *others))
    if case.function in ("cross_entropy", "nll_loss"):
        return cross_entropy(case, x, *others)
    v = tensor(np.broadcast_to(wide(o.get("sample_weight", 1.0)), x.shape[:1] * (x.ndim > 1) + x.shape[2:]))
    if case.function == "kl_div_with_logits":
        return divergence(case, x, others[0], v)
    alpha = o.get("alpha", 0.5 if len(others) > 1 else 1.0)
    scale = o.get("temperature", 1.0) ** 2 if o.get("scale_by_temperature", True) else 1.0
    if len(others) == 1:
        return alpha * scale * divergence(case, x, others[0], v)
    parts = []
    if alpha > 0:
        parts.append(alpha * scale * divergence(case, x, others[0], cross_entropy(case, x, others[1], kept=True)[1]))
    if alpha < 1:
        parts.append((1 - alpha) * cross_entropy(case, x, others[1]))
    return sum(parts)


def pointwise(case, x, y):
    o = case.options
    reduction, denominator, _ = scalar_options(case)
    if case.function == "kl_div":
        own = reduction if denominator is None and "axis" not in o else "none"
        losses = F.kl_div(x, y, reduction=own, log_target=o.get("log_target", False))
        if own != "none" or (reduction == own and "axis" not in o):
            return losses
        rows = losses.sum(case.axis) if "axis" in o else losses
        count = x.numel() if reduction == "mean" else rows.numel()
        return averaged(case, rows, count)
    extra = {"weight": tensor(np.broadcast_to(wide(o["weight"]), x.shape))} if "weight" in o else {}
    loss = F.binary_cross_entropy
    if case.function.endswith("logits"):
        loss, e = F.binary_cross_entropy_with_logits, o.get("label_smoothing", 0.0)
        y = y * (1 - e) + e / 2
        if "pos_weight" in o:
            extra["pos_weight"] = tensor(wide(o["pos_weight"]))
    if denominator is None:
        return loss(x, y, reduction=reduction, **extra)
    return averaged(case, loss(x, y, reduction="none", **extra), None)


def evaluate(case):
    axis, t = case.axis, case.options.get("temperature", 1.0)
    arrays = [tensor(x) for x in case.arrays.values()]
    if case.function.endswith("_backward"):
        g, p = arrays
        return (getattr(torch, f"_{case.function}_data")(g, p, axis, torch.float64) / t).numpy(), None
    x = arrays[0].requires_grad_(True)
    if case.function == "entropy":
        value = torch.special.entr(x.detach()).sum(axis) / np.log(case.options.get("base", np.e))
        return value.numpy(), None
    if case.function == "entropy_with_logits":
        logits = x.detach().movedim(axis, -1)
        return torch.distributions.Categorical(logits=logits, validate_args=False).entropy().numpy(), None
    if case.function in NORMALISERS:
        if case.function == "logsumexp":
            value = torch.logsumexp(x, axis)
        else:
            value = getattr(F, case.function)(x / t, axis)
            return value.detach().numpy(), None
    elif case.function in POINTWISE:
        value = pointwise(case, x, arrays[1].double())
    else:
        front = min(1, x.ndim - 1)
        moved = [a.movedim(axis, front).contiguous() if a.is_floating_point() else a for a in arrays]
        value = class_losses(case, *moved)
    if case.function == "perplexity":
        return value.detach().numpy(), None
    upstream = torch.ones_like(value) if case.upstream is None else tensor(case.upstream)
    if value.requires_grad:
        value.backward(upstream)
    grad = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
    if value.ndim == 0 and torch.isnan(value):  # a mean over nothing: test_differences.py has its gradient
        grad = None if case.function == "distillation_loss" else np.zeros(x.shape)
    return value.detach().numpy(), grad
