"""Shards of the classes of rows: their places, the rows they have, and what must be the same in each step on them."""

from __future__ import annotations

import importlib
import math
import zlib
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

import numpy as np

from .. import _core, _numbers, _validate
from .._arrays import as_array, floating
from ._state import BLOCK, subtrees

if TYPE_CHECKING:
    from .._types import Array
    from ._state import Range

# Options of the losses that a RowSpec has, and all that the states of a shard depend on.
OF_SPEC = ("temperature", "softcap", "ignore_index", "label_smoothing", "entropy_weight")
OF_STATES = (*OF_SPEC, "logit_bias", "weight")


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
    """1 where each row has its own, by which its logits are divided as they are read."""
    temperatures: str | None = None
    """The digest of those."""
    softcap: float | None = None
    logit_bias: str | None = None
    """Its digest."""
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
        _numbers.OPTIONS["softcap"]("softcap", spec.softcap)
        return spec

    @property
    def is_at_one(self) -> bool:
        """Whether the temperature of all rows is 1."""
        return self.temperature == 1 and self.temperatures is None

    @property
    def of_logits(self) -> tuple[float | None, str | None]:
        """What makes the logits of what is read, at any temperature."""
        return self.softcap, self.logit_bias

    @property
    def is_transformed(self) -> bool:
        """Whether the logits are other numbers than those that are read: the core computes them in float64."""
        return (*self.of_logits, self.temperatures) != (None, None, None)

    @property
    def is_extended(self) -> bool:
        """Whether the arithmetic is that of float64."""
        return self.dtype == "float64" or self.is_transformed

    @property
    def format(self) -> tuple[bool, bool, bool, bool, float]:
        """What the numbers of a state depend on, as the core takes it."""
        probabilities, with_entropy = self.target == "probabilities", self.entropy_weight != 0
        return self.is_extended, self.smoothed, probabilities, with_entropy, self.temperature

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
                if name in _DIGESTS:
                    different = f"they are of different {_DIGESTS[name]}"
                raise ValueError(f"the states do not belong together: {different}")

    def check_inputs(self, indices: object, weight: object) -> None:
        if checksum(indices, weight) != self.checksum:
            refuse_change("target or weight")

    def checked_temperature(self, given: object) -> Any:
        """Those of the rows, of which the states have a digest; None is enough for one of all rows."""
        temperature = self.temperature if given is None else given
        if temperature_of(temperature, self.shape) != (self.temperature, self.temperatures):
            refuse_change("temperature")
        return temperature

    def check_bias(self, name: str, given: object) -> None:
        """`given` where logits are read, of which the states have a digest."""
        if digest_of_bias(name, given, self.n_classes) != self.logit_bias:
            refuse_change(name)

    def refuse_missing(self, part: Range) -> None:
        if part.start > 0 or part.stop < self.n_classes:
            missing = (0, part.start) if part.start > 0 else (part.stop, self.n_classes)
            raise ValueError(f"the classes from {missing[0]} to {missing[1]} are in no state")


# Of a RowSpec: of what.
_DIGESTS = {
    "temperatures": "temperatures of the rows",
    "logit_bias": "logit biases",
    "checksum": "targets or class weights",
}


def refuse_change(name: str) -> NoReturn:
    raise ValueError(f"{name} is not what the states were made with: expected the same in each step")


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


def _digest(x: Array) -> str:
    """Of numbers that are too many to be sent with each state. Equal numbers of other dtypes have the same."""
    return blake2b(np.asarray(x, "<f8").tobytes(), digest_size=8).hexdigest()


def temperature_of(given: object, rows: tuple[int, ...]) -> tuple[float, str | None]:
    """The one temperature of all rows; or 1, and the digest of those of the rows."""
    checked = _validate.temperatures(given, rows)
    return (checked, None) if isinstance(checked, float) else (1.0, _digest(checked))


def digest_of_bias(name: str, given: object, n_classes: int) -> str | None:
    return None if given is None else _digest(_validate.class_bias(name, given, n_classes))
