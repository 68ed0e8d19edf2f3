"""A function of rows, called for each block of rows of Dask arrays."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph

from .. import _validate
from .._arrays import as_array, floating_dtype, like, rows_of
from .._options import OF_CLASSES, OF_ROWS
from .._threads import num_threads
from ..evaluation._evaluate import block_index

if TYPE_CHECKING:
    from .._types import Array


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


POSITION = re.compile(rf"({'|'.join(('target', *OF_ROWS))})\[([\d, ]+)\]")


class RowBlocks:
    """Logits with all classes in each of their blocks, and the other arguments, `arrays`, in blocks beside them."""

    def __init__(self, logits: Any, axis: int, in_order: bool = False) -> None:
        """`in_order`: the rows of each block follow each other in the C order of all rows."""
        row_axes = [k for k in range(logits.ndim) if k != axis]
        self.logits = logits.rechunk(dict.fromkeys([axis, *(row_axes[1:] if in_order else [])], -1))
        self.axis = axis
        self.rows = rows_of(logits.shape, axis)
        self.arrays: dict[str, Any] = {}
        self.per_row: set[str] = set()  # those without the class axis

    def add_indices(self, target: Any) -> None:
        checked = _validate.class_indices(like(target), self.logits.shape, self.rows)
        self._add("target", target.reshape(checked.shape))

    def add_target(self, target: Any, ignore_index: int | None) -> None:
        """Class indices or, of a floating dtype, class probabilities."""
        if target.dtype.kind in "iu":
            return self.add_indices(target)
        if target.shape != self.logits.shape or ignore_index != -100 or floating_dtype(target.dtype) is None:
            _validate.class_target(like(target), self.logits.shape, self.rows, ignore_index)
        self._add("target", target)

    def take_numbers(self, options: dict[str, Any]) -> None:
        """Those of the options that have a number for each row become arrays of the blocks."""
        for name in OF_ROWS:
            if np.ndim(options.get(name, 0)) > 0:
                numbers = lazy(name, options.pop(name))
                _validate.spread(name, like(numbers), self.rows)
                self._add(name, da.broadcast_to(numbers, self.rows))
        for name in OF_CLASSES:
            if options.get(name) is not None:
                options[name] = np.asarray(options[name])

    def _add(self, name: str, x: Any) -> None:
        if x.ndim < self.logits.ndim:
            x = da.expand_dims(x, self.axis)
            self.per_row.add(name)
        lengths = zip(self.logits.chunks, self.logits.shape, x.shape, strict=True)
        self.arrays[name] = x.rechunk(tuple(chunks if n == whole else n for chunks, whole, n in lengths))

    def unread(self) -> RowBlocks:
        """The same blocks with zeros, in no memory, in place of what has the classes."""
        blocks = copy.copy(self)
        blocks.logits = self._zeros(self.logits)
        blocks.arrays = {name: x if name in self.per_row else self._zeros(x) for name, x in self.arrays.items()}
        return blocks

    def _zeros(self, x: Any) -> Any:
        return da.broadcast_to(da.zeros((), dtype=x.dtype), x.shape, x.chunks)

    def call(
        self,
        function: Callable[..., tuple[Any, ...]],
        options: dict[str, Any],
        numbers: dict[str, Any] | None = None,
        with_start: bool = False,
    ) -> Any:
        """A Dask array of the tuples that the function returns for each block: for `part` and `gather`.

        `numbers`: more arguments, which may be 0-d Dask arrays. `with_start`: it is told the number of the first row,
        where they are in order, as `start`.
        """
        arrays = self.arrays | {name: da.asarray(x) for name, x in (numbers or {}).items()}
        return da.map_blocks(
            _call,
            self.logits,
            *arrays.values(),
            function=function,
            names=tuple(arrays),
            per_row=self.per_row,
            axis=self.axis,
            with_start=with_start,
            options=options,
            drop_axis=self.axis,
            dtype=object,
            meta=np.empty((0,) * len(self.rows), object),
        )

    def sample(self, function: Callable[..., Any], **options: Any) -> Any:
        """What the function returns for no rows, which has the dtypes; it refuses options that it does not take."""
        lengths = [n if k == self.axis else 0 for k, n in enumerate(self.logits.shape)]
        rows = rows_of(tuple(lengths), self.axis)
        few = {name: np.zeros(rows if name in self.per_row else lengths, x.dtype) for name, x in self.arrays.items()}
        return function(np.zeros(lengths, self.logits.dtype), **few, **options)

    def part(self, found: Any, k: int, sample: Array, new_axis: int | None = None) -> Any:
        """Of what `call` returns, the arrays at `k`, which have the rows' axes and possibly a new one, as `sample`."""
        meta = np.empty((0,) * sample.ndim, sample.dtype)
        if new_axis is None:
            return found.map_blocks(itemgetter(k), dtype=sample.dtype, meta=meta)
        chunks = [*found.chunks[:new_axis], (sample.shape[new_axis],), *found.chunks[new_axis:]]
        return found.map_blocks(itemgetter(k), dtype=sample.dtype, meta=meta, new_axis=new_axis, chunks=tuple(chunks))

    def gather(self, found: Any, function: Callable[[list[Any]], Any], dtype: np.dtype[Any]) -> Any:
        """A 0-d Dask array: what the function makes of the first results of all calls."""
        first = found.map_blocks(itemgetter(0), dtype=object, meta=found._meta)
        name = f"crossent-gather-{tokenize(first, function)}"
        layer = {(name,): (function, list(flatten(first.__dask_keys__())))}
        graph = HighLevelGraph.from_collections(name, layer, dependencies=[first])
        return da.Array(graph, name, (), dtype)


def _call(
    logits: Array,
    *arrays: Array,
    function: Callable[..., Any],
    names: tuple[str, ...],
    per_row: set[str],
    axis: int,
    with_start: bool,
    options: dict[str, Any],
    block_info: dict[int, Any],
) -> Any:
    """What the function returns for one block, with one thread; positions in messages are those in the whole array."""
    given = zip(names, arrays, strict=True)
    arguments = {name: x.squeeze(axis) if name in per_row else x for name, x in given}
    starts = tuple(start for start, _ in block_info[0]["array-location"])
    if with_start:
        first, *_ = rows_of(starts, axis) or (0,)
        options = options | {"start": first * math.prod(rows_of(logits.shape, axis)[1:])}
    try:
        with num_threads(1):
            return function(logits, **arguments, **options)
    except (IndexError, ValueError) as error:
        raise type(error)(_moved(str(error), starts, axis)) from None


def _moved(message: str, starts: tuple[int, ...], axis: int) -> str:
    def position(found: re.Match[str]) -> str:
        index = [int(n) for n in found[2].split(",")]
        offsets = starts if len(index) == len(starts) else rows_of(starts, axis)
        return f"{found[1]}[{', '.join(str(a + b) for a, b in zip(index, offsets, strict=True))}]"

    return POSITION.sub(position, message, count=1)
