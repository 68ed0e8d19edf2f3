"""What is refused, with which exception, and what it names."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import crossent.torch as xt  # noqa: E402

X, T, Q = torch.zeros(3, 5), torch.tensor([0, 1, 4]), torch.full((3, 5), 0.2)
META = torch.empty(3, 5, device="meta")


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: xt.cross_entropy(X.long(), T), TypeError, "input has dtype torch.int64"),
        (lambda: xt.cross_entropy(X.to(torch.complex64), T), TypeError, "input has dtype torch.complex64"),
        (lambda: xt.logsumexp(X, 1, logit_bias=torch.ones(5, requires_grad=True)), RuntimeError,
         "logit_bias requires a gradient, which logsumexp has not"),
        (lambda: xt.softmax(X, 1, temperature=META[:, 0]), ValueError, "temperature is on meta"),
        (lambda: xt.logsumexp(X, 2), IndexError, "axis 2 is out of bounds"),
        (lambda: xt.softmax(X.int(), 1), TypeError, "input has dtype torch.int32"),
        (lambda: xt.cross_entropy(X.numpy(), T), TypeError, "input is a ndarray: expected a tensor"),
        (lambda: xt.cross_entropy(X, [0, 1, 4]), TypeError, "target is a list: expected a tensor"),
        (lambda: xt.cross_entropy(META, T), ValueError, "input is on meta: crossent computes on the CPU alone"),
        (lambda: xt.cross_entropy(X, T, weight=META[0]), ValueError, "weight is on meta"),
        (lambda: xt.distillation_loss(X, META), ValueError, "teacher_logits is on meta"),
        (lambda: xt.log_softmax(META, 1), ValueError, "input is on meta"),
        (lambda: xt.cross_entropy(X.to_sparse(), T), TypeError, "[Ss]parse"),
        (lambda: xt.cross_entropy(X, torch.tensor([0, 5, 1])), IndexError, r"target\[1\] is 5"),
        (lambda: xt.cross_entropy(X, T[:2]), ValueError, "target"),
        (lambda: xt.cross_entropy(X, T, reduction="average"), ValueError, "reduction"),
        (lambda: xt.cross_entropy(X, T, label_smoothing=2.0), ValueError, "label_smoothing"),
        (lambda: xt.cross_entropy(X, T, torch.ones(5, requires_grad=True)), RuntimeError, "weight requires a gradient"),
        (lambda: xt.cross_entropy(X, T, temperature=torch.ones(3, requires_grad=True)), RuntimeError,
         "temperature requires a gradient, which cross_entropy has not: pass temperature.detach()"),
        (lambda: xt.kl_div_with_logits(X, Q, teacher_logit_bias=torch.ones(5, requires_grad=True)), RuntimeError,
         "teacher_logit_bias requires a gradient"),
        (lambda: xt.sparse_distillation_loss(X, T[:, None], -Q[:, :1].clone().requires_grad_()), RuntimeError,
         "values requires a gradient"),
        (lambda: xt.cross_entropy(X, T, temperature=np.ones(3)), TypeError, "temperature is a ndarray: expected"),
        (lambda: xt.cross_entropy(X, T, temperature=torch.ones(2)), ValueError, r"temperature has shape \(2,\)"),
        (lambda: xt.cross_entropy(X, T, temperature=META[:, 0]), ValueError, "temperature is on meta"),
        (lambda: xt.cross_entropy(X, T, temperature=torch.tensor([1.0, 0.0, 1.0])), ValueError, r"temperature\[1\]"),
        (lambda: xt.cross_entropy(X, T, logit_bias=[0.0] * 5), TypeError, "logit_bias is a list: expected a tensor"),
        (lambda: xt.cross_entropy(X, T, logit_bias=Q), ValueError, "logit_bias has shape"),
        (lambda: xt.distillation_loss(X, Q, softcap=-1.0), ValueError, "softcap is -1.0"),
        (lambda: xt.kl_div_with_logits(X, Q, axis=0), TypeError, "axis"),
        (lambda: xt.binary_cross_entropy(X, Q + 1), ValueError, r"target\[0, 0\]"),
        (lambda: xt.binary_cross_entropy_with_logits(X, Q, pos_weight=-Q[0]), ValueError, "pos_weight"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_errors_leave_the_graph_alone():
    x = X.clone().requires_grad_()
    with pytest.raises(IndexError):
        xt.cross_entropy(x, torch.tensor([0, 5, 1]))
    xt.cross_entropy(x, T).backward()
    assert x.grad is not None


def test_without_pytorch():
    code = "import sys; sys.modules['torch'] = None; import crossent; import crossent.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ModuleNotFoundError: crossent.torch needs PyTorch: pip install 'crossent[torch]'" in done.stderr


def test_import_of_crossent_does_not_import_pytorch():
    code = "import sys, crossent; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
