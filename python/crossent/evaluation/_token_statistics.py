"""What row_statistics says of all rows: six numbers of each are kept, whatever the number of classes."""

from __future__ import annotations

import operator
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from .. import row_statistics
from .._numbers import positive
from .._results import RowStatistics
from ._calibration import check_target
from ._logit_options import LogitOptions
from ._rows import read_ahead

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._types import Array
    from ._rows import Rows

ELEMENTS_AT_A_TIME = 1 << 22  # 16 MiB of float32 logits: long enough for threads, short enough for Ctrl-C
Found = TypeVar("Found")


class Reading(Generic[Found]):
    """Numbers of each row of one or several inputs, whose rows belong together, of the first `done` rows.

    A subclass says which, in `arrays`, and how they are computed, in `_measure`. Messages count rows from `start` on.
    """

    def __init__(
        self,
        inputs: tuple[Rows, ...],
        target: Array | None,
        *,
        ignore_index: int | None,
        skip_nan: bool,
        start: int = 0,
    ) -> None:
        if target is not None:
            check_target(target, inputs[0].classes, ignore_index, start)
        self.inputs = inputs
        self._start = start
        self.target = target
        self.done = 0
        self._ignore_index = ignore_index
        self._skip_nan = skip_nan

    def read(self, rows_at_a_time: int | None = None) -> Generator[tuple[int, Found], None, None]:
        """Reads the rows; yields the first row of each block, and what was found, once it is kept."""
        size = rows_in_block(rows_at_a_time, self.inputs[0].classes, ELEMENTS_AT_A_TIME)
        with closing(read_ahead(_together(self.inputs, size))) as blocks:
            for first, parts in blocks:
                found = self._measure(first, parts)
                self.done = first + len(parts[0])
                yield first, found

    def arrays(self) -> dict[str, Array]:
        """What is kept of each row, by names for `keep`."""
        raise NotImplementedError

    def keep(self, first: int, count: int, numbers: Mapping[str, Array]) -> None:
        """Keeps `numbers`, which have the names of `arrays`, of so many rows from `first` on."""
        for name, array in self.arrays().items():
            array[first : first + count] = numbers[name]
        self.done = first + count

    def _measure(self, first: int, parts: tuple[Array, ...]) -> Found:
        """Keeps the numbers of the rows from `first` on, of which each input has a block."""
        raise NotImplementedError

    def _refuse_nan(self, rows: Rows, first: int, argmax: Array) -> None:
        if self._skip_nan:
            return
        bad = (argmax < 0) & ~self._is_ignored(first, first + len(argmax))
        if bad.any():
            position = f"{rows.name}[{self._start + first + int(bad.argmax())}]"
            raise ValueError(f"{position} has a NaN or an infinite maximum: skip_nan leaves out such rows")

    def _is_ignored(self, first: int, stop: int) -> Array:
        ignored = np.zeros(stop - first, bool)
        if self.target is not None and self._ignore_index is not None:
            np.equal(self.target[first:stop], self._ignore_index, out=ignored)
        return ignored

    def counts(self, counted: Array, chosen: Array | None = None) -> tuple[int, int, int]:
        """Of the rows read, and chosen, how many count, how many are ignored, and how many have a NaN."""
        among = np.ones(self.done, bool) if chosen is None else chosen[: self.done]
        tokens = int(np.count_nonzero(counted))
        ignored = int(np.count_nonzero(among & self._is_ignored(0, self.done)))
        nan_rows = int(np.count_nonzero(among)) - ignored - tokens
        if tokens == 0:
            raise ValueError(f"no row is left: {ignored} are ignored, {nan_rows} have a NaN: expected at least one")
        return tokens, ignored, nan_rows


class TokenStatistics(Reading[RowStatistics]):
    """The statistics of each row."""

    target: Array

    def __init__(
        self,
        rows: Rows,
        target: Array,
        *,
        temperature: float,
        softcap: float | None = None,
        logit_bias: ArrayLike | None = None,
        **options: Any,
    ) -> None:
        super().__init__((rows,), target, **options)
        self.rows = rows
        if np.ndim(temperature) > 0:
            raise TypeError(f"temperature has shape {np.shape(temperature)}: expected a number")
        self.temperature = positive("temperature", temperature)
        self.logit_options = LogitOptions.of(rows, softcap, logit_bias)
        dtype = result_dtype(rows.dtype)
        self.log_prob, self.max_log_prob, self.entropy, self.sum_of_squares = np.empty((4, rows.count), dtype)
        self.rank, self.argmax = np.empty((2, rows.count), np.int32 if rows.classes < 1 << 31 else np.int64)
        """0 for the most likely class, and that class; -1 in rows that are ignored or have a NaN."""

    def _measure(self, first: int, parts: tuple[Array, ...]) -> RowStatistics:
        (logits,) = parts
        target = self.target[first : first + len(logits)]
        options = self.logit_options._asdict()
        found = row_statistics(
            logits, target, ignore_index=self._ignore_index, temperature=self.temperature, **options)
        self._refuse_nan(self.rows, first, found.argmax)
        self.keep(first, len(logits), found._asdict())
        return found

    def arrays(self) -> dict[str, Array]:
        names = ("log_prob", "max_log_prob", "entropy", "sum_of_squares", "rank", "argmax")
        return {name: getattr(self, name) for name in names}

    def counted(self, chosen: Array | None = None) -> Array:
        """Which of the rows read count, and are chosen by a mask of all rows."""
        counted: Array = self.rank[: self.done] >= 0
        return counted if chosen is None else counted & chosen[: self.done]


def result_dtype(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of what is computed from logits of these: float64, or float32 where all of them have fewer digits."""
    longest = any(dtype.kind in "biu" or dtype == np.float64 for dtype in dtypes)
    return np.dtype(np.float64 if longest else np.float32)


def _together(inputs: tuple[Rows, ...], size: int) -> Generator[tuple[int, tuple[Array, ...]], None, None]:
    """The first row of each block, and the block of each input."""
    with ExitStack() as stack:
        sources = [stack.enter_context(closing(rows.blocks(size))) for rows in inputs]
        for found in zip(*sources, strict=True):
            yield found[0][0], tuple(block for _, block in found)


def rows_in_block(rows_at_a_time: int | None, classes: int, elements: int) -> int:
    """`rows_at_a_time`, or the rows of so many elements."""
    if rows_at_a_time is None:
        return max(1, elements // classes)
    try:
        size = operator.index(rows_at_a_time)
    except TypeError:
        raise TypeError(f"rows_at_a_time is {rows_at_a_time!r}: expected an integer or None") from None
    if size < 1:
        raise ValueError(f"rows_at_a_time is {size}: expected an integer >= 1")
    return size
