"""Rows of classes that are read in order, a block at a time, wherever they are."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from queue import Empty, Queue
from typing import Any, TypeVar

import numpy as np

from .._arrays import floating_dtype
from .._types import Array

# Takes a number of rows and returns the next that many, (n, classes).
Reader = Callable[[int], Array]
Shape = tuple[int, ...]
# Opens what is indexed; for each iteration anew, as there may be several at once.
Source = Callable[[], AbstractContextManager[Any]]


class Rows:
    """`count` rows of `classes` numbers of the dtype `dtype`; `name` says in messages where they are from.

    A subclass says how to read the next rows from `start` on, in `_reader`.
    """

    start = 0  # among the rows of a whole, of which these may be a part
    is_stored_log_probs = False  # whether a row is log-probabilities that were rounded and cut: see LogProbRows

    def __init__(self, name: str, count: int, classes: int, dtype: np.dtype[Any]) -> None:
        self.name = name
        self.count = count
        self.classes = classes
        self.dtype = dtype

    def blocks(self, size: int) -> Generator[tuple[int, Array], None, None]:
        """Yield ``(first_row, rows)`` in order: `size` rows each, and what is left in the last.

        A block stays as it is while later ones are read.
        """
        if size < 1:
            raise ValueError(f"size is {size}: expected at least 1 row a block")
        with self._reader() as read:
            for first in range(0, self.count, size):
                yield first, read(min(size, self.count - first))[:, : self.classes]

    def _reader(self) -> AbstractContextManager[Reader]:
        raise NotImplementedError

    def part(self, first: int, stop: int) -> Rows:
        """The rows from `first` to before `stop`, as rows of their own; what lies before is skipped where it can be."""
        rows = copy.copy(self)
        rows.start, rows.count = self.start + first, stop - first
        return rows

    def cut(self, vocab_size: int) -> Rows:
        """The same rows without the columns from `vocab_size` on."""
        if not 1 <= vocab_size <= self.classes:
            raise ValueError(f"{self.name} has {self.classes} classes: vocab_size {vocab_size} is not in 1 .. that")
        rows = copy.copy(self)
        rows.classes = vocab_size
        return rows


class SlicedRows(Rows):
    """Rows of something of any number of dimensions that gives arrays when it is indexed by integers and a slice."""

    def __init__(
        self, name: str, shape: Shape, dtype: np.dtype[Any], flat: bool, source: Source
    ) -> None:
        super().__init__(name, *rows_of(name, shape, flat), native(dtype))
        self._shape = shape if flat else shape[:-1]
        self._source = source

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        *outer, length = self._shape
        classes = self.classes if self._shape else 1
        position = self.start

        def fetch(source: Any, index: Any) -> Array:
            try:
                return np.asarray(source[index])
            except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:  # of whichever library
                raise ValueError(f"{self.name} cannot be read: {shortened(error)}") from error

        def pieces(source: Any, first: int, stop: int) -> Iterator[Array]:
            while first < stop:
                which, start = divmod(first, length)
                end = min(length, start + stop - first)
                index = (*map(int, np.unravel_index(which, outer)), slice(start, end)) if outer else slice(start, end)
                yield fetch(source, index).reshape(end - start, -1)
                first += end - start

        with self._source() as source:

            def read(n: int) -> Array:
                nonlocal position
                found = list(pieces(source, position, position + n))
                position += n
                block = found[0] if len(found) == 1 else np.concatenate(found)
                if block.shape[0] != n or block.shape[1] < classes:
                    raise ValueError(f"{self.name} gave rows of shape {block.shape}: expected {(n, classes)}")
                return as_floating(block).astype(self.dtype, copy=False)

            yield read


class Shards(Rows):
    """The rows of several others, one after the other."""

    def __init__(self, parts: list[Rows]) -> None:
        first = parts[0]
        for part in parts[1:]:
            if (part.classes, part.dtype) != (first.classes, first.dtype):
                expected = f"expected {first.classes} of {first.dtype}, as {first.name} has"
                raise ValueError(f"{part.name} has {part.classes} classes of {part.dtype}: {expected}")
            if part.is_stored_log_probs != first.is_stored_log_probs:
                raise ValueError(f"{part.name} and {first.name}: expected all or none to be stored log-probabilities")
        name = f"{first.name} .. {parts[-1].name}"
        super().__init__(name, sum(part.count for part in parts), first.classes, first.dtype)
        self.parts = parts
        self.is_stored_log_probs = first.is_stored_log_probs

    def part(self, first: int, stop: int) -> Rows:
        """Without the shards before and after."""
        parts = []
        for part in self.parts:
            if first < part.count and stop > 0 and first < stop:
                parts.append(part.part(max(first, 0), min(stop, part.count)))
            first, stop = first - part.count, stop - part.count
        rows = Shards(parts or [self.parts[0].part(0, 0)])
        rows.name, rows.classes = self.name, self.classes
        return rows

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        with ExitStack() as stack:
            parts = iter(self.parts)
            left = 0
            read_part: Reader

            def read(n: int) -> Array:
                nonlocal left, read_part
                found = []
                while n > 0:
                    while left == 0:
                        part = next(parts)
                        stack.close()
                        read_part, left = stack.enter_context(part._reader()), part.count
                    found.append(read_part(min(n, left)))
                    left -= found[-1].shape[0]
                    n -= found[-1].shape[0]
                return found[0] if len(found) == 1 else np.concatenate(found)

            yield read


def rows_of(name: str, shape: Shape, flat: bool) -> tuple[int, int]:
    """The number of rows and of classes of an array of this shape; each number a row of its own where it is `flat`."""
    if flat:
        return math.prod(shape), 1
    if len(shape) < 2:
        raise ValueError(f"{name} has shape {shape}: expected (rows, classes), or more dimensions with classes last")
    if shape[-1] == 0:
        raise ValueError(f"{name} has shape {shape}: expected at least one class")
    return math.prod(shape[:-1]), shape[-1]


def shortened(text: object) -> str:
    """What a file or a library says, for a message of one line."""
    line = " ".join(str(text).split())
    return line if len(line) <= 200 else f"{line[:200]}.."


def bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError("bfloat16 needs ml_dtypes: pip install 'crossent[evaluation]'") from error
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def as_floating(block: Array) -> Array:
    """NumPy reads bfloat16 as two bytes of no type."""
    return block.view(bfloat16()) if block.dtype == np.dtype("V2") else block


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of blocks that are read from something of this dtype."""
    return bfloat16() if dtype == np.dtype("V2") else dtype.newbyteorder("=")


def check_dtype(name: str, dtype: np.dtype[Any], integers: bool) -> None:
    if integers:
        if dtype.kind not in "iu":
            raise ValueError(f"{name} has dtype {dtype}: expected integers")
    elif floating_dtype(dtype) is None:
        raise ValueError(f"{name} has dtype {dtype}: expected float16, bfloat16, float32 or float64")


Item = TypeVar("Item")


def read_ahead(items: Iterable[Item], depth: int = 1) -> Generator[Item, None, None]:
    """Yield `items`, of which a background thread reads the next while the caller works on one.

    There are at most ``depth + 2`` items at a time: the caller's, those that wait, and the one that is being read. What
    the thread raises is raised here. The thread ends with the generator: close it where items are left.
    """
    queue: Queue[tuple[bool, Any]] = Queue(depth)  # whether it is an item, or else what ended the items
    stopped = threading.Event()
    thread = threading.Thread(target=produce, args=(items, queue, stopped), name="crossent-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = queue.get()
            if is_item:
                yield value
            elif value is None:
                return
            else:
                raise value
            del value  # not held while the next one is waited for
    finally:
        stopped.set()
        try:
            while True:  # the thread may wait for a place: after this it has one, and looks whether it should stop
                queue.get_nowait()
        except Empty:
            pass
        if thread is not threading.current_thread():  # where it is the one that collects this generator
            thread.join()


def produce(items: Iterable[Any], queue: Queue[tuple[bool, Any]], stopped: threading.Event) -> None:
    end: BaseException | None = None
    try:
        for item in items:
            queue.put((True, item))
            del item
            if stopped.is_set():
                break
    except BaseException as error:  # KeyboardInterrupt, too: the thread that computes is to know
        end = error
    try:
        if hasattr(items, "close"):
            items.close()  # files are closed here, not when the generator is collected
    finally:
        if not stopped.is_set():
            queue.put((False, end))
