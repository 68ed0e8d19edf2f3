"""The rows of the largest losses, whose statistics are not kept for all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .._results import RowStatistics
    from .._types import Array


class WorstTokens:
    """The `count` rows of the largest losses so far, the worst first; of equal ones the first."""

    def __init__(self, count: int = 20) -> None:
        self._count = count
        self.log_prob = self.max_log_prob = np.empty(0)
        self.position = self.target = self.rank = self.argmax = np.empty(0, np.int64)

    def update(self, first: int, target: Array, found: RowStatistics) -> None:
        """Takes the statistics of rows that follow those before."""
        assert found.log_prob is not None and found.rank is not None
        worse = np.inf if self.log_prob.size < self._count else self.log_prob[-1]
        near = np.flatnonzero(found.log_prob < worse)  # not the rows that do not count: they have NaN
        log_prob = np.append(self.log_prob, found.log_prob[near])
        order = np.argsort(log_prob, kind="stable")[: self._count]
        self.log_prob = log_prob[order]
        self.max_log_prob = np.append(self.max_log_prob, found.max_log_prob[near])[order]
        self.position = np.append(self.position, first + near)[order]
        self.target = np.append(self.target, target[near])[order]
        self.rank = np.append(self.rank, found.rank[near])[order]
        self.argmax = np.append(self.argmax, found.argmax[near])[order]
