# The compiled core. The core function of a public function takes the same arguments in the same order, all of them by
# position, and checks them itself. It hands arguments that are not ordinary to `_validate`, which the first imports.
from contextvars import ContextVar
from typing import Any, Literal

import numpy as np

from ._results import RowStatistics
from ._types import Array, Build, Loss, Scalar

# The sums of blocks of 1,024 rows, (terms, blocks, 2): of the losses if `denominators` are two numbers, by which the
# gradient is divided; of what a mean divides by if it is None. With return_grad these and the gradient. Then the number
# of rows, the share of each term in the loss, and the dtype of the loss.
_SumsOfBlocks = tuple[Any, int, tuple[float, ...], np.dtype[Any]]

def softmax(x: object, axis: object, temperature: object, dtype: object, out: object, /) -> Array: ...
def softmax_backward(
    grad_output: object, probs: object, axis: object, temperature: object, out: object, /,
) -> Array: ...
def log_softmax(x: object, axis: object, temperature: object, dtype: object, out: object, /) -> Array: ...
def log_softmax_backward(
    grad_output: object, log_probs: object, axis: object, temperature: object, out: object, /,
) -> Array: ...
def logsumexp(x: object, axis: object, keepdims: object, out: object, /) -> Scalar | Array: ...
def logsumexp_backward(grad_output: object, x: object, axis: object, keepdims: object, out: object, /) -> Array: ...
def sigmoid(x: object, out: object, /) -> Scalar | Array: ...
def log_sigmoid(x: object, out: object, /) -> Scalar | Array: ...

def cross_entropy(
    logits: object, target: object, axis: object, temperature: object, weight: object, ignore_index: object,
    label_smoothing: object, z_loss: object, sample_weight: object, reduction: object, denominator: object,
    return_grad: object, grad_out: object, /,
) -> Loss | tuple[Loss, Array]: ...
def cross_entropy_backward(
    grad_output: object, logits: object, target: object, axis: object, temperature: object, weight: object,
    ignore_index: object, label_smoothing: object, z_loss: object, sample_weight: object, reduction: object,
    denominator: object, out: object, /,
) -> Array: ...
def cross_entropy_sums(
    denominators: object, logits: object, target: object, axis: object, temperature: object, weight: object,
    ignore_index: object, label_smoothing: object, z_loss: object, sample_weight: object, reduction: object,
    denominator: object, return_grad: object, grad_out: object, /,
) -> _SumsOfBlocks: ...
def fit_temperature(
    logits: object, target: object, axis: object, ignore_index: object, sample_weight: object, bounds: object, /,
) -> tuple[float, float, float, Literal["lower", "upper"] | None, int, bool]: ...
def row_statistics(
    logits: object, target: object, axis: object, ignore_index: object, temperature: object, top_k: object,
    n_classes: object, /,
) -> RowStatistics: ...
def cross_entropy_gradient_hessian(
    logits: object, target: object, axis: object, weight: object, ignore_index: object, label_smoothing: object,
    sample_weight: object, hessian: object, hessian_scale: object, hessian_floor: object, grad_out: object,
    hess_out: object, /,
) -> tuple[Array, Array]: ...
def nll_loss(
    log_probs: object, target: object, axis: object, weight: object, ignore_index: object, sample_weight: object,
    reduction: object, denominator: object, return_grad: object, grad_out: object, /,
) -> Loss | tuple[Loss, Array]: ...
def nll_loss_backward(
    grad_output: object, log_probs: object, target: object, axis: object, weight: object, ignore_index: object,
    sample_weight: object, reduction: object, denominator: object, out: object, /,
) -> Array: ...
def nll_loss_sums(
    denominators: object, log_probs: object, target: object, axis: object, weight: object, ignore_index: object,
    sample_weight: object, reduction: object, denominator: object, return_grad: object, grad_out: object, /,
) -> _SumsOfBlocks: ...
def kl_div_with_logits(
    logits: object, teacher_logits: object, axis: object, temperature: object, divergence: object, beta: object,
    sample_weight: object, reduction: object, denominator: object, return_grad: object, grad_out: object, /,
) -> Loss | tuple[Loss, Array]: ...
def kl_div_with_logits_backward(
    grad_output: object, logits: object, teacher_logits: object, axis: object, temperature: object, divergence: object,
    beta: object, sample_weight: object, reduction: object, denominator: object, out: object, /,
) -> Array: ...
def kl_div_with_logits_sums(
    denominators: object, logits: object, teacher_logits: object, axis: object, temperature: object, divergence:
    object, beta: object, sample_weight: object, reduction: object, denominator: object, return_grad: object,
    grad_out: object, /,
) -> _SumsOfBlocks: ...
def row_divergences(logits: object, teacher_logits: object, axis: object, /) -> tuple[Array, Array, Array]: ...
def distillation_loss(
    logits: object, teacher_logits: object, target: object, axis: object, temperature: object, alpha: object,
    scale_by_temperature: object, divergence: object, beta: object, weight: object, ignore_index: object,
    label_smoothing: object, z_loss: object, sample_weight: object, reduction: object, denominator: object,
    return_grad: object, grad_out: object, /,
) -> Loss | tuple[Loss, Array]: ...
def distillation_loss_backward(
    grad_output: object, logits: object, teacher_logits: object, target: object, axis: object, temperature: object,
    alpha: object, scale_by_temperature: object, divergence: object, beta: object, weight: object, ignore_index: object,
    label_smoothing: object, z_loss: object, sample_weight: object, reduction: object, denominator: object,
    out: object, /,
) -> Array: ...
def distillation_loss_sums(
    denominators: object, logits: object, teacher_logits: object, target: object, axis: object, temperature: object,
    alpha: object, scale_by_temperature: object, divergence: object, beta: object, weight: object, ignore_index:
    object, label_smoothing: object, z_loss: object, sample_weight: object, reduction: object, denominator: object,
    return_grad: object, grad_out: object, /,
) -> _SumsOfBlocks: ...
def sparse_distillation_loss(
    logits: object, classes: object, values: object, axis: object, values_are: object, tail: object, divergence: object,
    temperature: object, teacher_logsumexp: object, scale_by_temperature: object, sample_weight: object,
    reduction: object, denominator: object, return_grad: object, grad_out: object, /,
) -> Loss | tuple[Loss, Array]: ...
def sparse_distillation_loss_backward(
    grad_output: object, logits: object, classes: object, values: object, axis: object, values_are: object,
    tail: object, divergence: object, temperature: object, teacher_logsumexp: object, scale_by_temperature: object,
    sample_weight: object, reduction: object, denominator: object, out: object, /,
) -> Array: ...
def sparse_distillation_loss_sums(
    denominators: object, logits: object, classes: object, values: object, axis: object, values_are: object, tail:
    object, divergence: object, temperature: object, teacher_logsumexp: object, scale_by_temperature: object,
    sample_weight: object, reduction: object, denominator: object, return_grad: object, grad_out: object, /,
) -> _SumsOfBlocks: ...
def binary_cross_entropy(
    probs: object, target: object, weight: object, log_floor: object, reduction: object, denominator: object,
    return_grad: object, grad_out: object, /,
) -> Loss | tuple[Loss, Array]: ...
def binary_cross_entropy_backward(
    grad_output: object, probs: object, target: object, weight: object, log_floor: object, reduction: object,
    denominator: object, out: object, /,
) -> Array: ...
def binary_cross_entropy_with_logits(
    logits: object, target: object, weight: object, pos_weight: object, label_smoothing: object, reduction: object,
    denominator: object, return_grad: object, grad_out: object, /,
) -> Loss | tuple[Loss, Array]: ...
def binary_cross_entropy_with_logits_backward(
    grad_output: object, logits: object, target: object, weight: object, pos_weight: object, label_smoothing: object,
    reduction: object, denominator: object, out: object, /,
) -> Array: ...
def binary_cross_entropy_with_logits_gradient_hessian(
    logits: object, target: object, weight: object, pos_weight: object, label_smoothing: object, hessian: object,
    hessian_scale: object, hessian_floor: object, grad_out: object, hess_out: object, /,
) -> tuple[Array, Array]: ...
def binary_cross_entropy_with_logits_sums(
    denominators: object, logits: object, target: object, weight: object, pos_weight: object, label_smoothing: object,
    reduction: object, denominator: object, return_grad: object, grad_out: object, /,
) -> _SumsOfBlocks: ...
def binary_cross_entropy_sums(
    denominators: object, probs: object, target: object, weight: object, log_floor: object, reduction: object,
    denominator: object, return_grad: object, grad_out: object, /,
) -> _SumsOfBlocks: ...
def kl_div(
    log_probs: object, target: object, log_target: object, axis: object, reduction: object, denominator: object,
    return_grad: object, grad_out: object, /,
) -> Loss | tuple[Loss, Array]: ...
def kl_div_backward(
    grad_output: object, log_probs: object, target: object, log_target: object, axis: object, reduction: object,
    denominator: object, out: object, /,
) -> Array: ...

# Of crossent.information.
def entropy(p: object, axis: object, base: object, /) -> Scalar | Array: ...
def information_cross_entropy(p: object, q: object, axis: object, base: object, /) -> Scalar | Array: ...
def kl_divergence(p: object, q: object, axis: object, base: object, /) -> Scalar | Array: ...
def js_divergence(p: object, q: object, axis: object, base: object, /) -> Scalar | Array: ...
def entropy_with_logits(logits: object, axis: object, /) -> Scalar | Array: ...
# Of rows whose classes are in shards: `whole` is an array of one number in the shape and dtype of all logits.
def shard_subtrees(
    whole: object, logits: object, start: object, block_counts: object, target: object, probabilities: object,
    axis: object, temperature: object, weight: object, ignore_index: object, label_smoothing: object, /,
) -> tuple[Array, Array | None, bool]: ...
def merge_subtrees(
    a: object, b: object, extended: object, smoothed: object, probabilities: object, temperature: object, /,
) -> Array: ...
def cross_entropy_of_shards(
    whole: object, subtree: object, target_logits: object, by_probabilities: object, logits: object,
    start: object, target: object, probabilities: object, axis: object, temperature: object, weight: object,
    ignore_index: object, label_smoothing: object, z_loss: object, sample_weight: object, reduction: object,
    denominator: object, return_grad: object, grad_out: object, /,
) -> Loss | tuple[Loss, Array]: ...
def cross_entropy_of_shards_backward(
    grad_output: object, whole: object, subtree: object, target_logits: object,
    by_probabilities: object, logits: object, start: object, target: object, probabilities: object, axis: object,
    temperature: object, weight: object, ignore_index: object, label_smoothing: object, z_loss: object,
    sample_weight: object, reduction: object, denominator: object, out: object, /,
) -> Array: ...
def divergence_subtrees(
    whole: object, student: object, teacher: object, student_smoothed: object, student_probabilities: object,
    logits: object, teacher_logits: object, start: object, block_counts: object, axis: object,
    temperature: object, divergence: object, beta: object, /,
) -> Array: ...
def distillation_of_shards(
    whole: object, student: object, teacher: object, subtree: object, target_logits: object, sums: object,
    by_probabilities: object, logits: object, teacher_logits: object, start: object, target: object,
    probabilities: object, axis: object, temperature: object, alpha: object, scale_by_temperature: object,
    divergence: object, beta: object, weight: object, ignore_index: object, label_smoothing: object, z_loss: object,
    sample_weight: object, reduction: object, denominator: object, return_grad: object, grad_out: object, /,
) -> Loss | tuple[Loss, Array]: ...
def distillation_of_shards_backward(
    grad_output: object, whole: object, student: object, teacher: object, subtree: object, target_logits: object,
    sums: object, by_probabilities: object, logits: object, teacher_logits: object, start: object,
    target: object, probabilities: object, axis: object, temperature: object, alpha: object,
    scale_by_temperature: object, divergence: object, beta: object, weight: object, ignore_index: object,
    label_smoothing: object, z_loss: object, sample_weight: object, reduction: object, denominator: object,
    out: object, /,
) -> Array: ...
def softmax_of_shard(
    whole: object, subtree: object, smoothed: object, probabilities: object, logits: object,
    start: object, axis: object, temperature: object, out: object, /,
) -> Array: ...
def log_softmax_of_shard(
    whole: object, subtree: object, smoothed: object, probabilities: object, logits: object,
    start: object, axis: object, temperature: object, out: object, /,
) -> Array: ...
def logsumexp_of_shards(
    whole: object, subtree: object, smoothed: object, probabilities: object, axis: object, /,
) -> Scalar | Array: ...
def predict_shard(
    whole: object, subtree: object, target_logits: object, smoothed: object, probabilities: object,
    logits: object, start: object, block_counts: object, target: object, axis: object, temperature: object,
    ignore_index: object, top_k: object, /,
) -> tuple[Array, Array, Array, Array]: ...
def row_statistics_of_shards(
    whole: object, subtree: object, target_logits: object, smoothed: object, probabilities: object,
    sums: object, ahead: object, top_classes: object, top_logits: object, target: object, axis: object,
    temperature: object, ignore_index: object, top_k: object, /,
) -> RowStatistics: ...
def perplexity(logits: object, target: object, axis: object, ignore_index: object, /) -> Scalar: ...

# For this package alone. Sums are float64 arrays of (hi, lo): a sum and its rounding error.
def sum_blocks(x: Array, /) -> Array: ...  # of 1,024 of some numbers: (blocks, 2)
def merge_sums(sums: Array, /) -> Array: ...  # the sum over the first of three axes, in the order of a reduction
def loss_of_sums(sums: Array, denominators: Array, shares: Array, is_float64: bool, /) -> Scalar: ...

thread_limits: ContextVar[tuple[int, ...]]

def set_num_threads(n: int, /) -> None: ...
def num_threads() -> int: ...
def info() -> Build: ...

# ValueError unless all numbers of a floating array are in [low, high], as NaN never is.
def within(name: str, x: Array, low: float, high: float, /) -> None: ...
def vmath(function: str, x: Array, out: Array, /) -> bool: ...
