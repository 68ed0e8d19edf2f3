"""softcap, logit_bias and temperatures of rows against the same composed in PyTorch, in float64 with its autograd."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import crossent as xe

ROWS, CLASSES = 23, 11
# PyTorch adds in float64 and takes tanh, logarithms and exponentials to a unit or two: a few hundred units of 2^-52 of
# the largest number, |z| to 100 at these temperatures.
NEAR = {np.float32: {"rtol": 2e-6, "atol": 2e-6}, np.float64: {"rtol": 1e-11, "atol": 1e-11}}
CASES = [{"softcap": 2.0}, {"logit_bias": True}, {"temperature": True}, {"softcap": 30.0, "temperature": 0.7},
         {"softcap": 3.0, "logit_bias": True, "temperature": True}]


def options_of(rng, case):
    drawn = {"logit_bias": lambda: np.where(np.arange(CLASSES) == 4, -np.inf, rng.normal(0, 2, CLASSES)),
             "temperature": lambda: rng.uniform(0.3, 4, ROWS)}
    return {name: drawn[name]() if value is True else value for name, value in case.items()}


def logits_of(x, softcap=None, logit_bias=None, temperature=1.0):
    if softcap is not None:
        x = softcap * torch.tanh(x / softcap)
    if logit_bias is not None:
        x = x + torch.from_numpy(logit_bias)
    return x / torch.as_tensor(temperature, dtype=torch.float64).reshape(-1, 1)


def arrays(rng, dtype):
    x, z = (rng.normal(0, rng.choice([1, 5]), (ROWS, CLASSES)).astype(dtype) for _ in range(2))
    y = rng.integers(0, CLASSES - 1, ROWS)
    return x, z, np.where(y >= 4, y + 1, y), rng.normal(0, 1, ROWS)


def leaf(x):
    return torch.from_numpy(x.astype(np.float64)).requires_grad_()


def check(found, losses, x, g, dtype):
    """Each row's loss, and the gradient in x for an upstream gradient of each row."""
    loss, grad = found
    np.testing.assert_allclose(loss, losses.detach().numpy(), **NEAR[dtype])
    (losses * torch.from_numpy(g)).sum().backward()
    np.testing.assert_allclose(grad, x.grad.numpy(), **NEAR[dtype])


def both(function, g, *inputs, **options):
    forward, backward = getattr(xe, function), getattr(xe, f"{function}_backward")
    return forward(*inputs, reduction="none", **options), backward(g, *inputs, reduction="none", **options)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("target", ["indices", "probabilities", "smoothed"])
def test_cross_entropy(target, case, dtype, rng):
    x, _, y, g = arrays(rng, dtype)
    options, smoothing = options_of(rng, case), 0.0
    if target == "probabilities":
        y = rng.dirichlet(np.ones(CLASSES), ROWS).astype(dtype)
        y[:, 4] = 0
    elif target == "smoothed":
        smoothing = 0.2
        if "logit_bias" in options:
            options["logit_bias"][4] = -3  # smoothing gives each class a share
    t = leaf(x)
    wanted = F.cross_entropy(
        logits_of(t, **options).clamp(min=-1e300), torch.from_numpy(y if y.dtype.kind == "i" else y.astype(np.float64)),
        reduction="none", label_smoothing=smoothing)
    check(both("cross_entropy", g, x, y, label_smoothing=smoothing, **options), wanted, t, g, dtype)


def divergence_of(s, t, kind, beta=0.3):
    log_s, log_t = F.log_softmax(s, 1), F.log_softmax(t, 1)
    def kl(p, q):
        return F.kl_div(q, p, log_target=True, reduction="none").nan_to_num(0).sum(1)
    if kind != "js":
        return kl(log_t, log_s) if kind == "forward" else kl(log_s, log_t)
    log_m = torch.logaddexp(log_t + np.log(beta), log_s + np.log1p(-beta))
    return beta * kl(log_t, log_m) + (1 - beta) * kl(log_s, log_m)


def finite(options):
    """Without a masked class, of which a difference of infinities has no derivative in PyTorch."""
    return {**options, "logit_bias": np.maximum(options["logit_bias"], -3)} if "logit_bias" in options else options


def of_both(rng, case):
    """The options of a student, of a teacher, and both as one call has them."""
    student, teacher = finite(options_of(rng, case)), finite(options_of(rng, case))
    teacher |= {"temperature": student.get("temperature", 1.0)}
    call = {**student, **{f"teacher_{name}": value for name, value in teacher.items() if name != "temperature"}}
    return student, teacher, call


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("kind", ["forward", "reverse", "js"])
def test_divergences(kind, case, dtype, rng):
    x, z, _, g = arrays(rng, dtype)
    student, teacher, options = of_both(rng, case)
    t = leaf(x)
    wanted = divergence_of(logits_of(t, **student), logits_of(leaf(z), **teacher), kind)
    check(both("kl_div_with_logits", g, x, z, divergence=kind, beta=0.3, **options), wanted, t, g, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("scaled", [True, False])
def test_distillation(scaled, case, dtype, rng):
    """The divergence at the temperature of each row, times its square, and the cross-entropy without one."""
    x, z, y, g = arrays(rng, dtype)
    student, teacher, options = of_both(rng, case)
    t, temperature = leaf(x), torch.as_tensor(student.get("temperature", 1.0), dtype=torch.float64)
    soft = divergence_of(logits_of(t, **student), logits_of(leaf(z), **teacher), "forward")
    hard = F.cross_entropy(logits_of(t, **{**student, "temperature": 1.0}), torch.from_numpy(y), reduction="none")
    wanted = 0.25 * soft * (temperature**2 if scaled else 1) + 0.75 * hard
    found = both("distillation_loss", g, x, z, y, alpha=0.25, scale_by_temperature=scaled, **options)
    check(found, wanted, t, g, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_normalisers(case, dtype, rng):
    x, _, _, g = arrays(rng, dtype)
    options = options_of(rng, case)
    t = leaf(x)
    z = logits_of(t, **options)
    np.testing.assert_allclose(xe.softmax(x, **options), F.softmax(z, 1).detach().numpy(), **NEAR[dtype])
    np.testing.assert_allclose(xe.log_softmax(x, **options), F.log_softmax(z, 1).detach().numpy(), **NEAR[dtype])
    check((xe.logsumexp(x, **options), xe.logsumexp_backward(g, x, **options)), z.logsumexp(1), t, g, dtype)
