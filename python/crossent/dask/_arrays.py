"""Dask arrays as arguments."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np

from .._dtypes import as_array
from ..evaluation._evaluate import block_index


def known_chunks(name: str, x: Any) -> Any:
    """`x`, whose shape must be known, as that of a data frame is not."""
    if any(math.isnan(n) for n in x.shape):
        raise ValueError(f"{name} has chunks of unknown sizes: expected known ones, as compute_chunk_sizes() finds")
    return x


def lazy(name: str, x: Any) -> Any:
    """`x` as a Dask array; one of NumPy as one chunk."""
    return known_chunks(name, x if isinstance(x, da.Array) else da.from_array(as_array(name, x), -1))


def blocks_of(blocks: Any, count: int) -> Any:
    """What `block_index` takes, when it is computed; checked now where it is known."""
    if isinstance(blocks, da.Array):
        return known_chunks("blocks", blocks)
    block_index(blocks, count)
    return blocks


def computed(arrays: Sequence[Any]) -> Iterator[Any]:
    """What the functions of NumPy return, at once; None as it is."""
    return (x[()] if isinstance(x, np.ndarray) else x for x in dask.compute(*arrays))


def result(lazy: Any, compute: bool) -> Any:
    return lazy.compute() if compute else lazy
