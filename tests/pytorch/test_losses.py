"""Values and gradients are those of the core, to the bit, and mean what PyTorch's mean."""

import inspect

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402

import crossent as xe  # noqa: E402
import crossent.torch as xt  # noqa: E402
from crossent.torch._tensors import array, limited  # noqa: E402

N, C = 6, 5
TARGET = torch.tensor([0, 4, -100, 2, 1, 1])


def logits(dtype=torch.float32, *shape):
    return (torch.randn(*(shape or (N, C))) * 3).to(dtype).requires_grad_()


def probabilities(dtype=torch.float32):
    return torch.rand(N, C).softmax(1).to(dtype)


def temperatures():
    return torch.linspace(0.5, 3, N)


def bias():
    """The class 3 is left out, which is no target."""
    return torch.tensor([0.5, -1.0, 0.25, -torch.inf, 0.0], dtype=torch.float64)


CASES = {  # name: options of both, the other arguments of a call
    "cross_entropy": lambda d: (logits(d), (TARGET,), {"weight": torch.rand(C), "label_smoothing": 0.1}),
    "cross_entropy probabilities": lambda d: (logits(d), (probabilities(d),), {"label_smoothing": 0.1}),
    "cross_entropy of every option": lambda d: (logits(d), (TARGET,), {
        "weight": torch.rand(C), "sample_weight": torch.rand(N), "temperature": 1.5, "label_smoothing": 0.1,
        "z_loss": 0.3, "entropy_weight": 0.7}),
    "cross_entropy of transformed logits": lambda d: (logits(d), (TARGET,), {
        "temperature": temperatures(), "softcap": 4.0, "logit_bias": bias(), "label_smoothing": 0.0, "z_loss": 0.3}),
    "kl_div_with_logits": lambda d: (logits(d), (logits(d).detach(),), {
        "temperature": 1.5, "sample_weight": torch.rand(N)}),
    "kl_div_with_logits of transformed logits": lambda d: (logits(d), (logits(d).detach(),), {
        "temperature": temperatures(), "softcap": 4.0, "logit_bias": bias(), "teacher_softcap": 5.0,
        "teacher_logit_bias": bias(), "divergence": "js", "beta": 0.3}),
    "sparse_distillation_loss": lambda d: (logits(d), (torch.arange(2 * N).reshape(N, 2) % C, -torch.rand(N, 2) - 1), {
        "sample_weight": torch.rand(N)}),
    "nll_loss": lambda d: (logits(d), (TARGET,), {"weight": torch.rand(C), "sample_weight": torch.rand(N)}),
    "binary_cross_entropy": lambda d: (logits(d).detach().sigmoid().requires_grad_(), (probabilities(d),), {}),
    "binary_cross_entropy_with_logits": lambda d: (logits(d), (probabilities(d),), {
        "pos_weight": torch.rand(C), "label_smoothing": 0.1}),
    "kl_div": lambda d: (logits(d), (probabilities(d),), {}),
    "distillation_loss": lambda d: (logits(d), (logits(d).detach(), TARGET), {"temperature": 2.0, "alpha": 0.3}),
    "distillation_loss of every option": lambda d: (logits(d), (logits(d).detach(), TARGET), {
        "weight": torch.rand(C), "sample_weight": torch.rand(N), "temperature": 2.0, "alpha": 0.3, "z_loss": 0.3,
        "divergence": "js", "beta": 0.2}),
    "distillation_loss of transformed logits": lambda d: (logits(d), (logits(d).detach(), TARGET), {
        "temperature": temperatures(), "softcap": 4.0, "logit_bias": bias(), "teacher_softcap": 5.0,
        "teacher_logit_bias": bias()}),
}


@pytest.mark.parametrize("reduction", ("mean", "sum", "none"))
@pytest.mark.parametrize("case", CASES)
def test_bits_of_the_core(case, reduction, dtype):
    name = case.split()[0]
    x, others, options = CASES[case](dtype)
    loss = getattr(xt, name)(x, *others, reduction=reduction, **options)
    loss.sum().backward()
    with torch.no_grad():
        arrays = {key: array(v) if isinstance(v, torch.Tensor) else v for key, v in options.items()}
        expected, gradient = getattr(xe, name)(array(x), *map(array, others), reduction=reduction, return_grad=True,
                                               **arrays)  # fmt: skip
        assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert x.grad.dtype == dtype
        np.testing.assert_array_equal(array(loss), expected)
        np.testing.assert_array_equal(array(x.grad), gradient)


@pytest.mark.parametrize("name", ("softmax", "log_softmax"))
@pytest.mark.parametrize("dim", (0, 1, -1))
def test_normalisers(name, dim, dtype):
    x = logits(dtype)
    y = getattr(xt, name)(x, dim)
    y.backward(g := torch.randn(N, C).to(dtype))
    with torch.no_grad():
        np.testing.assert_array_equal(array(y), getattr(xe, name)(array(x), dim))
        np.testing.assert_array_equal(array(x.grad), getattr(xe, f"{name}_backward")(array(g), array(y), dim))
    assert getattr(xt, name)(torch.tensor(2.0), 0) == float(name == "softmax")
    assert getattr(xt, name)(x, dim, dtype=torch.float64).dtype == torch.float64


@pytest.mark.parametrize("options", ({"temperature": 2.0}, {"logit_bias": True}, {"temperature": True},
                                     {"softcap": 4.0, "logit_bias": True, "temperature": True}), ids=str)
@pytest.mark.parametrize("name", ("softmax", "log_softmax", "logsumexp"))
def test_options_of_normalisers(name, options, dtype):
    x = logits(dtype)
    tensors = {"temperature": temperatures(), "logit_bias": bias()}
    given = {key: tensors[key] if value is True else value for key, value in options.items()}
    arrays = {key: array(v) if isinstance(v, torch.Tensor) else v for key, v in given.items()}
    y = getattr(xt, name)(x, 1, **given)
    y.backward(g := torch.randn(y.shape).to(y.dtype))
    backward = getattr(xe, f"{name}_backward")
    with torch.no_grad():
        expected = getattr(xe, name)(array(x), 1, **arrays)
        np.testing.assert_array_equal(array(y), expected)
        if name == "logsumexp":
            np.testing.assert_array_equal(array(x.grad), backward(array(g), array(x), 1, **arrays))
        elif options == {"temperature": 2.0} or options == {"logit_bias": True}:
            arrays.pop("logit_bias", None)
            np.testing.assert_array_equal(array(x.grad), backward(array(g), array(y), 1, **arrays))
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("dim", (0, -1, (0, 1), (-1,), (0, 2)))
@pytest.mark.parametrize("keepdim", (False, True))
def test_axes_of_logsumexp(dim, keepdim):
    x = logits(torch.float64, 3, 4, 5)
    ours, theirs = (f.logsumexp(x, dim, keepdim) for f in (xt, torch))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(y.square().sum(), x) for y in (ours, theirs)))
    assert xt.logsumexp(torch.tensor(2.0), 0) == 2
    assert xt.logsumexp(torch.zeros(2, 0), 1).tolist() == [-np.inf] * 2


def test_normaliser_without_dim_warns():
    with pytest.warns(UserWarning, match="pass dim="):
        assert torch.equal(xt.softmax(x := torch.randn(2, 3)), xt.softmax(x, 1))
    with pytest.warns(UserWarning, match="pass dim="):
        assert torch.equal(xt.softmax(x := torch.randn(2, 3, 4)), xt.softmax(x, 0))


@pytest.mark.parametrize("upstream", (1.0, 0.25, -1.0, 3.0, 65536.0, 0.0))
def test_upstream_gradient(upstream, dtype):
    """To the bits of the core's backward function, whichever way it is computed."""
    x = logits(dtype)
    (upstream * xt.cross_entropy(x, TARGET)).backward()
    with torch.no_grad():
        expected = xe.cross_entropy_backward(upstream, array(x), TARGET.numpy())
    np.testing.assert_array_equal(array(x.grad), expected)


def test_backward_again():
    x = logits()
    loss = xt.cross_entropy(x * 1, TARGET)
    first, second = (torch.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    first.zero_()
    assert torch.equal(torch.autograd.grad(loss, x)[0], second)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_bfloat16_is_not_copied():
    x = torch.zeros(3, dtype=torch.bfloat16)
    array(x)[1] = 2
    assert x.tolist() == [0, 2, 0]


@pytest.mark.parametrize(
    "module, options, arguments",
    [
        ("CrossEntropyLoss", {"weight": torch.ones(C), "label_smoothing": 0.1}, (TARGET,)),
        ("NLLLoss", {"ignore_index": 2}, (TARGET.clamp(min=0),)),
        ("BCELoss", {"weight": torch.ones(C)}, (probabilities(),)),
        ("BCEWithLogitsLoss", {"pos_weight": torch.ones(C)}, (probabilities(),)),
        ("KLDivLoss", {"reduction": "batchmean", "log_target": True}, (torch.zeros(N, C),)),
        ("KLDivLoss", {"reduction": "none"}, (probabilities(),)),
    ],
)
def test_modules(module, options, arguments):
    theirs, ours = (getattr(library, module)(**options) for library in (torch.nn, xt))
    assert repr(ours) == repr(theirs)
    assert isinstance(ours, type(theirs))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x = logits().detach().sigmoid()
    torch.testing.assert_close(ours(x, *arguments), theirs(x, *arguments))


def test_modules_have_the_options_of_their_functions():
    x, v = logits().detach(), torch.rand(N)
    log_p, target, q = x.log_softmax(-1), TARGET.clamp(min=0), probabilities()
    assert torch.equal(xt.NLLLoss(denominator=3.0)(log_p, target, v),
                       xt.nll_loss(log_p, target, denominator=3.0, sample_weight=v))
    options = {"label_smoothing": 0.2, "denominator": 3.0}
    assert torch.equal(xt.BCEWithLogitsLoss(**options)(x, q), xt.binary_cross_entropy_with_logits(x, q, **options))


def test_options_that_pytorch_has_not():
    x, v = logits(), torch.rand(N)
    options = {"temperature": 2.0, "softcap": 4.0, "logit_bias": torch.rand(C), "z_loss": 0.1, "denominator": 3.0}
    module = xt.CrossEntropyLoss(label_smoothing=0.1, **options)
    assert "logit_bias" in module.state_dict()
    assert module(x, TARGET, v) == xt.cross_entropy(x, TARGET, sample_weight=v, label_smoothing=0.1, **options)


def test_every_option_is_there():
    """Of the losses in NumPy, but for those that PyTorch says otherwise."""
    for name in ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "distillation_loss",
                 "kl_div_with_logits", "sparse_distillation_loss"):
        ours, theirs = (set(inspect.signature(getattr(library, name)).parameters) for library in (xt, xe))
        assert theirs - ours <= {"logits", "log_probs", "axis", "return_grad", "grad_out"}


def test_distillation_module():
    student, teacher = logits(), logits().detach()
    options = {"temperature": 2.0, "divergence": "reverse"}
    biases = {"logit_bias": bias(), "teacher_logit_bias": bias()}
    module = xt.DistillationLoss(torch.ones(C), **biases, **options)
    assert repr(module) == "DistillationLoss(temperature=2.0, divergence='reverse')"
    assert module.state_dict().keys() == {"weight", *biases}
    expected = xt.distillation_loss(student, teacher, TARGET, torch.ones(C), **biases, **options)
    assert module(student, teacher, TARGET) == expected


@pytest.mark.parametrize("size_average", (None, True, False))
@pytest.mark.parametrize("reduce", (None, True, False))
def test_deprecated_arguments(size_average, reduce):
    if size_average is None and reduce is None:
        return
    x = logits()
    results = []
    for function in (xt.cross_entropy, F.cross_entropy):
        with pytest.warns(UserWarning, match="size_average and reduce"):
            results.append(function(x, TARGET, size_average=size_average, reduce=reduce))
    torch.testing.assert_close(*results)


def test_kl_div_broadcasts_and_does_not_warn():
    x, q = torch.randn(N, C), torch.rand(C)
    torch.testing.assert_close(xt.kl_div(x, q, reduction="sum"), F.kl_div(x, q, reduction="sum"))
    xt.kl_div(x, q)


def test_threads_of_pytorch():
    before = torch.get_num_threads()
    large = np.zeros(5000)
    try:
        torch.set_num_threads(1)
        assert limited(lambda _: xe.get_num_threads(), (large,), {}) == 1
        torch.set_num_threads(max(before, 2))
        assert limited(lambda _: xe.get_num_threads(), (large,), {}) == min(xe.get_num_threads(), max(before, 2))
        with xe.num_threads(1):
            assert limited(lambda _: xe.get_num_threads(), (large,), {}) == 1
    finally:
        torch.set_num_threads(before)


def test_patch():
    x, before = logits(), F.cross_entropy
    with xt.patch():
        assert F.cross_entropy(x, TARGET).grad_fn.name() == "LossFunctionBackward"
        assert torch.nn.CrossEntropyLoss()(torch.tensor([[17.0, 0.0]]), torch.tensor([0])) == np.float32(4.1399375e-08)
        F.log_softmax(input=x, dim=1)
        with pytest.raises(RuntimeError, match="meta"):  # PyTorch's, as before
            F.nll_loss(x.to("meta"), TARGET)
        with xt.patch():
            pass
        assert F.cross_entropy is not before
    assert F.cross_entropy is before
    assert F.cross_entropy(x, TARGET).grad_fn.name() != "LossFunctionBackward"
