"""recompute=True: the same bits, and no gradient in memory between the passes."""

import tracemalloc

import pytest

torch = pytest.importorskip("torch")
from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

import crossent.torch as xt  # noqa: E402

N, C = 64, 1000
INDICES = torch.arange(N) * 7 % C
FUNCTIONS = {  # of logits and probabilities
    "indices": lambda x, q, **options: xt.cross_entropy(x, INDICES[: len(x)] % x.shape[1], **options),
    "probabilities": lambda x, q, **options: xt.cross_entropy(x, q, label_smoothing=0.1, **options),
    "binary": lambda x, q, **options: xt.binary_cross_entropy_with_logits(x, q, **options),
    "distillation": lambda x, q, **options: xt.distillation_loss(x, q, temperature=2.0, **options),
}
every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


def inputs(rows=N, classes=C, dtype=torch.float32):
    x = torch.randn(rows, classes).to(dtype).requires_grad_()
    return x, torch.rand(rows, classes).softmax(1).to(dtype)


@every_function
@pytest.mark.parametrize("factor", (1.0, 0.25, 3.0))
def test_the_same_bits(function, factor, dtype):
    x, q = inputs(dtype=dtype)
    for reduction in ("mean", "sum", "none"):
        kept, recomputed = (function(x, q, reduction=reduction, recompute=r) for r in (False, True))
        assert torch.equal(kept, recomputed)
        upstream = torch.full_like(kept, factor)
        ours, theirs = (torch.autograd.grad(loss, x, upstream)[0] for loss in (recomputed, kept))
        assert torch.equal(ours, theirs)


@every_function
def test_derivatives(function):
    x, q = inputs(4, 5, torch.float64)
    q.requires_grad_()
    assert gradcheck(lambda x, q: function(x, q, recompute=True), (x, q))
    assert gradgradcheck(lambda x, q: function(x, q, recompute=True), (x, q))


@every_function
def test_memory_between_the_passes(function):
    x, q = inputs()

    def held(**options):
        tracemalloc.start()  # which sees the arrays of NumPy, as which the core allocates gradients
        loss = function(x, q, **options)
        amount = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert loss.requires_grad
        return amount

    held()  # what a first call leaves in caches
    assert held() >= x.nbytes  # the gradient
    assert held(recompute=True) < x.nbytes / 8


def test_a_second_backward_pass():
    x, _ = inputs()
    loss = xt.cross_entropy(x, INDICES, recompute=True)
    first, second = (torch.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_logits_that_were_changed_are_noticed():
    x, _ = inputs()
    logits = x * 1
    loss = xt.cross_entropy(logits, INDICES, recompute=True)
    logits.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("recompute", (False, True))
def test_compiled(recompute):
    torch._dynamo.reset()
    x, q = inputs()
    compiled = torch.compile(lambda x: FUNCTIONS["probabilities"](x, q, recompute=recompute), backend="aot_eager",
                             fullgraph=True)  # fmt: skip
    loss = compiled(x)
    # The logits and the probabilities, or the gradient and nothing else.
    assert sum(saved.shape == x.shape for saved in loss.grad_fn.saved_tensors) == (2 if recompute else 1)
    assert torch.equal(torch.autograd.grad(loss, x)[0], torch.autograd.grad(FUNCTIONS["probabilities"](x, q), x)[0])


def test_modules():
    x, q = inputs()
    for module in (xt.CrossEntropyLoss, xt.BCEWithLogitsLoss, xt.DistillationLoss):
        expected, ours = (torch.autograd.grad(module(recompute=r)(x, q), x)[0] for r in (False, True))
        assert torch.equal(expected, ours)
