"""Types of arguments and results, for annotations only."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Scalar = np.floating[Any]
Loss = Scalar | Array
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
    reduction: Reduction
    denominator: float | None


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
