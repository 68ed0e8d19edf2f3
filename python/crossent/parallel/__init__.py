"""Losses of logits whose classes or rows are split over processes."""

from ._over_rows import denominator, over_rows
from ._row_sums import RowSums, row_sums

__all__ = ["RowSums", "denominator", "over_rows", "row_sums"]
