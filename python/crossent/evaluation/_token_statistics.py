"""What row_statistics says of all rows: six numbers of each are kept, whatever the number of classes."""

from __future__ import annotations

import operator
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from .. import row_statistics
from ._calibration import check_target
from ._read_ahead import read_ahead

if TYPE_CHECKING:
    from .._results import RowStatistics
    from .._types import Array
    from ._rows import Rows

ELEMENTS_AT_A_TIME = 1 << 22  # 16 MiB of float32 logits: long enough for threads, short enough for Ctrl-C


class TokenStatistics:
    """The statistics of the rows read so far, the first `done` of all."""

    def __init__(
        self, rows: Rows, target: Array, *, ignore_index: int | None, temperature: float, skip_nan: bool
    ) -> None:
        check_target(target, rows.classes, ignore_index)
        self.rows = rows
        self.target = target
        self.temperature = temperature
        self.done = 0
        self._ignore_index = ignore_index
        self._skip_nan = skip_nan
        dtype = np.float64 if rows.dtype.kind in "biu" or rows.dtype == np.float64 else np.float32
        self.log_prob, self.max_log_prob, self.entropy, self.sum_of_squares = np.empty((4, rows.count), dtype)
        self.rank, self.argmax = np.empty((2, rows.count), np.int32 if rows.classes < 1 << 31 else np.int64)
        """0 for the most likely class, and that class; -1 in rows that are ignored or have a NaN."""

    def read(self, rows_at_a_time: int | None = None) -> Generator[tuple[int, RowStatistics], None, None]:
        """Reads the rows; yields the first row and the statistics of each block, once they are kept."""
        size = _block_size(rows_at_a_time, self.rows.classes)
        with closing(read_ahead(self.rows.blocks(size))) as blocks:
            for first, logits in blocks:
                target = self.target[first : first + len(logits)]
                found = row_statistics(logits, target, ignore_index=self._ignore_index, temperature=self.temperature)
                if not self._skip_nan:
                    self._refuse_nan(first, target, found)
                self._keep(first, found)
                self.done = first + len(logits)
                yield first, found

    def _keep(self, first: int, found: RowStatistics) -> None:
        for name in ("log_prob", "max_log_prob", "entropy", "sum_of_squares", "rank", "argmax"):
            values = getattr(found, name)
            getattr(self, name)[first : first + len(values)] = values

    def _refuse_nan(self, first: int, target: Array, found: RowStatistics) -> None:
        bad = (found.argmax < 0) & ~self._is_ignored(target)
        if bad.any():
            position = f"{self.rows.name}[{first + int(bad.argmax())}]"
            raise ValueError(f"{position} has a NaN or an infinite maximum: skip_nan leaves out such rows")

    def _is_ignored(self, target: Array) -> Array:
        return np.zeros(target.shape, bool) if self._ignore_index is None else target == self._ignore_index

    def counted(self, chosen: Array | None = None) -> Array:
        """Which of the rows read count, and are chosen by a mask of all rows."""
        counted: Array = self.rank[: self.done] >= 0
        return counted if chosen is None else counted & chosen[: self.done]

    def ignored(self, chosen: Array | None = None) -> int:
        """How many of the rows read, and chosen, are ignored."""
        ignored = self._is_ignored(self.target[: self.done])
        return int(np.count_nonzero(ignored if chosen is None else ignored & chosen[: self.done]))


def _block_size(rows_at_a_time: int | None, classes: int) -> int:
    if rows_at_a_time is None:
        return max(1, ELEMENTS_AT_A_TIME // classes)
    try:
        size = operator.index(rows_at_a_time)
    except TypeError:
        raise TypeError(f"rows_at_a_time is {rows_at_a_time!r}: expected an integer or None") from None
    if size < 1:
        raise ValueError(f"rows_at_a_time is {size}: expected an integer >= 1")
    return size
