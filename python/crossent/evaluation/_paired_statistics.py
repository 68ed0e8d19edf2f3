"""What two inputs say of the same rows: some numbers of each are kept, whatever the number of classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core, row_statistics
from .._kl_div_with_logits import kl_div_with_logits
from .._normalisers import log_softmax, logsumexp
from .._results import RowStatistics
from .._types import Array
from ._logit_options import LogitOptions
from ._logits_file import LOG_PROB_CUT, STORED_RANGE
from ._results import number_text
from ._token_statistics import Reading, result_dtype

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._rows import Rows


HUGE = 3e38  # beside which a log-probability is nothing


class Rows2D(NamedTuple):
    """A block of rows, as they were read."""

    x: Array
    """(n, C): logits, or log-probabilities as they were stored."""
    logsumexp: Array
    """(n,)"""
    is_stored: bool
    options: LogitOptions = LogitOptions()

    def log_probs(self) -> Array:
        if self.is_stored:
            return self.x
        if self.options.are_given():
            return log_softmax(self.x, axis=1, dtype=self.logsumexp.dtype, **self.options._asdict())
        return self.x - self.logsumexp[:, None]

    def is_kept(self) -> Array:
        """Where a class is not clipped, that is, known to be as likely as what is stored."""
        lowest = self.x.max(axis=1, keepdims=True) - STORED_RANGE
        return self.x >= lowest if self.is_stored else np.ones(self.x.shape, bool)


def divergences(base: Rows2D, other: Rows2D) -> tuple[Array, Array, Array]:
    """KL(base || other), KL(other || base), and their Jensen-Shannon divergence, of each row."""
    if base.is_stored or other.is_stored:
        b, q = unclipped(base, other)
        of_base = of_other = LogitOptions()
    else:
        (b, _, _, of_base), (q, _, _, of_other) = base, other
    if b.dtype == np.float64:  # as the result is; the other one is converted as it is read
        q = q.astype(np.float64, copy=False)
    return _core.row_divergences(q, b, 1, *of_other, *of_base)


def unclipped(base: Rows2D, other: Rows2D) -> tuple[Array, Array]:
    """Log-probabilities, up to a constant of each row, where those that are clipped are lowered.

    A clipped class is at or below its stored value, 16 below the largest. It is taken to be as likely as in the other
    model, up to the stored value: so it adds no more to a divergence than it must. A class that is clipped in both
    models is left out.
    """
    b, q = base.log_probs(), other.log_probs()
    b_kept, q_kept = base.is_kept(), other.is_kept()
    in_none = ~(b_kept | q_kept)
    return lowered(b, q, b_kept, in_none), lowered(q, b, q_kept, in_none)


def lowered(x: Array, other: Array, kept: Array, in_none: Array) -> Array:
    """The smaller of `x` and `other` where `x` is not kept, and less than any probability where neither is."""
    bound = np.multiply(kept, HUGE, dtype=x.dtype)  # as fast as memory, which np.where is not
    bound += other
    if np.isneginf(bound).any():
        bound[kept] = HUGE
    np.minimum(x, bound, out=bound)
    bound -= np.multiply(in_none, HUGE, dtype=x.dtype)
    return bound


def divergence_of_llama(base: Rows2D, other: Rows2D) -> Array:
    """``sum_c exp(b[c]) (b[c] - log q[c])`` over the classes with ``b[c] > -16``, b as stored, q = softmax(other).

    As ``M (KL(b / M || q) + log M)`` of their sum ``M = sum_c exp(b[c])``; it may be negative.
    """
    kept = np.where(base.x > LOG_PROB_CUT, base.x, -np.inf)
    log_mass = logsumexp(kept, axis=1).astype(np.float64)
    kl = np.asarray(kl_div_with_logits(other.x, kept, axis=1, reduction="none"))
    found: Array = np.exp(log_mass) * (kl + log_mass)
    return found


COMPUTED_AT_ONCE = 1 << 19  # classes of each input, which stay in the cache, and temporaries in the heap


class Side:
    """What is kept of one of the inputs."""

    def __init__(self, rows: Rows, options: LogitOptions, has_target: bool) -> None:
        self.rows, self.options = rows, options
        dtype = result_dtype(rows.dtype)
        self.log_prob = np.empty(rows.count, dtype) if has_target else None
        """Of the target; as it was stored, where log-probabilities are."""
        self.max_log_prob = np.empty(rows.count, dtype)
        self.argmax = np.empty(rows.count, np.int32)
        """-1 in rows that are ignored or have a NaN."""
        self.mass = np.empty(rows.count) if rows.is_stored_log_probs else None
        """The sum of the stored probabilities."""

    def arrays(self) -> dict[str, Array]:
        found = {name: getattr(self, name) for name in ("log_prob", "max_log_prob", "argmax", "mass")}
        return {name: array for name, array in found.items() if array is not None}

    def keep(self, at: slice, found: RowStatistics) -> None:
        stored = found.logsumexp if self.mass is not None else 0  # which row_statistics takes away
        if self.log_prob is not None and found.log_prob is not None:
            self.log_prob[at] = found.log_prob + stored
        self.max_log_prob[at] = found.max_log_prob + stored
        self.argmax[at] = found.argmax
        if self.mass is not None:
            self.mass[at] = np.exp(found.logsumexp.astype(np.float64))


class PairedStatistics(Reading[None]):
    """Both sides of each row. A subclass compares the rows, in `_compare`."""

    top_k = 0

    def __init__(
        self,
        base: Rows,
        other: Rows,
        target: Array | None,
        *,
        base_softcap: float | None = None,
        base_logit_bias: ArrayLike | None = None,
        other_softcap: float | None = None,
        other_logit_bias: ArrayLike | None = None,
        **options: Any,
    ) -> None:
        super().__init__((base, other), target, **options)
        of_base = LogitOptions.of(base, base_softcap, base_logit_bias, "base_")
        of_other = LogitOptions.of(other, other_softcap, other_logit_bias, "other_")
        self.base, self.other = (Side(*side, target is not None) for side in ((base, of_base), (other, of_other)))
        self.kl = np.empty(base.count, result_dtype(base.dtype, other.dtype))
        """KL(base || other)."""

    def _measure(self, first: int, parts: tuple[Array, ...]) -> None:
        """In blocks that stay in the cache, as each is read several times."""
        step = max(1, COMPUTED_AT_ONCE // parts[0].shape[1])
        for k in range(0, len(parts[0]), step):
            self._measure_few(first + k, parts[0][k : k + step], parts[1][k : k + step])

    def _measure_few(self, first: int, *logits: Array) -> None:
        at = slice(first, first + len(logits[0]))
        target = None if self.target is None else self.target[at]
        blocks, found = [], []
        for side, x in zip((self.base, self.other), logits, strict=True):
            top_k = min(self.top_k, x.shape[1])
            options = side.options._asdict()
            statistics = row_statistics(x, target, ignore_index=self._ignore_index, top_k=top_k, **options)
            self._refuse_nan(side.rows, first, statistics.argmax)
            side.keep(at, statistics)
            blocks.append(Rows2D(x, statistics.logsumexp, side.rows.is_stored_log_probs, side.options))
            found.append(statistics)
        self._compare(at, blocks[0], blocks[1], found[0], found[1])

    def _compare(self, at: slice, base: Rows2D, other: Rows2D, of_base: RowStatistics, of_other: RowStatistics) -> None:
        raise NotImplementedError

    def counted(self, first: int = 0) -> Array:
        """Of the rows from `first` on that were read, which are not ignored and have no NaN."""
        rows = slice(first, self.done)
        return (self.base.argmax[rows] >= 0) & (self.other.argmax[rows] >= 0)

    def arrays(self) -> dict[str, Array]:
        sides = {"base": self.base, "other": self.other}
        return {"kl": self.kl} | {f"{of}.{name}": x for of, side in sides.items() for name, x in side.arrays().items()}

    def columns(self) -> dict[str, Array | None]:
        """What is known of each row, by name."""
        return {
            "target": self.target,
            "kl": self.kl,
            "base_log_prob": self.base.log_prob,
            "other_log_prob": self.other.log_prob,
            "base_argmax": self.base.argmax,
            "other_argmax": self.other.argmax,
        }


class Divergences(PairedStatistics):
    """The divergences of each row, and how many of the most likely classes are the same."""

    top_k = 10

    def __init__(self, base: Rows, other: Rows, target: Array | None, **options: Any) -> None:
        super().__init__(base, other, target, **options)
        self.reverse_kl, self.js = np.empty((2, base.count), self.kl.dtype)
        self.in_top5, self.in_top10 = np.empty((2, base.count), np.int8)
        """How many of the 5 or 10 most likely classes of one are among those of the other."""

    def _compare(self, at: slice, base: Rows2D, other: Rows2D, of_base: RowStatistics, of_other: RowStatistics) -> None:
        self.kl[at], self.reverse_kl[at], self.js[at] = divergences(base, other)
        for k, common in ((5, self.in_top5), (10, self.in_top10)):
            a, b = of_base.top_k[:, :k], of_other.top_k[:, :k]
            common[at] = np.count_nonzero(a[:, :, None] == b[:, None, :], axis=(1, 2))

    def arrays(self) -> dict[str, Array]:
        names = ("reverse_kl", "js", "in_top5", "in_top10")
        return super().arrays() | {name: getattr(self, name) for name in names}

    def columns(self) -> dict[str, Array | None]:
        return super().columns() | {"reverse_kl": self.reverse_kl, "js": self.js}


def csv_lines(statistics: PairedStatistics, first: int) -> Iterator[tuple[str | int, ...]]:
    """Of the rows from `first` on that were read and count; numbers have the digits that tell them from all others."""
    rows = first + np.flatnonzero(statistics.counted(first))
    return zip(rows.tolist(), *(_texts(x, rows) for x in statistics.columns().values()), strict=True)


def _texts(x: Array | None, rows: Array) -> Iterable[str | int]:
    if x is None:
        return [""] * rows.size
    if x.dtype.kind == "i":
        return x[rows].tolist()  # type: ignore[no-any-return]
    return (number_text(value, x.itemsize) for value in x[rows].tolist())
