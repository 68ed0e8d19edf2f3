"""The arrays that are worked on: where they start in memory, and the numbers in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Buffers:
    """One set of arrays to work on. `target`: class indices, or a second input of the shape and dtype of `logits`.

    `output` has the shape and dtype of `logits` and is scratch.
    """

    logits: np.ndarray
    target: np.ndarray
    output: np.ndarray


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """At the start of a cache line: some libraries copy what is not."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    array: np.ndarray = memory[start : start + size].view(kind).reshape(shape)
    return array


def random_logits(shape: tuple[int, ...], dtype: Any = "float32", seed: int = 0) -> np.ndarray:
    """N(0, 3) from a fixed seed."""
    logits = aligned_empty(shape, dtype)
    generator = np.random.default_rng(seed)
    if logits.dtype.itemsize >= 4:
        generator.standard_normal(dtype=logits.dtype.type, out=logits)
        logits *= logits.dtype.type(3)
    else:
        flat = logits.reshape(-1)
        for at in range(0, flat.size, 1 << 20):
            part = flat[at : at + (1 << 20)]
            part[...] = 3 * generator.standard_normal(part.size, dtype="float32")
    return logits


def softmax_in_place(x: np.ndarray) -> np.ndarray:
    """Over the last axis, by NumPy: the targets of a comparison come from none of the libraries compared."""
    x -= x.max(axis=-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=-1, keepdims=True)
    return x
