"""Shards of the classes of rows: their places, the rows they have, and what must be the same in each step on them."""

from __future__ import annotations

import importlib
import math
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from .. import _core, _numbers, _validate
from .._arrays import as_array, floating
from ._state import BLOCK, subtrees

if TYPE_CHECKING:
    from .._types import Array
    from ._state import Range

# Options of the losses that a RowSpec has, and all that the states of a shard depend on.
OF_SPEC = ("temperature", "ignore_index", "label_smoothing", "entropy_weight")
OF_STATES = (*OF_SPEC, "weight")


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


class Place(NamedTuple):
    """Where a shard is, as the core takes it."""

    whole: Array
    """In the shape and dtype of the logits of all classes, of one number."""
    start: int
    block_counts: tuple[int, ...]
    """Of its subtrees."""


@dataclass(frozen=True)
class RowSpec:
    """The rows of a state and the options it depends on: the same for the states of all shards."""

    shape: tuple[int, ...]
    n_classes: int
    dtype: str
    temperature: float = 1.0
    target: str | None = None
    """ "indices", "probabilities" or None."""
    ignore_index: int | None = -100
    label_smoothing: float = 0.0
    entropy_weight: float = 0.0
    smoothed: bool = False
    """Whether there is a smoothing and a class with a weight."""
    checksum: int = 0
    """Of class indices and class weights."""

    @classmethod
    def received(cls, facts: dict[str, Any]) -> Self:
        """From `asdict`, as JSON has it; ValueError, TypeError or KeyError if it is not."""
        spec = cls(**facts | {"shape": tuple(facts["shape"])})
        if type(spec.smoothed) is not bool or not all(type(n) is int and n >= 0 for n in spec.shape):
            raise ValueError
        return spec

    @property
    def format(self) -> tuple[bool, bool, bool, bool, float]:
        """What the numbers of a state depend on, as the core takes it."""
        probabilities, with_entropy = self.target == "probabilities", self.entropy_weight != 0
        return self.dtype == "float64", self.smoothed, probabilities, with_entropy, self.temperature

    @property
    def options(self) -> dict[str, Any]:
        """The options of the loss among them."""
        return {name: getattr(self, name) for name in OF_SPEC}

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def place(self, axis: int = -1, start: int = 0, block_counts: tuple[int, ...] = ()) -> Place:
        """Of no shard, if there are no blocks. `axis`: of the classes, the last one by default."""
        shape = list(self.shape)
        shape.insert(axis if axis >= 0 else len(shape), self.n_classes)
        return Place(np.broadcast_to(np.zeros((), _dtype_of(self.dtype)), shape), start, block_counts)

    @property
    def numbers(self) -> int:
        """How many numbers a subtree has of each row."""
        return _core.count_of_columns(*self.format)

    def refuse_other(self, other: RowSpec) -> None:
        for name, value in asdict(self).items():
            if value != getattr(other, name):
                different = f"{name} is {value!r} for one and {getattr(other, name)!r} for another"
                if name == "checksum":
                    different = "they are of different targets or class weights"
                raise ValueError(f"the states do not belong together: {different}")

    def check_inputs(self, indices: object, weight: object) -> None:
        if checksum(indices, weight) != self.checksum:
            raise ValueError("target or weight is not what the states were made with: expected the same in each step")

    def refuse_missing(self, part: Range) -> None:
        if part.start > 0 or part.stop < self.n_classes:
            missing = (0, part.start) if part.start > 0 else (part.stop, self.n_classes)
            raise ValueError(f"the classes from {missing[0]} to {missing[1]} are in no state")


def _dtype_of(name: Any) -> np.dtype[Any]:
    if name == "bfloat16":
        name = importlib.import_module("ml_dtypes").bfloat16  # which is not NumPy's
    dtype: np.dtype[Any] = np.dtype(name)
    return dtype


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

    @classmethod
    def like(cls, spec: RowSpec, logits: object, axis: object, start: object) -> Shard:
        """Of the rows that a state has."""
        shard = cls.of("logits", logits, axis, start, spec.n_classes)
        if shard.rows != spec.shape or shard.logits.dtype.name != spec.dtype:
            given = f"rows of shape {shard.rows} and dtype {shard.logits.dtype}"
            raise ValueError(f"logits have {given}: expected {spec.shape} and {spec.dtype}, as the states")
        return shard

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
        spec = RowSpec(self.rows, self.n_classes, self.logits.dtype.name)
        return spec.place(self.axis, self.start, tuple(end - begin for begin, end in self.ranges))

    def nothing(self, out: object) -> Array:
        """The gradient of no class."""
        x = self.logits
        return np.empty_like(x) if out is None else _validate.output("out", out, x.shape, x.dtype, {"logits": x})


def _axis(name: str, x: Array, axis: Any) -> int:
    """Of the classes, of which there may be none."""
    shape = list(x.shape)
    return _validate.loss_axis(name, tuple(max(n, 1) for n in shape), axis)


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
