"""Losses of logits whose classes or rows are split over processes."""

from ._cross_entropy_states import finish, gradient, partial
from ._distillation_over_classes import distillation_loss, kl_div_with_logits
from ._divergence_steps import finish_distillation, gradient_distillation, partial_divergence
from ._divergence_sums import DivergenceSums
from ._normaliser_states import log_softmax, logsumexp, softmax
from ._over_classes import cross_entropy, row_statistics
from ._over_rows import denominator, over_rows
from ._row_states import RowStates, merge
from ._row_sums import RowSums, row_sums
from ._shards import shard_range
from ._statistics_states import ShardStatistics, finish_statistics, partial_statistics

__all__ = [
    "DivergenceSums",
    "RowStates",
    "RowSums",
    "ShardStatistics",
    "cross_entropy",
    "denominator",
    "distillation_loss",
    "finish",
    "finish_distillation",
    "finish_statistics",
    "gradient",
    "gradient_distillation",
    "kl_div_with_logits",
    "log_softmax",
    "logsumexp",
    "merge",
    "over_rows",
    "partial",
    "partial_divergence",
    "partial_statistics",
    "row_statistics",
    "row_sums",
    "shard_range",
    "softmax",
]
