"""Valid arguments of every function, and the check that one bad argument among them is refused properly."""

import re

import numpy as np
import pytest

import crossent as xe
from crossent import information

X = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]])
T = np.array([2, 0])
G = np.ones((2, 3))
P = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])

# The valid arguments of every function; a bad one replaces one of them.
VALID = {
    "softmax": {"x": X}, "log_softmax": {"x": X}, "logsumexp": {"x": X},
    "softmax_backward": {"grad_output": G, "probs": X}, "log_softmax_backward": {"grad_output": G, "log_probs": X},
    "logsumexp_backward": {"grad_output": G[:, 0], "x": X},
    "cross_entropy": {"logits": X, "target": T}, "nll_loss": {"log_probs": X, "target": T},
    "cross_entropy_backward": {"grad_output": 1.0, "logits": X, "target": T},
    "nll_loss_backward": {"grad_output": 1.0, "log_probs": X, "target": T},
    "kl_div_with_logits": {"logits": X, "teacher_logits": G}, "kl_div": {"log_probs": X, "target": P},
    "distillation_loss": {"logits": X, "teacher_logits": G, "target": T},
    "binary_cross_entropy": {"probs": P, "target": P},
    "binary_cross_entropy_with_logits": {"logits": X, "target": P},
    "kl_div_with_logits_backward": {"grad_output": 1.0, "logits": X, "teacher_logits": G},
    "kl_div_backward": {"grad_output": 1.0, "log_probs": X, "target": P},
    "distillation_loss_backward": {"grad_output": 1.0, "logits": X, "teacher_logits": G, "target": T},
    "binary_cross_entropy_backward": {"grad_output": 1.0, "probs": P, "target": P},
    "binary_cross_entropy_with_logits_backward": {"grad_output": 1.0, "logits": X, "target": P},
}
INFORMATION = {
    "entropy": {"p": P}, "cross_entropy": {"p": P, "q": P}, "kl_divergence": {"p": P, "q": P},
    "js_divergence": {"p": P, "q": P}, "entropy_with_logits": {"logits": X}, "perplexity": {"logits": X, "target": T},
}


def both(*names):
    """Losses and their backward functions."""
    return (*names, *(f"{name}_backward" for name in names))


INDEXED = ("cross_entropy", "nll_loss")  # forward; over class indices
LOSSES = both(*INDEXED)
DISTILLATION = both("distillation_loss")
BINARY = both("binary_cross_entropy", "binary_cross_entropy_with_logits")
ALL_LOSSES = tuple(name for name in VALID if "softmax" not in name and "logsumexp" not in name)
FORWARD = tuple(name for name in ALL_LOSSES if not name.endswith("_backward"))
WITH_AXIS = tuple(name for name in VALID if name not in BINARY)
FIRST = {name: next(k for k in arguments if k != "grad_output") for name, arguments in VALID.items()}
SENTINEL = -77.25


def buffer_of(name):
    """The name of the output argument and what else it takes."""
    return ("grad_out", {"return_grad": True}) if name in FORWARD else ("out", {})


def result_shape(name):
    return (2,) if name == "logsumexp" else (2, 3)


def assert_information_raises(name, kind, says, **bad):
    with pytest.raises(kind, match=re.escape(says)) as caught:
        getattr(information, name)(**{**INFORMATION[name], **bad})
    assert caught.type is kind


def assert_raises(name, kind, says, **bad):
    """The call raises exactly `kind`, says so and so, and leaves a given output untouched."""
    argument, extra = buffer_of(name)
    arguments = {**VALID[name], **extra, **bad}
    out = arguments.setdefault(argument, np.full(result_shape(name), SENTINEL))
    before = out.copy() if isinstance(out, np.ndarray) else None
    with pytest.raises(kind, match=re.escape(says)) as caught:
        getattr(xe, name)(**arguments)
    assert caught.type is kind
    if before is not None:
        np.testing.assert_array_equal(out, before)
