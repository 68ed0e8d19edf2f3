"""Shards of the classes of rows: what is common to the functions on them."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core, _numbers
from .._cross_entropy import cross_entropy
from .._dtypes import arithmetic, as_array, converted, floating
from .._options import defaults_of
from .._validate import loss_axis
from ._merge_tree import BLOCK, Node, subtrees
from ._row_states import Place, Rows, RowStates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._types import Array


def shard_range(n_classes: int, rank: int, size: int) -> tuple[int, int]:
    """The classes of a rank, if all of them are split evenly at multiples of 1,024.

    Parameters
    ----------
    n_classes : int
        Of all ranks.
    rank, size : int
        The number of the rank, from 0 on, and how many there are.

    Returns
    -------
    start, stop : int
        Where its classes begin and end; both are equal where there are fewer blocks of 1,024 classes than ranks.

    Raises
    ------
    TypeError, ValueError
        If an argument is not an integer, or `rank` is not one of `size` ranks.

    Examples
    --------
    >>> from crossent import parallel
    >>> [parallel.shard_range(128_256, rank, 4) for rank in range(4)]
    [(0, 32768), (32768, 65536), (65536, 97280), (97280, 128256)]
    """
    n_classes, rank, size = (
        _numbers.whole_number(name, x) for name, x in (("n_classes", n_classes), ("rank", rank), ("size", size))
    )
    if n_classes < 1:
        raise ValueError(f"n_classes is {n_classes}: expected at least one")
    if not 0 <= rank < size:
        raise ValueError(f"rank is {rank}: expected one of {size} ranks, from 0 on")
    blocks = -(-n_classes // BLOCK)
    # The first ranks have the rest.
    start, stop = (min(n_classes, BLOCK * (blocks // size * r + min(r, blocks % size))) for r in (rank, rank + 1))
    return start, stop


class Shard(NamedTuple):
    """The logits of some classes, and where they are among all classes."""

    logits: Array
    axis: int
    start: int
    n_classes: int

    @classmethod
    def of(cls, name: str, logits: object, axis: Any, start: object, n_classes: object) -> Shard:
        x = floating(name, logits)
        axis = _axis(name, x, axis)
        first, total = _numbers.whole_number("start", start), _numbers.whole_number("n_classes", n_classes)
        here = x.shape[axis]
        if total < 1:
            raise ValueError(f"n_classes is {total}: expected at least one")
        if first < 0 or first + here > total:
            raise ValueError(f"start is {first} and {name} has {here} classes: expected classes within [0, {total})")
        return cls(x, axis, first, total)

    @property
    def stop(self) -> int:
        return self.start + int(self.logits.shape[self.axis])

    @property
    def rows(self) -> tuple[int, ...]:
        return self.logits.shape[: self.axis] + self.logits.shape[self.axis + 1 :]

    @property
    def is_aligned(self) -> bool:
        return self.start % BLOCK == 0 and (self.stop % BLOCK == 0 or self.stop == self.n_classes)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The blocks of the subtrees: all of them as one where the shard is not aligned."""
        blocks = -(-(self.stop - self.start) // BLOCK)
        if not blocks:
            return []
        first = self.start // BLOCK
        return list(subtrees(first, first + blocks)) if self.is_aligned else [(first, first + blocks)]

    @property
    def ends(self) -> tuple[int, ...]:
        """Where the classes of each subtree end."""
        first = self.start // BLOCK
        return tuple(min(self.start + BLOCK * (end - first), self.stop) for _, end in self.ranges)

    @property
    def place(self) -> Place:
        whole = Rows(self.rows, self.n_classes, self.logits.dtype.name).whole(self.axis)
        return Place(whole, self.start, tuple(end - begin for begin, end in self.ranges))


def _axis(name: str, x: Array, axis: Any) -> int:
    """Of the classes, of which there may be none."""
    shape = list(x.shape)
    return loss_axis(name, tuple(max(n, 1) for n in shape), axis)


# What the states of a shard depend on, and what else the loss does.
OF_STATES = ("temperature", "weight", "ignore_index", "label_smoothing")
OF_LOSS = tuple(name for name in defaults_of(cross_entropy) if name not in ("axis", *OF_STATES))


def states_of(shard: Shard, target: object, options: Mapping[str, Any]) -> RowStates:
    temperature, weight, ignore_index, label_smoothing = (options[name] for name in OF_STATES)
    x, at = shard.logits, _numbers.positive("temperature", temperature)
    if at < 2.0**-32 and x.dtype != np.float64:
        raise ValueError(f"temperature is {at}: expected at least 2^-32 for logits of {x.dtype}")
    indices, probabilities = split_target(target)
    kind = "indices" if indices is not None else "probabilities" if probabilities is not None else None
    smoothing = _numbers.fraction("label_smoothing", label_smoothing)
    nodes: tuple[Node[Array], ...] = ()
    if shard.ranges:
        numbers, target_logits, smoothed = _core.shard_subtrees(
            shard.place, x, target, shard.axis, at, weight, ignore_index, smoothing)
        nodes = tuple(Node(*ends, value) for ends, value in zip(shard.ranges, numbers, strict=True))
    else:
        target_logits = np.zeros(math.prod(shard.rows)) if kind == "indices" else None
        weights = np.ones(1) if weight is None else converted(np.asarray(weight), arithmetic(x.dtype))
        smoothed = smoothing > 0 and bool(np.any(weights > 0))
    ignored = None if ignore_index is None else _numbers.whole_number("ignore_index", ignore_index)
    rows = Rows(
        shard.rows, shard.n_classes, x.dtype.name, at, kind, ignored, smoothing, smoothed, checksum(indices, weight))
    return RowStates(rows, shard.start, shard.stop, shard.is_aligned, nodes, target_logits)


def split_target(target: object) -> tuple[Any, Any]:
    """`target` as class indices or as class probabilities, as its dtype says."""
    if target is None:
        return None, None
    array = as_array("target", target)
    return (target, None) if array.dtype.kind in "iub" else (None, target)


def checksum(indices: object, weight: object) -> int:
    """Of what must be the same on all processes."""
    value = 0
    if indices is not None:
        value = zlib.crc32(np.asarray(indices).astype(np.int64).tobytes())
    if weight is not None:
        value = zlib.crc32(np.asarray(weight).astype(np.float64).tobytes(), value)
    return value


def check_same(states: RowStates, indices: object, weight: object) -> None:
    if checksum(indices, weight) != states.rows.checksum:
        raise ValueError("target or weight is not what the states were made with: expected the same in each step")
