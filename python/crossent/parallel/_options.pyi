# The keyword arguments of the losses over classes, by what their result depends on. For annotations alone.
from typing import Literal, TypedDict

from numpy.typing import ArrayLike

from .._cross_entropy import _Options as CrossEntropy
from .._distillation_loss import _Options as Distillation
from .._kl_div_with_logits import _Options as Divergence
from .._types import EachRow, EachRowGradient, Reduced, ReducedGradient, ReducedKL, ReducedKLGradient
from ._shard_state import ShardState

class Shards(TypedDict, total=False):
    start: int | None
    n_classes: int | None

class CrossEntropyReduced(CrossEntropy, Shards, Reduced): ...
class CrossEntropyOfRows(CrossEntropy, Shards, EachRow): ...
class CrossEntropyReducedGradient(CrossEntropy, Shards, ReducedGradient): ...
class CrossEntropyOfRowsGradient(CrossEntropy, Shards, EachRowGradient): ...

class DistillationReduced(Distillation, Shards, Reduced): ...
class DistillationOfRows(Distillation, Shards, EachRow): ...
class DistillationReducedGradient(Distillation, Shards, ReducedGradient): ...
class DistillationOfRowsGradient(Distillation, Shards, EachRowGradient): ...

class DivergenceReduced(Divergence, Shards, ReducedKL): ...
class DivergenceOfRows(Divergence, Shards, EachRow): ...
class DivergenceReducedGradient(Divergence, Shards, ReducedKLGradient): ...
class DivergenceOfRowsGradient(Divergence, Shards, EachRowGradient): ...

class _State(TypedDict, total=False):
    weight: ArrayLike | None
    z_loss: float
    sample_weight: ArrayLike | None
    denominator: float | None

class StateReduced(_State, total=False):
    reduction: Literal["mean", "sum"]

class StateOfRows(_State):
    reduction: Literal["none"]

class _DivergenceState(_State, total=False):
    cross_entropy_state: ShardState | None
    alpha: float | None
    scale_by_temperature: bool
    temperature: ArrayLike | None

class DivergenceStateReduced(_DivergenceState, total=False):
    reduction: Literal["mean", "sum", "batchmean"]

class DivergenceStateOfRows(_DivergenceState):
    reduction: Literal["none"]
