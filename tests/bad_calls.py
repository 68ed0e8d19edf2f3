"""Valid arguments of every function, and the check that one bad argument among them is refused properly."""

import re

import numpy as np
import pytest

import crossent as xe

X = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]])
T = np.array([2, 0])
G = np.ones((2, 3))

# The valid arguments of every function; a bad one replaces one of them.
VALID = {
    "softmax": {"x": X}, "log_softmax": {"x": X}, "logsumexp": {"x": X},
    "softmax_backward": {"grad_output": G, "probs": X}, "log_softmax_backward": {"grad_output": G, "log_probs": X},
    "logsumexp_backward": {"grad_output": G[:, 0], "x": X},
    "cross_entropy": {"logits": X, "target": T}, "nll_loss": {"log_probs": X, "target": T},
    "cross_entropy_backward": {"grad_output": 1.0, "logits": X, "target": T},
    "nll_loss_backward": {"grad_output": 1.0, "log_probs": X, "target": T},
}
LOSSES = tuple(name for name in VALID if "loss" in name or "cross_entropy" in name)
FORWARD = ("cross_entropy", "nll_loss")
FIRST = {name: next(k for k in arguments if k != "grad_output") for name, arguments in VALID.items()}
SENTINEL = -77.25


def buffer_of(name):
    """The name of the output argument and what else it takes."""
    return ("grad_out", {"return_grad": True}) if name in FORWARD else ("out", {})


def result_shape(name):
    return (2,) if name == "logsumexp" else (2, 3)


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
