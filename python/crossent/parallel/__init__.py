"""Losses of logits whose classes or rows are split over processes."""

from ._distillation_over_classes import distillation_loss, kl_div_with_logits
from ._divergence_state import DivergenceState
from ._over_classes import cross_entropy, row_statistics
from ._over_rows import denominator, over_rows
from ._row_sums import RowSums
from ._shard_state import ShardState
from ._shards import shard_range
from ._state import merge
from ._statistics_state import StatisticsState

__all__ = [
    "DivergenceState",
    "RowSums",
    "ShardState",
    "StatisticsState",
    "cross_entropy",
    "denominator",
    "distillation_loss",
    "kl_div_with_logits",
    "merge",
    "over_rows",
    "row_statistics",
    "shard_range",
]
