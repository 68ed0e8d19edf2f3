"""inplace=True: the gradient takes the memory of the logits, or the call says why it cannot."""

import pytest

torch = pytest.importorskip("torch")

import crossent.torch as xt  # noqa: E402

TARGET = torch.tensor([0, 1, 4])


def loss_in_place(x):
    return xt.cross_entropy(x, TARGET, inplace=True)


def test_the_gradient_takes_the_memory_of_the_logits(dtype):
    x = torch.randn(3, 5).to(dtype).requires_grad_()
    logits = x * 1
    kept = logits.detach().clone()
    loss = loss_in_place(logits)
    assert torch.equal(logits, kept)  # until the backward pass
    (gradient,) = torch.autograd.grad(3 * loss, logits)
    assert gradient.data_ptr() == logits.data_ptr()
    assert torch.equal(gradient, torch.autograd.grad(3 * xt.cross_entropy(x, TARGET), x)[0])


@pytest.mark.parametrize("function", (xt.binary_cross_entropy_with_logits, xt.distillation_loss))
def test_other_losses(function):
    x, y = torch.randn(3, 5, requires_grad=True), torch.rand(3, 5)
    logits = x * 1
    (gradient,) = torch.autograd.grad(function(logits, y, inplace=True), logits)
    assert gradient.data_ptr() == logits.data_ptr()
    assert torch.equal(gradient, torch.autograd.grad(function(x, y), x)[0])


def test_a_leaf_is_refused():
    with pytest.raises(RuntimeError, match="leaf"):
        loss_in_place(torch.randn(3, 5, requires_grad=True))
    loss_in_place(torch.randn(3, 5))  # nothing will be written


def test_a_second_backward_pass_is_refused():
    x = torch.randn(3, 5, requires_grad=True)
    loss = loss_in_place(x * 1)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_logits_that_are_needed_again_are_refused():
    x = torch.randn(3, 5, requires_grad=True)
    logits = x.tanh()  # whose derivative is computed from its result
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss_in_place(logits).backward()


def test_a_second_derivative_is_refused():
    logits = torch.randn(3, 5, requires_grad=True) * 1
    with pytest.raises(RuntimeError, match="has no derivative"):
        torch.autograd.grad(loss_in_place(logits), logits, create_graph=True)


def test_modules():
    logits = torch.randn(3, 5, requires_grad=True) * 1
    (gradient,) = torch.autograd.grad(xt.CrossEntropyLoss(inplace=True)(logits, TARGET), logits)
    assert gradient.data_ptr() == logits.data_ptr()
    xt.BCEWithLogitsLoss(inplace=True)(torch.randn(3), torch.rand(3))
