"""Tensors as arrays of the same memory, and calls of the core with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from .. import _core

FLOATING = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def array(x: torch.Tensor) -> np.ndarray[Any, Any]:
    """The memory of `x`, which must not require a gradient where gradients are recorded."""
    if x.dtype is torch.bfloat16:  # NumPy has no such dtype, and PyTorch does not know the one of ml_dtypes
        return x.view(torch.uint16).numpy().view(_bfloat16())
    return x.numpy()


def tensor(x: Any) -> torch.Tensor:
    """The memory of an array, or a new tensor for a NumPy scalar."""
    x = np.asarray(x)
    if x.dtype.kind == "V":
        return torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """`function` of crossent on the arrays of the tensors, on no more threads than PyTorch would use."""
    arrays = [array(a) if isinstance(a, torch.Tensor) else a for a in arguments]
    options = {name: array(a) if isinstance(a, torch.Tensor) else a for name, a in options.items()}
    limits = _core.thread_limits
    threads, outer = torch.get_num_threads(), limits.get()[-1]
    if 0 < outer <= threads:
        return function(*arrays, **options)
    token = limits.set((threads,))
    try:
        return function(*arrays, **options)
    finally:
        limits.reset(token)


@cache
def _bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ModuleNotFoundError as error:
        message = "bfloat16 tensors need ml_dtypes: pip install 'crossent[torch]'"
        raise ModuleNotFoundError(message, name="ml_dtypes") from error
    return np.dtype(ml_dtypes.bfloat16)
