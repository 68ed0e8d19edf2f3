"""What a divergence comes to in a part of the classes, as a value that is put together anywhere and in any order."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

from ._divergence_states import from_bytes, to_bytes
from ._merge_tree import in_order
from ._messages import DAMAGED, pack, unpack
from ._ordered_sums import OrderedSums, Summed
from ._row_states import Rows, refuse_other_rows, rows_of


@dataclass(frozen=True, eq=False, repr=False)
class DivergenceSums(Summed):
    """What a divergence comes to over the classes from `start` to `stop`, from `partial_divergence`. It can be pickled.

    Attributes
    ----------
    start, stop : int
        Where these classes begin and end.
    exact : bool
        As of `RowStates`.

    Examples
    --------
    >>> from crossent import parallel
    >>> states = parallel.partial([[0.0, 0.0]], n_classes=2)
    >>> parallel.partial_divergence([[0.0, 0.0]], [[0.0, 0.0]], states, states)
    DivergenceSums(start=0, stop=2, exact=True)
    """

    rows: Rows
    divergence: str
    beta: float
    sums: OrderedSums

    def __repr__(self) -> str:
        return f"DivergenceSums(start={self.start}, stop={self.stop}, exact={self.exact})"

    @staticmethod
    def merge(*parts: DivergenceSums) -> DivergenceSums:
        """Over the classes of all `parts`, in any order; ValueError if they do not follow each other, or do not fit."""
        if not parts:
            raise ValueError("no sums were given: expected those of at least one shard")
        first = parts[0]
        for other in parts[1:]:
            refuse_other_rows(first.rows, other.rows)
            if (other.divergence, other.beta) != (first.divergence, first.beta):
                raise ValueError("the sums are of different divergences: expected one, with the same beta")
        ordered = in_order(parts, "classes", "part")
        return DivergenceSums(first.rows, first.divergence, first.beta, OrderedSums.merge(p.sums for p in ordered))

    def to_bytes(self) -> bytes:
        """For another process, of any version of Python and NumPy."""
        about = {"rows": asdict(self.rows), "divergence": self.divergence, "beta": self.beta}
        return pack(about, to_bytes(self.sums))

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Self:
        """From the result of `to_bytes`; ValueError if it is not one."""
        try:
            about, sums = unpack(data)
            return cls(rows_of(about["rows"]), about["divergence"], about["beta"], from_bytes(sums))
        except DAMAGED:
            raise ValueError("data is not a result of DivergenceSums.to_bytes: expected all of its bytes") from None
