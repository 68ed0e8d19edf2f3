"""The files that ``llama-perplexity --kl-divergence-base`` writes: log-probabilities in 16 bits.

The format: ``_logits_``; n_ctx, V and n_chunk; n_chunk * n_ctx tokens, all int32; then n_ctx - 1 - n_ctx / 2 rows a
chunk, for the positions n_ctx / 2 .. n_ctx - 2: float32 scale and low, V codes of 16 bits, one more where V is odd.
A log-probability is scale * code + low. Source: ``tools/perplexity/perplexity.cpp`` of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._types import Array
from ._files import Window, check_size, open_file, read_exactly
from ._rows import Reader, Rows

MAGIC = b"_logits_"
INT32 = np.dtype("<i4")
DECODED_AT_ONCE = 1 << 15  # numbers, which stay in the cache between the passes over them
LOG_PROB_CUT = -16.0  # the tool leaves classes at or below it out of its sums over classes
STORED_RANGE = 15.9999  # 16, where the tool clips a row, less a third of a step: only clipped classes are further below


class LogProbRows(Rows):
    """The rows of such a file, decoded to float32 log-probabilities as they are read.

    They are as the tool stored them: in 65,535 steps from the largest down to 16 below it, where all smaller ones are.
    So the probabilities of a row sum to 1 only roughly.
    """

    is_stored_log_probs = True

    def __init__(self, path: Path) -> None:
        name = str(path)
        with open_file(path) as file:
            start = file.read(20)
            if start[:8] != MAGIC or len(start) < 20:
                raise ValueError(f"{name} is not of llama-perplexity: expected it to begin with _logits_ and sizes")
            self.n_ctx, classes, self.n_chunk = map(int, np.frombuffer(start, INT32, offset=8))
            sizes = f"n_ctx {self.n_ctx}, n_vocab {classes}, n_chunk {self.n_chunk}"
            if self.n_ctx < 3 or classes < 1 or self.n_chunk < 1:
                raise ValueError(f"{name} claims {sizes}: expected at least 3, 1 and 1")
            rows = self.n_chunk * (self.n_ctx - 1 - self.n_ctx // 2)
            super().__init__(name, rows, classes, np.dtype(np.float32))
            self._begin = 20 + 4 * self.n_chunk * self.n_ctx
            self._columns = classes
            codes = (classes + 1) // 2 * 2
            check_size(name, self._begin + rows * (8 + 2 * codes), path.stat().st_size, sizes)
            self._row = np.dtype([("scale", "<f4"), ("low", "<f4"), ("codes", "<u2", (codes,))])
            #: int32 (n_chunk, n_ctx), the tokens of the text.
            self.tokens = np.empty((self.n_chunk, self.n_ctx), INT32)
            read_exactly(file, self.tokens, name)
        outside = np.flatnonzero((self.tokens < 0) | (self.tokens >= classes))
        if outside.size:
            which = int(outside[0])
            raise ValueError(f"{name} has token {self.tokens.flat[which]} at {which}: expected 0 .. {classes - 1}")
        self._path = path

    @property
    def targets(self) -> Array:
        """int64 (count,), the token after each position: what the tool takes for right."""
        return self.tokens[:, self.n_ctx // 2 + 1 :].astype(np.int64).reshape(-1)

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        with open(self._path, "rb", buffering=0) as file:
            window = Window(file, self.name)
            first = self.start

            def read(n: int) -> np.ndarray[Any, Any]:
                nonlocal first
                stored = window.numbers(self._begin + first * self._row.itemsize, (n,), self._row)
                scale, low = stored["scale"], stored["low"]
                damaged = np.flatnonzero(~((scale >= 0) & np.isfinite(scale) & np.isfinite(low)))
                if damaged.size:
                    k = int(damaged[0])
                    numbers = f"its scale is {scale[k]}, its low {low[k]}"
                    raise ValueError(f"{self.name} is damaged in row {first + k}: {numbers}")
                first += n
                return decode(stored["codes"][:, : self._columns], scale[:, None], low[:, None])

            yield read


class ScoredRows(Rows):
    """The rows at the positions that the tool has in its files, of the rows at all `n_ctx` positions of each chunk."""

    def __init__(self, rows: Rows, n_ctx: int) -> None:
        self._skipped, self._scored = n_ctx // 2, n_ctx - 1 - n_ctx // 2
        super().__init__(rows.name, rows.count // n_ctx * self._scored, rows.classes, rows.dtype)
        self._rows, self._n_ctx = rows, n_ctx

    def of_array(self, x: Array) -> Array:
        """Of an array of the rows at all positions."""
        scored = slice(self._skipped, self._skipped + self._scored)
        return x.reshape(-1, self._n_ctx, x.shape[1])[:, scored].reshape(self.count, x.shape[1])

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        chunk, at = divmod(self.start, self._scored)
        begin = chunk * self._n_ctx + self._skipped + at
        with self._rows.part(begin, self._rows.count)._reader() as read_all:
            first = self.start

            def read(n: int) -> Array:
                nonlocal first
                parts = []
                while n > 0:
                    at = first % self._scored
                    if at == 0 and first > self.start:
                        read_all(self._skipped + 1)  # the last of a chunk, too
                    parts.append(read_all(min(n, self._scored - at)))
                    first += len(parts[-1])
                    n -= len(parts[-1])
                return parts[0] if len(parts) == 1 else np.concatenate(parts)

            yield read


def decode(codes: Array, scale: Array, low: Array) -> Array:
    block = np.empty(codes.shape, np.float32)
    step = max(1, DECODED_AT_ONCE // codes.shape[1])
    with np.errstate(over="ignore"):  # of finite numbers that no log-probability is made of
        for k in range(0, codes.shape[0], step):
            some = slice(k, k + step)
            block[some] = codes[some]
            block[some] *= scale[some]
            block[some] += low[some]
    return block
