"""Types of arguments and results, for annotations only."""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Scalar = np.floating[Any]
Loss = Scalar | Array
Number = np.float64 | Any  # a reduced loss: np.float32, too, which is no subclass of float but may pass for one
Axes = int | tuple[int, ...] | None
Reduction = Literal["none", "mean", "sum"]
ReductionKL = Literal["none", "mean", "sum", "batchmean"]
Hessian = Literal["diagonal", "absolute"]
Divergence = Literal["forward", "reverse", "js"]
TeacherValues = Literal["log_probs", "logits", "probs", "weights"]
Tail = Literal["bucket", "zero", "renormalize", "uniform"]


class IndexLossOptions(TypedDict, total=False):
    """The keyword arguments that the losses over class indices share."""

    axis: int | None
    weight: ArrayLike | None
    ignore_index: int | None
    sample_weight: ArrayLike | None
    denominator: float | None


class LogitOptions(TypedDict, total=False):
    """From the logits that are given to those of the softmax."""

    temperature: ArrayLike
    softcap: float | None
    logit_bias: ArrayLike | None


class TeacherLogitOptions(TypedDict, total=False):
    teacher_softcap: float | None
    teacher_logit_bias: ArrayLike | None


# What the result of a loss depends on. Where there is but one row, its loss is a scalar with each reduction.
class _Alone(TypedDict, total=False):
    return_grad: Literal[False]


class _WithGradient(TypedDict, total=False):
    return_grad: Required[Literal[True]]
    grad_out: Array | None


class _Reduced(TypedDict, total=False):
    reduction: Literal["mean", "sum"]


class _ReducedKL(TypedDict, total=False):
    reduction: Literal["mean", "sum", "batchmean"]


class _EachRow(TypedDict):
    reduction: Literal["none"]


class Reduced(_Reduced, _Alone): ...
class ReducedGradient(_Reduced, _WithGradient): ...
class ReducedKL(_ReducedKL, _Alone): ...
class ReducedKLGradient(_ReducedKL, _WithGradient): ...
class EachRow(_EachRow, _Alone): ...
class EachRowGradient(_EachRow, _WithGradient): ...


class Build(TypedDict):
    """How the core was built, and the instruction sets of this machine."""

    version: str
    isa: str
    isa_levels: list[str]
    compiler: str
    openmp: str


class Config(Build):
    """The result of `config`."""

    threads: int
