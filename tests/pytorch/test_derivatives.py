"""Derivatives of any order, the transforms of torch.func, torch.compile, and PyTorch's checks of operators."""

import os

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch.func import grad, hessian, jacrev, vmap  # noqa: E402

import crossent as xe  # noqa: E402
import crossent.torch as xt  # noqa: E402
from crossent._options import defaults_of  # noqa: E402
from crossent.torch._losses import LOSSES  # noqa: E402

LONG = os.environ.get("CROSSENT_TORCH") == "long"  # `nox -s 'adapter(torch)'`
N, C = 4, 5
T = torch.tensor([0, 1, 4, -100])


def doubles():
    """Logits, probabilities and class weights."""
    x = torch.randn(N, C, dtype=torch.float64, requires_grad=True)
    q = torch.rand(N, C, dtype=torch.float64).softmax(1).requires_grad_()
    return x, q, torch.rand(C, dtype=torch.float64)


W = torch.linspace(0.5, 2, C, dtype=torch.float64)
V = torch.linspace(-0.5, 1.5, N, dtype=torch.float64)
B = torch.tensor([0.5, -1.0, 0.25, 0.0, 2.0], dtype=torch.float64)
M = torch.tensor([0.5, -1.0, -torch.inf, 0.0, 2.0], dtype=torch.float64)  # without the class 2, which is no target
TEMPERATURES = torch.linspace(0.5, 2, N)
OF_LOGITS = {"temperature": TEMPERATURES, "softcap": 2.0, "logit_bias": M}
OF_BOTH = {**OF_LOGITS, "teacher_softcap": 3.0, "teacher_logit_bias": M + 1}
FUNCTIONS = {  # of logits and probabilities
    "indices": lambda x, q, r: xt.cross_entropy(x, T, W, label_smoothing=0.1, reduction=r),
    "probabilities": lambda x, q, r: xt.cross_entropy(x, q, W, label_smoothing=0.1, reduction=r),
    "every option": lambda x, q, r: xt.cross_entropy(x, T, W, sample_weight=V, temperature=1.5, label_smoothing=0.1,
                                                     z_loss=0.3, entropy_weight=0.7, reduction=r),
    "options of probabilities": lambda x, q, r: xt.cross_entropy(
        x, q, W, sample_weight=V, z_loss=0.3, entropy_weight=-0.7, denominator=3.0 if r == "mean" else None,
        reduction=r),
    "distillation with every option": lambda x, q, r: xt.distillation_loss(
        x, q, T, W, sample_weight=V, temperature=2.0, label_smoothing=0.1, z_loss=0.3, reduction=r),
    "transformed": lambda x, q, r: xt.cross_entropy(x, T, W, **OF_LOGITS, z_loss=0.3, reduction=r),
    "transformed of probabilities": lambda x, q, r: xt.cross_entropy(
        x, q, label_smoothing=0.1, temperature=TEMPERATURES, softcap=2.0, logit_bias=B, reduction=r),
    "kl_div_with_logits": lambda x, q, r: xt.kl_div_with_logits(x, q, temperature=1.5, reduction=r),
    **{f"transformed {d}": lambda x, q, r, d=d: xt.kl_div_with_logits(
        x, q, divergence=d, sample_weight=V, **OF_BOTH, reduction=r) for d in ("forward", "reverse", "js")},
    "transformed distillation": lambda x, q, r: xt.distillation_loss(x, q, T, **OF_BOTH, reduction=r),
    "nll_loss": lambda x, q, r: xt.nll_loss(x, T, W, reduction=r),
    "binary": lambda x, q, r: xt.binary_cross_entropy(x.sigmoid(), q, reduction=r),
    "binary with logits": lambda x, q, r: xt.binary_cross_entropy_with_logits(x, q, pos_weight=W, reduction=r),
    "kl_div": lambda x, q, r: xt.kl_div(x, q, reduction=r),
    "kl_div log_target": lambda x, q, r: xt.kl_div(x, q.log(), log_target=True, reduction=r),
    "distillation": lambda x, q, r: xt.distillation_loss(x, q, T, temperature=2.0, alpha=0.3, reduction=r),
    "reverse": lambda x, q, r: xt.distillation_loss(x, q, divergence="reverse", reduction=r),
    "js": lambda x, q, r: xt.distillation_loss(x, q, T, W, divergence="js", beta=0.2, reduction=r),
    "log_softmax": lambda x, q, r: xt.log_softmax(x, 1) * q,
    "softmax": lambda x, q, r: xt.softmax(x, 0) * q,
    "transformed softmax": lambda x, q, r: xt.softmax(x, 1, **OF_LOGITS) * q,
    "transformed log_softmax": lambda x, q, r: xt.log_softmax(x, 1, **{**OF_LOGITS, "logit_bias": B}) * q,
    "logsumexp": lambda x, q, r: xt.logsumexp(x, (0, 1)) * q[0],
    "transformed logsumexp": lambda x, q, r: xt.logsumexp(x, 1, **OF_LOGITS) * q[:, 0],
}


@pytest.mark.parametrize("reduction", ("mean", "sum", "none"))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradcheck_and_gradgradcheck(name, reduction):
    x, q, _ = doubles()

    def function(x, q):
        return FUNCTIONS[name](x, q, reduction)

    assert gradcheck(function, (x, q), check_batched_grad=True)
    assert gradgradcheck(function, (x, q))
    assert gradcheck(lambda x: function(x, q.detach()), (x,))


PAIRS = {  # the same with PyTorch's functions
    "cross_entropy": lambda f, x, q: f.cross_entropy(x, q, label_smoothing=0.1),
    "log_softmax": lambda f, x, q: (f.log_softmax(x, -1) * q).sum(),
    "softmax": lambda f, x, q: (f.softmax(x, 0) * q).sum(),
    "kl_div": lambda f, x, q: f.kl_div(x, q, reduction="batchmean"),
    "logsumexp": lambda f, x, q: (getattr(f, "logsumexp", torch.logsumexp)(x, -1) * q[..., 0]).sum(),
}


TRANSFORMS = {  # of a function of x and q, and the axis over which each is mapped
    "grad": (grad, None),
    "grad of the target": (lambda f: grad(f, 1), None),
    "jacrev": (jacrev, None),
    "hessian": (lambda f: jacrev(jacrev(f)), None),
    "mixed": (lambda f: jacrev(jacrev(f, 1)), None),
    "vmap": (vmap, (0, 0)),
    "vmap of one": (lambda f: vmap(f, (0, None)), (0, None)),
    "gradients of samples": (lambda f: vmap(grad(f)), (0, 0)),
    "gradients of targets of samples": (lambda f: vmap(grad(f, 1), (0, None)), (0, None)),
    "grad of vmap": (lambda f: grad(lambda x, q: vmap(f)(x, q).sum()), (0, 0)),
}


@pytest.mark.filterwarnings("ignore")  # of PyTorch's kl_div under vmap
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_func(name, transform):
    transformed, mapped = TRANSFORMS[transform]
    x, q, _ = (v.detach() for v in doubles())
    if mapped:
        batches = zip((x, q), mapped, strict=True)
        x, q = (v if axis is None else torch.stack((v, v + 0.01, v / 2)) for v, axis in batches)
    ours, theirs = (transformed(lambda x, q, f=f: PAIRS[name](f, x, q))(x, q) for f in (xt, F))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("in_dims", ((0, 0), (0, None), (1, 0)))
def test_vmap_of_indices(in_dims):
    x = torch.randn(6, 6, C) if in_dims[0] == 1 else torch.randn(6, N, C)
    rows = x.shape[0] if in_dims[0] == 1 else N
    t = torch.randint(C, (6, rows) if in_dims[1] == 0 else (rows,))
    ours, theirs = (vmap(f.cross_entropy, in_dims)(x, t) for f in (xt, F))
    torch.testing.assert_close(ours, theirs)


def test_a_third_derivative():
    x = torch.randn(C, dtype=torch.float64)
    ours, theirs = (jacrev(jacrev(grad(lambda x: f.cross_entropy(x, T[1]))))(x) for f in (xt, F))  # noqa: B023
    torch.testing.assert_close(ours, theirs)


OPERATORS = {
    "cross_entropy": lambda x, q, t: {
        "input": x, "target": t, "sample_weight": V.to(x.dtype), "temperature": 2.0, "label_smoothing": 0.1,
        "z_loss": 0.3, "entropy_weight": 0.7},
    "kl_div_with_logits": lambda x, q, t: {
        "input": x, "teacher_logits": q, "temperatures": TEMPERATURES, "softcap": 2.0, "logit_bias": B,
        "teacher_softcap": 3.0},
    "nll_loss": lambda x, q, t: {"input": x, "target": t, "weight": W.to(x.dtype)},
    "binary_cross_entropy": lambda x, q, t: {"input": x.detach().sigmoid().requires_grad_(), "target": q},
    "binary_cross_entropy_with_logits": lambda x, q, t: {
        "input": x, "target": q, "pos_weight": W, "label_smoothing": 0.1},
    "kl_div": lambda x, q, t: {"input": x, "target": q},
    "distillation_loss": lambda x, q, t: {
        "input": x, "teacher_logits": q, "target": t, "temperature": 2.0, "divergence": "js", "z_loss": 0.3},
}


def of_schema(name, **given):
    """The arguments of an operator in their order, those that are not given with their defaults."""
    arguments = {**defaults_of(getattr(xe, name)), **given}
    return tuple(arguments.get(label) for label in LOSSES[name].names)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("reduction", ("mean", "none"))
def test_opcheck(name, reduction):
    x = torch.randn(N, C, requires_grad=True)
    given = OPERATORS[name](x, torch.rand(N, C).softmax(1).requires_grad_(), T)
    arguments = of_schema(name, **given, reduction=reduction)
    operators = torch.ops.crossent
    loss = getattr(operators, name)(*arguments)
    torch.library.opcheck(getattr(operators, name).default, arguments)
    upstream = torch.ones_like(loss.detach(), requires_grad=True)
    torch.library.opcheck(getattr(operators, f"{name}_backward").default, (upstream, *arguments))
    if reduction == "mean":
        torch.library.opcheck(getattr(operators, f"{name}_and_gradient").default, arguments)


STRIDED = {
    "columns": lambda: torch.randn(C, N).t(),
    "every other": lambda: torch.randn(2 * N, 2 * C)[::2, ::2],
    "images": lambda: torch.randn(N, C, 2, 3).to(memory_format=torch.channels_last),
    "bfloat16": lambda: torch.randn(N, C, dtype=torch.bfloat16),
}


@pytest.mark.parametrize("name", STRIDED)
@pytest.mark.parametrize("reduction", ("mean", "none"))
def test_opcheck_strides(name, reduction):
    x = STRIDED[name]().requires_grad_()
    target = torch.randint(C, (N, *x.shape[2:]))
    arguments = of_schema("cross_entropy", input=x, target=target, reduction=reduction)
    torch.library.opcheck(torch.ops.crossent.cross_entropy.default, arguments)
    torch.library.opcheck(torch.ops.crossent.log_softmax.default, (x, 1))
    torch.library.opcheck(torch.ops.crossent.softmax_backward.default, (x, x, 1, 2.0))
    of_logits = (torch.linspace(0.5, 2, N).reshape(N, *(1,) * (x.ndim - 2)), torch.ones(C), 1, 1.0, 3.0)
    torch.library.opcheck(torch.ops.crossent.log_softmax_of_logits.default, (x, *of_logits))
    torch.library.opcheck(torch.ops.crossent.logsumexp.default, (x, *of_logits))
    upstream = torch.ops.crossent.logsumexp(x.detach(), *of_logits)
    torch.library.opcheck(torch.ops.crossent.logsumexp_backward.default, (upstream, x, *of_logits))


def test_sparse_distillation_has_one_derivative():
    x = doubles()[0]
    classes, values = torch.tensor([[0, 3], [1, 2], [4, 0], [2, -1]]), torch.rand(N, 2, dtype=torch.float64) / 4
    values[3, 0] = 0.5

    def loss(x, **options):
        return xt.sparse_distillation_loss(x, classes, values, values_are="probs", **options)

    for options in ({}, {"reduction": "none"}, {"divergence": "js"}, {"tail": "uniform"}):
        assert gradcheck(lambda x, o=options: loss(x, **o), (x,), check_batched_grad=True)
    (gradient,) = torch.autograd.grad(loss(x), x, create_graph=True)
    assert torch.equal(gradient, torch.autograd.grad(loss(x), x)[0])
    with pytest.raises(NotImplementedError, match="sparse_distillation_loss has no second derivative"):
        gradient.sum().backward()


def every_loss(f, x, q, t):
    return (
        f.cross_entropy(x, t, label_smoothing=0.1)
        + f.cross_entropy(x * 2, q)
        + f.nll_loss(f.log_softmax(x, dim=1), t)
        + f.binary_cross_entropy(f.softmax(x, dim=1), q)
        + f.binary_cross_entropy_with_logits(x, q)
        + f.kl_div(x, q, reduction="batchmean")
    )


@pytest.mark.parametrize("backend", ("aot_eager", "inductor") if LONG else ("aot_eager",))
@pytest.mark.parametrize("patched", (False, True), ids=("called", "patched"))
def test_compiled_without_graph_breaks(backend, patched):
    torch._dynamo.reset()
    x = torch.randn(N, C, requires_grad=True)
    q = torch.rand(N, C).softmax(1).requires_grad_()
    module = F if patched else xt
    compiled = torch.compile(lambda x, q, t: every_loss(module, x, q, t), fullgraph=True, backend=backend)
    if patched:
        with xt.patch():
            ours = compiled(x, q, T)
    else:
        ours = compiled(x, q, T)
    theirs = every_loss(F, x, q, T)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, (x, q)), torch.autograd.grad(theirs, (x, q)))


def test_options_of_logits_compiled():
    torch._dynamo.reset()
    x, q, _ = (v.detach().requires_grad_() for v in doubles())
    classes = torch.tensor([[0, 3], [1, 2], [4, 0], [2, -1]])

    def losses(x, q, temperatures):
        options = {**OF_BOTH, "temperature": temperatures}
        return (xt.cross_entropy(x, T, **{**OF_LOGITS, "temperature": temperatures})
                + xt.kl_div_with_logits(x, q, **options) + xt.distillation_loss(x, q, T, **options)
                + xt.sparse_distillation_loss(x, classes, -1 - q[:, :2].detach())
                + xt.log_softmax(x, 1, softcap=2.0, temperature=temperatures)[0, 0]
                + xt.logsumexp(x, (0, 1)))  # fmt: skip

    ours = torch.compile(losses, fullgraph=True, backend="aot_eager")(x, q, TEMPERATURES)
    expected = losses(x, q, TEMPERATURES)
    assert ours == expected
    torch.testing.assert_close(torch.autograd.grad(ours, (x, q)), torch.autograd.grad(expected, (x, q)))


def test_vmap_of_temperatures():
    x, temperatures = torch.randn(3, N, C), torch.rand(3, N) + 0.5

    def loss(x, temperatures):
        return xt.cross_entropy(x, T, temperature=temperatures, softcap=2.0)

    assert torch.equal(vmap(loss)(x, temperatures), torch.stack([*map(loss, x, temperatures)]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch, about a part of its own
def test_hessian_by_forward_mode_is_refused():
    """Forward mode is not there: PyTorch says so instead of giving a wrong number."""
    with pytest.raises((RuntimeError, NotImplementedError)):
        hessian(lambda x: xt.cross_entropy(x, T))(torch.randn(N, C))
