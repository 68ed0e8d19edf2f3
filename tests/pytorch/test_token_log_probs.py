"""The statistics of rows as tensors, and the log-probabilities and entropies of policies, with their derivatives."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch.func import grad, vmap  # noqa: E402

import crossent as xe  # noqa: E402
import crossent.torch as xt  # noqa: E402
from crossent.torch._tensors import array  # noqa: E402

N, C = 4, 5
TARGET = torch.tensor([0, 1, -100, 4])
OPTIONS = {
    "plain": {},
    "temperature": {"temperature": 1.5},
    "logits": {"temperature": torch.linspace(0.5, 2, N), "softcap": 4.0,
               "logit_bias": torch.tensor([0.5, -1.0, -torch.inf, 0.0, 2.0], dtype=torch.float64)},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def logits(dtype=torch.float64):
    return (3 * torch.randn(N, C)).to(dtype).requires_grad_()


def composed(x, target, *, axis=-1, temperature=1.0, softcap=None, logit_bias=None, ignore_index=-100):
    """The same of PyTorch's own functions."""
    z = x if softcap is None else softcap * torch.tanh(x / softcap)
    z = z if logit_bias is None else z + logit_bias
    log_p = (z / torch.as_tensor(temperature).reshape(-1, 1)).log_softmax(axis)
    counted = target != ignore_index
    log_prob = log_p.gather(axis, target.where(counted, 0).unsqueeze(axis)).squeeze(axis)
    entropy = -(log_p.exp() * log_p.masked_fill(log_p.isneginf(), 0)).sum(axis)
    return log_prob.where(counted, 0), entropy.where(counted, 0)


@every_option
def test_the_formula(options):
    x = logits()
    for ours, theirs in zip(xt.token_log_probs(x, TARGET, **options), composed(x, TARGET, **options), strict=True):
        torch.testing.assert_close(ours, theirs)
        weighted = ((y * torch.arange(1.0, N + 1)).sum() for y in (ours, theirs))
        of_x = (torch.autograd.grad(y, x, retain_graph=True) for y in weighted)
        torch.testing.assert_close(*of_x)


@every_option
def test_bits_of_the_core(options, dtype):
    x = logits(dtype)
    log_prob, entropy = xt.token_log_probs(x, TARGET, **options)
    g, h = torch.randn(2, N).to(log_prob.dtype)
    (g * log_prob + h * entropy).sum().backward()
    arrays = {name: array(v) if isinstance(v, torch.Tensor) else v for name, v in options.items()}
    ignored = TARGET.numpy() == -100
    with torch.no_grad():
        expected = xe.row_statistics(array(x), TARGET.numpy(), **arrays)
        for ours, numbers in ((log_prob, expected.log_prob), (entropy, expected.entropy)):
            np.testing.assert_array_equal(array(ours), np.where(ignored, 0, numbers))
        upstream = {"log_prob": array(g), "entropy": array(h)}
        gradient = xe.row_statistics_backward(array(x), TARGET.numpy(), **upstream, **arrays)
    assert x.grad.dtype == dtype
    np.testing.assert_array_equal(array(x.grad), gradient)
    assert not x.grad[2].any()


@every_option
def test_derivatives(options):
    x = logits()
    assert gradcheck(lambda x: xt.token_log_probs(x, TARGET, **options), (x,), check_batched_grad=True)
    assert gradgradcheck(lambda x: xt.token_log_probs(x, TARGET, **options), (x,))
    assert gradcheck(lambda x: xt.row_statistics(x, **options).logsumexp, (x,))
    assert gradgradcheck(lambda x: xt.row_statistics(x, **options).entropy, (x,))


def test_row_statistics():
    x = logits(torch.float32)
    for target in (None, TARGET):
        ours = xt.row_statistics(x, target, top_k=2, n_classes=4 if target is None else None)
        with torch.no_grad():
            theirs = xe.row_statistics(
                array(x), array(target), top_k=2, n_classes=4 if target is None else None)
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_array_equal(array(a.detach()), b)
    differentiable = [name for name, v in ours._asdict().items() if v.requires_grad]
    assert differentiable == ["log_prob", "entropy", "logsumexp"]
    assert xt.row_statistics(x, n_classes=3).logsumexp.sum().backward() is None
    assert not x.grad[:, 3:].any()


def test_one_row_and_another_axis():
    x = logits()
    alone = xt.token_log_probs(x[0], torch.tensor(1))
    assert alone[0].shape == ()
    assert alone == xt.token_log_probs(x[0], torch.tensor([1]))
    for a, b in zip(xt.token_log_probs(x.t(), TARGET, axis=0), xt.token_log_probs(x, TARGET), strict=True):
        assert torch.equal(a, b)
    assert xt.token_log_probs(x, TARGET.clamp(0), ignore_index=None)[0].shape == (N,)


def test_transforms():
    x = torch.randn(3, N, C, dtype=torch.float64)
    ours, theirs = (vmap(lambda x, f=f: f(x, TARGET))(x) for f in (xt.token_log_probs, composed))
    torch.testing.assert_close(ours, theirs)
    ours, theirs = (vmap(grad(lambda x, f=f: (f(x, TARGET)[0] * f(x, TARGET)[1]).sum()))(x)
                    for f in (xt.token_log_probs, composed))  # fmt: skip
    torch.testing.assert_close(ours, theirs)


def test_compiled():
    torch._dynamo.reset()
    x, temperatures = logits(), torch.linspace(0.5, 2, N)

    def loss(x, temperatures):
        log_prob, entropy = xt.token_log_probs(x, TARGET, temperature=temperatures, softcap=3.0)
        return (log_prob + 0.1 * entropy).sum() + xt.row_statistics(x).logsumexp.sum()

    ours, expected = torch.compile(loss, fullgraph=True, backend="aot_eager")(x, temperatures), loss(x, temperatures)
    assert ours == expected
    torch.testing.assert_close(*(torch.autograd.grad(y, x) for y in (ours, expected)))


@pytest.mark.parametrize("target", (None, TARGET.clamp(0)))  # the NaN of an ignored row is not equal to itself
def test_opcheck(target):
    x = logits(torch.float32)
    arguments = (x, target, torch.linspace(0.5, 2, N), torch.ones(C), -1, -100, 1.0, 3.0, None)
    torch.library.opcheck(torch.ops.crossent.row_statistics.default, (*arguments, 2))
    upstream = None if target is None else torch.ones(N, requires_grad=True)
    upstreams = (upstream, torch.ones(N), None)
    torch.library.opcheck(torch.ops.crossent.row_statistics_backward.default, (*upstreams, *arguments))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: xt.token_log_probs(torch.zeros(3, 2), [0, 1, 0]), TypeError, "target is a list"),
        (lambda: xt.token_log_probs(torch.zeros(3, 2).int(), torch.zeros(3).int()), TypeError, "logits has dtype"),
        (lambda: xt.token_log_probs(torch.zeros(3, 2, device="meta"), torch.zeros(3).int()), ValueError, "is on meta"),
        (lambda: xt.token_log_probs(torch.zeros(3, 2), torch.tensor([0, 2, 1])), IndexError, r"target\[1\] is 2"),
        (lambda: xt.token_log_probs(torch.zeros(3, 2), torch.zeros(2).int()), ValueError, "target has shape"),
        (lambda: xt.token_log_probs(torch.zeros(3, 2), torch.zeros(3).int(), logit_bias=torch.ones(
            2, requires_grad=True)), RuntimeError, "logit_bias requires a gradient, which token_log_probs has not"),
    ],
)  # fmt: skip
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
