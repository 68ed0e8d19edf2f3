# The compiled core. Its arguments are positional and unchecked: the modules beside it do the checking.
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

def softmax(x: NDArray[Any], axis: int, temperature: float, out: NDArray[Any], threads: int, /) -> None: ...
def log_softmax(x: NDArray[Any], axis: int, temperature: float, out: NDArray[Any], threads: int, /) -> None: ...
def logsumexp(x: NDArray[Any], axis: int, out: NDArray[Any], threads: int, /) -> None: ...
def softmax_backward(
    grad_output: NDArray[Any], probs: NDArray[Any], axis: int, temperature: float, out: NDArray[Any], threads: int, /
) -> None: ...
def log_softmax_backward(
    grad_output: NDArray[Any],
    log_probs: NDArray[Any],
    axis: int,
    temperature: float,
    out: NDArray[Any],
    threads: int,
    /,
) -> None: ...
def logsumexp_backward(
    grad_output: NDArray[Any], x: NDArray[Any], axis: int, out: NDArray[Any], threads: int, /
) -> None: ...

# `sample_weight` and `grad_output`: the rows' shape, or 0-d; `denominator`: 0.0 for the loss's own. The value returned
# is the reduced loss, 0 with "none".
def cross_entropy(
    logits: NDArray[Any],
    target: NDArray[Any],
    axis: int,
    weight: NDArray[Any] | None,
    ignore_index: int | None,
    label_smoothing: float,
    sample_weight: NDArray[Any] | None,
    reduction: Literal["none", "mean", "sum"],
    denominator: float,
    grad_output: NDArray[Any] | None,
    losses: NDArray[Any] | None,
    grad: NDArray[Any] | None,
    threads: int,
    /,
) -> np.float32 | np.float64: ...
def nll_loss(
    log_probs: NDArray[Any],
    target: NDArray[Any],
    axis: int,
    weight: NDArray[Any] | None,
    ignore_index: int | None,
    label_smoothing: float,
    sample_weight: NDArray[Any] | None,
    reduction: Literal["none", "mean", "sum"],
    denominator: float,
    grad_output: NDArray[Any] | None,
    losses: NDArray[Any] | None,
    grad: NDArray[Any] | None,
    threads: int,
    /,
) -> np.float32 | np.float64: ...
def set_num_threads(n: int, /) -> None: ...
def num_threads(limit: int, /) -> int: ...
def info() -> dict[str, Any]: ...
def vmath(function: str, x: NDArray[Any], out: NDArray[Any], /) -> bool: ...
