# The compiled core. Its arguments are positional and unchecked: the modules beside it do the checking. Floating arrays
# are of float16, bfloat16, float32 or float64, in any mixture, unless it says otherwise; they are converted on load.
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

# The losses. `target`: class indices in the rows' shape, or class probabilities in that of the logits. `weight` (C,) is
# of the dtype that the call computes in. `sample_weight`: the rows' shape, or 0-d. `grad_output`: the shape of the loss
# without reduction, or 0-d. `denominator`: 0.0 for the loss's own. `losses` is for "none" only. The value returned is
# the reduced loss, 0 with "none".
def cross_entropy(
    logits: NDArray[Any],
    target: NDArray[Any],
    axis: int,
    weight: NDArray[Any] | None,
    ignore_index: int | None,
    label_smoothing: float,
    sample_weight: NDArray[Any] | None,
    reduction: Literal["none", "mean", "sum", "exp_mean"],
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
def kl_div_with_logits(
    logits: NDArray[Any],
    teacher_logits: NDArray[Any],
    axis: int,
    temperature: float,
    divergence: Literal["forward", "reverse", "js"],
    beta: float,
    sample_weight: NDArray[Any] | None,
    reduction: Literal["none", "mean", "sum"],
    denominator: float,
    grad_output: NDArray[Any] | None,
    losses: NDArray[Any] | None,
    grad: NDArray[Any] | None,
    threads: int,
    /,
) -> np.float32 | np.float64: ...
def distillation_loss(
    logits: NDArray[Any],
    teacher_logits: NDArray[Any],
    target: NDArray[Any] | None,
    axis: int,
    temperature: float,
    alpha: float,
    scale_by_temperature: bool,
    divergence: Literal["forward", "reverse", "js"],
    beta: float,
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

# The losses of binary targets; the weights have the shape of the first argument.
def binary_cross_entropy(
    probs: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any] | None,
    log_floor: float,
    reduction: Literal["none", "mean", "sum"],
    denominator: float,
    grad_output: NDArray[Any] | None,
    losses: NDArray[Any] | None,
    grad: NDArray[Any] | None,
    threads: int,
    /,
) -> np.float32 | np.float64: ...
def binary_cross_entropy_with_logits(
    logits: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any] | None,
    pos_weight: NDArray[Any] | None,
    label_smoothing: float,
    reduction: Literal["none", "mean", "sum"],
    denominator: float,
    grad_output: NDArray[Any] | None,
    losses: NDArray[Any] | None,
    grad: NDArray[Any] | None,
    threads: int,
    /,
) -> np.float32 | np.float64: ...

# `axis` None: one loss per element.
def kl_div(
    log_probs: NDArray[Any],
    target: NDArray[Any],
    log_target: bool,
    axis: int | None,
    reduction: Literal["none", "mean", "sum"],
    denominator: float,
    grad_output: NDArray[Any] | None,
    losses: NDArray[Any] | None,
    grad: NDArray[Any] | None,
    threads: int,
    /,
) -> np.float32 | np.float64: ...

# The measures of information; `base`: 0.0 for nats.
def entropy(p: NDArray[Any], axis: int, base: float, out: NDArray[Any], threads: int, /) -> None: ...
def information_cross_entropy(
    p: NDArray[Any], q: NDArray[Any], axis: int, base: float, out: NDArray[Any], threads: int, /
) -> None: ...
def kl_divergence(
    p: NDArray[Any], q: NDArray[Any], axis: int, base: float, out: NDArray[Any], threads: int, /
) -> None: ...
def js_divergence(
    p: NDArray[Any], q: NDArray[Any], axis: int, base: float, out: NDArray[Any], threads: int, /
) -> None: ...
def entropy_with_logits(logits: NDArray[Any], axis: int, out: NDArray[Any], threads: int, /) -> None: ...

# The flat C-order position of the first element that is not in [low, high], as NaN never is; -1 if there is none.
def first_outside(x: NDArray[Any], low: float, high: float, threads: int, /) -> int: ...
def set_num_threads(n: int, /) -> None: ...
def num_threads(limit: int, /) -> int: ...
def info() -> dict[str, Any]: ...
def vmath(function: str, x: NDArray[Any], out: NDArray[Any], /) -> bool: ...
