"""Models that call PyTorch's losses, computed by crossent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F

from . import _functional
from ._tensors import FLOATING

PATCHED = (
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_div",
    "log_softmax",
    "nll_loss",
)


def _routed(theirs: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(theirs)
    def route(*arguments: Any, **options: Any) -> Any:
        tensors = [x for x in (*arguments, *options.values()) if isinstance(x, torch.Tensor)]
        x = options["input"] if "input" in options else arguments[0]
        possible = x.dtype in FLOATING and all(t.device.type == "cpu" and t.layout is torch.strided for t in tensors)
        return (ours if possible else theirs)(*arguments, **options)

    return route


@contextmanager
def patch() -> Iterator[None]:
    """Let crossent compute the losses of `torch.nn.functional`, and `log_softmax`, within a ``with`` block.

    So do the modules of `torch.nn`, and models that use either. It is for the whole process, and it does not reach
    names imported before: ``from torch.nn.functional import cross_entropy``. Tensors that are not on the CPU, or not of
    a floating dtype, go to PyTorch as before.

    Examples
    --------
    >>> import torch, crossent.torch as xt
    >>> with xt.patch():
    ...     print(float(torch.nn.CrossEntropyLoss()(torch.tensor([[17.0, 0.0]]), torch.tensor([0]))))
    4.139937459513021e-08
    """
    before = {name: getattr(F, name) for name in PATCHED}
    try:
        for name, theirs in before.items():
            setattr(F, name, _routed(theirs, getattr(_functional, name)))
        yield
    finally:
        for name, theirs in before.items():
            setattr(F, name, theirs)
