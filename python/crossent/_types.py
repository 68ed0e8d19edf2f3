"""Types of the arguments and results of losses, for annotations only."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Loss = np.floating[Any] | Array
Reduction = Literal["none", "mean", "sum"]
ReductionKL = Literal["none", "mean", "sum", "batchmean"]
Divergence = Literal["forward", "reverse", "js"]


class IndexLossOptions(TypedDict, total=False):
    """The keyword arguments that the losses over class indices share."""

    axis: int | None
    weight: ArrayLike | None
    ignore_index: int | None
    sample_weight: ArrayLike | None
    reduction: Reduction
    denominator: float | None
