"""Calls as users write them, and the types of their results.

Type checkers read it (sessions lint and types): with a wrong type here, or a call that should not pass and does, they
fail. `test_typed_calls.py` runs it, and holds the results against the types.
"""

from typing import Any, Literal, assert_type

import numpy as np
from numpy.typing import NDArray

import crossent as xe
from crossent import information, parallel

Array = NDArray[Any]
Number = np.float64 | Any  # passes for a float, whatever the logits are

rng = np.random.default_rng(0)
x = rng.normal(size=(4, 3))
t = rng.normal(size=(4, 3)).astype(np.float32)
y = np.array([0, 2, 1, 1])
probs = xe.softmax(x)
binary = (x > 0).astype(np.float64)
out = np.empty_like(x)
row, column = np.ones(4), np.ones(3)


class Alone:
    """A communicator of one process."""

    rank, size = 0, 1

    def allgather(self, array: Array) -> list[Array]:
        return [array]


def a_float(logits: NDArray[np.float32]) -> float:
    loss: float = xe.cross_entropy(logits, y)
    return loss


def a_gradient(logits: Array) -> Array:
    _, gradient = xe.cross_entropy(logits, y, return_grad=True)
    return gradient


def rows_or_sum(reduction: Literal["none", "sum"]) -> Array | Number:
    return xe.cross_entropy(x, y, reduction=reduction)


a_float(t), a_gradient(x), rows_or_sum("none")

assert_type(xe.cross_entropy(x, y), Number)
assert_type(xe.cross_entropy(t, y, reduction="sum"), Number)
assert_type(xe.cross_entropy(x.tolist(), y, reduction="none"), Array)
assert_type(xe.cross_entropy(t, y, reduction="none", return_grad=True), tuple[Array, Array])
assert_type(
    xe.cross_entropy(
        x, y, axis=1, temperature=row, softcap=30.0, logit_bias=column, weight=column, ignore_index=None,
        label_smoothing=0.1, z_loss=1e-4, entropy_weight=0.01, sample_weight=row, reduction="mean", denominator=4.0,
        return_grad=True, grad_out=out),
    tuple[Number, Array],
)
assert_type(
    xe.row_statistics_backward(
        x, y, log_prob=row, entropy=row, logsumexp=row, axis=1, ignore_index=None, temperature=row, softcap=30.0,
        logit_bias=column, n_classes=3, out=out),
    Array,
)
assert_type(xe.nll_loss(x, y), Number)
assert_type(xe.nll_loss(t, y, reduction="none"), Array)
assert_type(xe.nll_loss(x, y, reduction="none", return_grad=True), tuple[Array, Array])
assert_type(
    xe.nll_loss(
        x, y, axis=1, weight=column, ignore_index=2, sample_weight=row, reduction="mean", denominator=4.0,
        return_grad=True, grad_out=out),
    tuple[Number, Array],
)
assert_type(xe.binary_cross_entropy(probs, binary), Number)
assert_type(xe.binary_cross_entropy(probs, binary, reduction="none"), Array)
assert_type(xe.binary_cross_entropy(probs, binary, reduction="none", return_grad=True), tuple[Array, Array])
assert_type(
    xe.binary_cross_entropy(
        probs, binary, weight=column, log_floor=None, reduction="mean", denominator=4.0, return_grad=True,
        grad_out=out),
    tuple[Number, Array],
)
assert_type(xe.binary_cross_entropy_with_logits(t, binary), Number)
assert_type(xe.binary_cross_entropy_with_logits(x, binary, reduction="none"), Array)
assert_type(xe.binary_cross_entropy_with_logits(x, binary, reduction="none", return_grad=True), tuple[Array, Array])
assert_type(
    xe.binary_cross_entropy_with_logits(
        x, binary, weight=column, pos_weight=2.0, label_smoothing=0.1, reduction="mean", denominator=4.0,
        return_grad=True, grad_out=out),
    tuple[Number, Array],
)
assert_type(xe.kl_div(x, probs), Number)
assert_type(xe.kl_div(x, probs, reduction="none"), Array)
assert_type(xe.kl_div(x, probs, reduction="none", return_grad=True), tuple[Array, Array])
assert_type(
    xe.kl_div(
        x, probs, log_target=False, axis=1, reduction="mean", denominator=4.0, return_grad=True, grad_out=out),
    tuple[Number, Array],
)
assert_type(xe.kl_div_with_logits(x, t), Number)
assert_type(xe.kl_div_with_logits(t, x, reduction="none"), Array)
assert_type(xe.kl_div_with_logits(x, t, reduction="none", return_grad=True), tuple[Array, Array])
assert_type(
    xe.kl_div_with_logits(
        x, t, axis=1, temperature=row, softcap=30.0, logit_bias=column, teacher_softcap=30.0,
        teacher_logit_bias=column, divergence="js", beta=0.25, sample_weight=row, reduction="mean",
        denominator=4.0, return_grad=True, grad_out=out),
    tuple[Number, Array],
)
assert_type(xe.distillation_loss(x, t), Number)
assert_type(xe.distillation_loss(x, t, y, reduction="none"), Array)
assert_type(xe.distillation_loss(x, t, y, reduction="none", return_grad=True), tuple[Array, Array])
assert_type(
    xe.distillation_loss(
        x, t, y, axis=1, temperature=row, softcap=30.0, logit_bias=column, teacher_softcap=30.0,
        teacher_logit_bias=column, alpha=0.5, scale_by_temperature=False, divergence="reverse", beta=0.5,
        weight=column, ignore_index=None, label_smoothing=0.1, z_loss=0.0, sample_weight=row, reduction="mean",
        denominator=4.0, return_grad=True, grad_out=out),
    tuple[Number, Array],
)
classes, values = np.array([[0], [2], [1], [1]]), np.full((4, 1), 0.5)
assert_type(xe.sparse_distillation_loss(x, classes, np.log(values)), Number)
assert_type(xe.sparse_distillation_loss(x, classes, np.log(values), reduction="none"), Array)
assert_type(
    xe.sparse_distillation_loss(x, classes, np.log(values), reduction="none", return_grad=True), tuple[Array, Array]
)
assert_type(
    xe.sparse_distillation_loss(
        x, classes, values, axis=1, values_are="logits", tail="bucket", divergence="forward", temperature=1.0,
        teacher_logsumexp=row, scale_by_temperature=False, sample_weight=row, reduction="mean", denominator=4.0,
        return_grad=True, grad_out=out),
    tuple[Number, Array],
)
assert_type(information.perplexity(x, y), Number)
fit: xe.TemperatureFit = xe.fit_temperature(
    x, probs, axis=1, softcap=30.0, logit_bias=column, ignore_index=-100, sample_weight=row,
    bounds=(1e-2, 1e2), max_passes=20)

alone = Alone()
assert_type(parallel.cross_entropy(x, y, alone), Number)
assert_type(parallel.cross_entropy(x, y, alone, start=0, n_classes=3, reduction="none"), Array)
assert_type(parallel.cross_entropy(x, y, alone, z_loss=0.1, return_grad=True, grad_out=out), tuple[Number, Array])
assert_type(parallel.kl_div_with_logits(x, t, alone, reduction="batchmean"), Number)
assert_type(parallel.kl_div_with_logits(x, t, alone, beta=0.5, return_grad=True), tuple[Number, Array])
assert_type(parallel.distillation_loss(x, t, y, alone, reduction="none"), Array)
assert_type(parallel.distillation_loss(x, t, y, alone, alpha=0.5, return_grad=True), tuple[Number, Array])
assert_type(parallel.over_rows(xe.cross_entropy, alone, x, y), Number)
assert_type(parallel.over_rows(xe.cross_entropy, alone, x, y, return_grad=True, grad_out=out), tuple[Number, Array])
assert_type(parallel.RowSums.of_rows(xe.cross_entropy, x, y).loss(), Number)
state = parallel.ShardState.of_shard(x, y, n_classes=3)
assert_type(state.loss(y, denominator=4.0), Number)
assert_type(state.loss(y, reduction="none"), Array)
sums = parallel.DivergenceState.of_shard(x, x, state, state)
assert_type(parallel.merge(sums).loss(state, state, y, alpha=0.5), Number)
assert_type(state.softmax(x), Array)


def refused() -> None:
    """What type checkers do not let pass. Never called."""
    xe.cross_entropy(x, y, reduction="average")  # type: ignore[call-overload]
    xe.cross_entropy(x, y, reduction="batchmean")  # type: ignore[call-overload]
    xe.cross_entropy(x, y, smoothing=0.1)  # type: ignore[call-overload]
    xe.cross_entropy(x, y, grad_out=out)  # type: ignore[call-overload]
    xe.cross_entropy(x, y, None)  # type: ignore[call-overload]
    xe.kl_div(x, probs, axis="last")  # type: ignore[call-overload]
    losses: float = xe.cross_entropy(x, y, reduction="none")  # type: ignore[assignment]
    print(losses)
