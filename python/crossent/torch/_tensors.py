"""Tensors as arrays of the same memory, and calls of the core with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from .. import _core

SERIAL = 4096  # a call of less uses one thread in any case
LIMITS = _core.thread_limits
BFLOAT16 = torch.bfloat16
FLOATING = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def array(x: torch.Tensor | None) -> Any:
    """The memory of `x`, which must not require a gradient where gradients are recorded; None for None."""
    if x is None:
        return None
    if x.dtype is BFLOAT16:  # NumPy has no such dtype, and PyTorch does not know the one of ml_dtypes
        return x.view(torch.uint16).numpy().view(_bfloat16())
    return x.numpy()


def tensor(x: np.ndarray[Any, Any]) -> torch.Tensor:
    """The memory of an array."""
    if x.dtype.kind == "V":
        return torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def loss_tensor(x: Any) -> torch.Tensor:
    """The memory of an array that is not of bfloat16, or a new tensor for a NumPy scalar."""
    return torch.from_numpy(np.asarray(x))


def limited(function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """A function of crossent on no more threads than PyTorch would use."""
    if arguments[0].size < SERIAL:
        return function(*arguments, **options)
    threads, outer = torch.get_num_threads(), LIMITS.get()[-1]
    if 0 < outer <= threads:
        return function(*arguments, **options)
    token = LIMITS.set((threads,))
    try:
        return function(*arguments, **options)
    finally:
        LIMITS.reset(token)


@cache
def _bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ModuleNotFoundError as error:
        message = "bfloat16 tensors need ml_dtypes: pip install 'crossent[torch]'"
        raise ModuleNotFoundError(message, name="ml_dtypes") from error
    return np.dtype(ml_dtypes.bfloat16)
