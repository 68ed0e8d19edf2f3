# The keyword arguments of the losses over classes, by what their result depends on. For annotations alone.
from typing import Literal, TypedDict

from numpy.typing import ArrayLike

from .._cross_entropy import _Options as CrossEntropy
from .._distillation_loss import _Options as Distillation
from .._kl_div_with_logits import _Options as Divergence
from .._types import EachRow, EachRowGradient, Reduced, ReducedGradient, ReducedKL, ReducedKLGradient
from ._row_states import RowStates

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

class _Finish(TypedDict, total=False):
    weight: ArrayLike | None
    z_loss: float
    sample_weight: ArrayLike | None
    denominator: float | None

class FinishReduced(_Finish, total=False):
    reduction: Literal["mean", "sum"]

class FinishOfRows(_Finish):
    reduction: Literal["none"]

class _FinishDistillation(_Finish, total=False):
    cross_entropy_states: RowStates | None
    alpha: float | None
    scale_by_temperature: bool

class FinishDistillationReduced(_FinishDistillation, total=False):
    reduction: Literal["mean", "sum", "batchmean"]

class FinishDistillationOfRows(_FinishDistillation):
    reduction: Literal["none"]
