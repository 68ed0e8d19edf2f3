"""What a part of the classes of rows comes to, as a value that is put together anywhere and in any order."""

from __future__ import annotations

import importlib
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from .. import _core
from ._merge_tree import Node, in_order, merge_siblings, root
from ._messages import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._types import Array
    from ._merge_tree import Range
    from ._messages import Received


KNOWN = ("temperature", "ignore_index", "label_smoothing")  # options of the loss that states have


@dataclass(frozen=True)
class Rows:
    """The rows that states are of, and what is asked of them: the same for the states of all shards."""

    shape: tuple[int, ...]
    n_classes: int
    dtype: str
    temperature: float = 1.0
    target: str | None = None
    """ "indices", "probabilities" or None."""
    ignore_index: int | None = -100
    label_smoothing: float = 0.0
    smoothed: bool = False
    """Whether there is a smoothing and a class with a weight."""
    checksum: int = 0
    """Of class indices and class weights."""

    @property
    def format(self) -> tuple[bool, bool, bool]:
        """Which numbers there are of a subtree, as the core takes it."""
        return self.dtype == "float64", self.smoothed, self.target == "probabilities"

    @property
    def options(self) -> dict[str, Any]:
        """Those of the loss that states know."""
        return {name: getattr(self, name) for name in KNOWN}

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def whole(self, axis: int = -1) -> Array:
        """An array in the shape and dtype of the logits of all classes, of one number."""
        shape = list(self.shape)
        shape.insert(axis if axis >= 0 else len(shape), self.n_classes)
        return np.broadcast_to(np.zeros((), dtype_of(self.dtype)), shape)

    def zeros(self) -> Root:
        """What all classes would come to, if it were 0: for calls that check their other arguments."""
        target_logits = np.zeros(self.count) if self.target == "indices" else None
        return Root(np.zeros((count_of_numbers(self.format), self.count)), target_logits, *self.format[1:])

    def place(self, axis: int = -1) -> Place:
        """Of no shard."""
        return Place(self.whole(axis), 0, ())


def rows_of(about: dict[str, Any]) -> Rows:
    """From `asdict`, as JSON has it; ValueError, TypeError or KeyError if it is not."""
    rows = Rows(**about | {"shape": tuple(about["shape"])})
    if type(rows.smoothed) is not bool or not all(type(n) is int and n >= 0 for n in rows.shape):
        raise ValueError
    return rows


def dtype_of(name: Any) -> np.dtype[Any]:
    if name == "bfloat16":
        name = importlib.import_module("ml_dtypes").bfloat16  # which is not NumPy's
    dtype: np.dtype[Any] = np.dtype(name)
    return dtype


class Root(NamedTuple):
    """What all classes come to, as the core takes it."""

    numbers: Array
    target_logits: Array | None
    smoothed: bool
    probabilities: bool


class Place(NamedTuple):
    """Where a shard is, as the core takes it."""

    whole: Array
    start: int
    block_counts: tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class RowStates(Message):
    """What the classes from `start` to `stop` of some rows come to, from `partial`. It is pickled as any value.

    Attributes
    ----------
    start, stop : int
        Where these classes begin and end.
    exact : bool
        Whether every shard began at a multiple of 1,024 classes and ended at one or at the last class. Losses and
        gradients then have the bits of one process; else they are as accurate.

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> from crossent import parallel
    >>> rng = np.random.default_rng(0)
    >>> logits, target = rng.normal(size=(4, 3000)), [7, 2500, -100, 1024]
    >>> first = parallel.partial(logits[:, :1024], target, 0, n_classes=3000)
    >>> second = parallel.partial(logits[:, 1024:], target, 1024, n_classes=3000)
    >>> second
    RowStates(start=1024, stop=3000, exact=True)
    >>> stored = [second.to_bytes(), first.to_bytes()]
    >>> states = parallel.merge(*map(parallel.RowStates.from_bytes, stored))
    >>> print(parallel.finish(states, target) == xe.cross_entropy(logits, target))
    True
    """

    rows: Rows
    start: int
    stop: int
    exact: bool
    nodes: tuple[Node[Array], ...]  # numbers of each row: (numbers, rows)
    target_logits: Array | None

    def __repr__(self) -> str:
        return f"RowStates(start={self.start}, stop={self.stop}, exact={self.exact})"

    @property
    def nbytes(self) -> int:
        """The number of bytes of the numbers, which are float64."""
        return sum(x.nbytes for x in self._arrays)

    def whole(self) -> Root:
        """Of all classes; ValueError if some are missing."""
        self.refuse_missing()
        return Root(root(list(self.nodes), self.merge_two), self.target_logits, *self.rows.format[1:])

    def refuse_missing(self) -> None:
        refuse_missing_classes(self, self.rows.n_classes)

    def merge_two(self, left: Array, right: Array) -> Array:
        return _core.merge_subtrees(left, right, *self.rows.format, self.rows.temperature)

    def _parts(self) -> tuple[dict[str, Any], Sequence[Array]]:
        facts = {
            "rows": asdict(self.rows), "start": self.start, "stop": self.stop, "exact": self.exact,
            "nodes": [node[:2] for node in self.nodes], "target_logits": self.target_logits is not None,
        }
        return facts, self._arrays

    @property
    def _arrays(self) -> list[Array]:
        arrays = [node.value for node in self.nodes]
        return arrays if self.target_logits is None else [*arrays, self.target_logits]

    @classmethod
    def _of_parts(cls, facts: Any, arrays: Received) -> Self:
        rows, places = rows_of(facts["rows"]), [tuple(place) for place in facts["nodes"]]
        numbers = arrays.array(len(places), count_of_numbers(rows.format), rows.count)
        target_logits = arrays.array(rows.count) if facts["target_logits"] else None
        nodes = tuple(Node(begin, end, x) for (begin, end), x in zip(places, numbers, strict=True))
        return cls(rows, facts["start"], facts["stop"], facts["exact"], nodes, target_logits)


def count_of_numbers(format: tuple[bool, bool, bool]) -> int:
    """Of a subtree of a row."""
    return _core.count_of_columns(*format)


def merge(*states: RowStates) -> RowStates:
    """The states of the classes of all `states`, which are given in any order.

    Parameters
    ----------
    *states : RowStates
        Of shards that follow each other, of the same rows.

    Returns
    -------
    RowStates
        From the first of the classes to the last.

    Raises
    ------
    ValueError
        If classes between the first and the last are missing or in two of them, or if the states are of other rows,
        targets, class weights or options.

    References
    ----------
    docs/explanation/design/row.md, "Merging blocks".

    Examples
    --------
    >>> from crossent import parallel
    >>> shards = [parallel.partial([[0.0] * 1024], None, start, n_classes=3072) for start in (0, 1024, 2048)]
    >>> parallel.merge(shards[2], shards[1])
    RowStates(start=1024, stop=3072, exact=True)
    """
    if not states:
        raise ValueError("no states were given: expected those of at least one shard")
    for other in states[1:]:
        refuse_other_rows(states[0].rows, other.rows)
    ordered = in_order(states, "classes", "state")
    first, exact = ordered[0], all(s.exact for s in ordered)
    nodes = [node for s in ordered for node in s.nodes]
    if exact:
        nodes = merge_siblings(nodes, first.merge_two)
    if nodes and (not exact or (first.start == 0 and ordered[-1].stop == first.rows.n_classes)):
        nodes = [Node(nodes[0].begin, nodes[-1].end, root(nodes, first.merge_two))]
    logits = [s.target_logits for s in ordered if s.target_logits is not None]
    target_logits = np.sum(logits, axis=0) if logits else None  # of each row it is 0 in all states but one
    return RowStates(first.rows, first.start, ordered[-1].stop, exact, tuple(nodes), target_logits)


def refuse_missing_classes(part: Range, n_classes: int) -> None:
    if part.start > 0 or part.stop < n_classes:
        missing = (0, part.start) if part.start > 0 else (part.stop, n_classes)
        raise ValueError(f"the classes from {missing[0]} to {missing[1]} are in no state")


def refuse_other_rows(one: Rows, other: Rows) -> None:
    for name, value in asdict(one).items():
        if value != getattr(other, name):
            different = f"{name} is {value!r} for one and {getattr(other, name)!r} for another"
            if name == "checksum":
                different = "they are of different targets or class weights"
            raise ValueError(f"the states do not belong together: {different}")
