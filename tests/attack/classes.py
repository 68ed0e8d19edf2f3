"""Attacked functions of rows of logits: cross-entropy, its gradient and Hessian; the normalisers."""

import numpy as np
import oracle
import oracle.hessian
from functions import Function, Unit, backward, by_row, options, row_of, target, temperature_of
from mpmath import mpf

import crossent as xe

# ---- Cross-entropy ---------------------------------------------------------------------------------------------------


def cross_entropy_loss(rows, shared):
    return xe.cross_entropy(rows["x"], target(rows), axis=1, reduction="none", **options(rows, shared))


def exact_cross_entropy_loss(rows, shared):
    """With a z-loss, the error of logsumexp is carried through: that of log(total), where max + log(total) cancels."""
    given = options(rows, shared)
    losses = oracle.cross_entropy_rows(rows["x"], target(rows), **given)
    scales = abs(losses)
    if shared.get("z_loss"):
        for i, z in enumerate(z_losses(rows, shared)):
            row = row_of(rows, shared, i)
            scales[i] = max(scales[i], abs(2 * z * row.logsumexp() * row.log_total))
    return losses, scales


def exact_cross_entropy_gradient(rows, shared):
    denominator = shared.get("denominator")
    reduction = {"reduction": "mean", "mean_denominator": denominator} if denominator else {"reduction": "none"}
    upstream = rows["g"][0] if denominator else rows["g"]
    gradient, scales = oracle.cross_entropy_grad(
        rows["x"], target(rows), grad_output=upstream, **reduction, **options(rows, shared))
    if shared.get("z_loss"):  # the error of logsumexp is carried through: tests/oracle has that of log(total)
        for i, z in enumerate(z_losses(rows, shared)):
            factor = mpf(float(rows["g"][i])) / mpf(denominator or 1) / mpf(shared.get("temperature", 1.0))
            row = row_of(rows, shared, i)
            scales[i] = np.maximum(scales[i], abs(2 * z * row.logsumexp() * factor) / 4 * row.softmax())
    return gradient, scales


def z_losses(rows, shared):
    """v z of each row."""
    weights = rows["v"] if "v" in rows else np.ones(len(rows["x"]))
    return [mpf(shared["z_loss"]) * mpf(float(v)) for v in weights]


def hessian_options(rows, shared):
    return {name: value for name, value in options(rows, shared).items() if name != "temperature"}


def cross_entropy_hessian(rows, shared):
    return xe.cross_entropy_gradient_hessian(rows["x"], target(rows), axis=1, **hessian_options(rows, shared))[1]


def gradient_beside_hessian(rows, shared):
    return xe.cross_entropy_gradient_hessian(rows["x"], target(rows), axis=1, **hessian_options(rows, shared))[0]


def exact_cross_entropy_hessian(rows, shared):
    return oracle.hessian.cross_entropy(rows["x"], target(rows), **hessian_options(rows, shared))


# ---- Normalisers -----------------------------------------------------------------------------------------------------


def exact_logsumexp(rows, shared, i):
    """4 units are 1 ULP of the result and 4 ULP of log1p(tail)."""
    row = row_of(rows, shared, i)
    value = row.logsumexp()
    return value, Unit(lambda dtype: oracle.ulp(value, dtype) / 4 + oracle.ulp(row.log_total, dtype))


# ---- The table -------------------------------------------------------------------------------------------------------

LOSSES = ("", "temperature", "w v", "smoothing", "w v smoothing temperature", "z_loss", "w v smoothing z_loss")
GRADIENTS = tuple(f"{family} denominator".strip() if family else "" for family in LOSSES)
HESSIANS = ("", "w v", "smoothing", "w v smoothing")

FUNCTIONS = {
    "cross_entropy loss": Function(
        cross_entropy_loss, exact_cross_entropy_loss, "cross_entropy_loss", "x y", LOSSES),
    "cross_entropy gradient": Function(
        backward(xe.cross_entropy_backward), exact_cross_entropy_gradient, "cross_entropy_gradient", "x y g",
        GRADIENTS),
    "cross_entropy probabilities loss": Function(
        cross_entropy_loss, exact_cross_entropy_loss, "cross_entropy_loss", "x q", LOSSES),
    "cross_entropy probabilities gradient": Function(
        backward(xe.cross_entropy_backward), exact_cross_entropy_gradient, "cross_entropy_gradient", "x q g",
        GRADIENTS),
    "softmax": Function(
        lambda r, s: xe.softmax(r["x"], 1, **temperature_of(s)),
        by_row(lambda r, s, i: row_of(r, s, i).softmax()), "softmax", "x", ("", "temperature")),
    # Hardly more than an exponential and a quotient: the bar is so low that an exponential of 1.1 ULP is above it.
    "softmax of two classes": Function(
        lambda r, s: xe.softmax(r["x"], 1), by_row(lambda r, s, i: row_of(r, s, i).softmax()), "softmax", "x",
        classes=(2,)),
    "log_softmax": Function(
        lambda r, s: xe.log_softmax(r["x"], 1, **temperature_of(s)),
        by_row(lambda r, s, i: row_of(r, s, i).log_softmax()), "log_softmax", "x", ("", "temperature")),
    "logsumexp": Function(
        lambda r, s: xe.logsumexp(r["x"], 1), by_row(exact_logsumexp), "logsumexp", "x"),
    "logsumexp_backward": Function(
        lambda r, s: xe.logsumexp_backward(r["g"], r["x"], 1),
        by_row(lambda r, s, i: row_of(r, s, i).softmax() * mpf(float(r["g"][i]))), "logsumexp_backward", "x g"),
    "softmax_backward": Function(
        lambda r, s: xe.softmax_backward(r["t"], r["q"], 1, **temperature_of(s)),
        by_row(lambda r, s, i: oracle.softmax_backward(r["t"][i], r["q"][i], **temperature_of(s))),
        "softmax_backward", "q t", ("", "temperature"), {"q": "softmax", "t": "entries"}),
    "log_softmax_backward": Function(
        lambda r, s: xe.log_softmax_backward(r["t"], r["x"], 1, **temperature_of(s)),
        by_row(lambda r, s, i: oracle.log_softmax_backward(r["t"][i], r["x"][i], **temperature_of(s))),
        "log_softmax_backward", "x t", ("", "temperature"), {"x": "log_probs", "t": "entries"}),
    "hessian cross_entropy": Function(
        cross_entropy_hessian, exact_cross_entropy_hessian, "cross_entropy_hessian", "x y", HESSIANS),
    "hessian cross_entropy probabilities": Function(
        cross_entropy_hessian, exact_cross_entropy_hessian, "cross_entropy_hessian", "x q", HESSIANS),
    "hessian gradient": Function(
        gradient_beside_hessian, lambda r, s: exact_cross_entropy_gradient({**r, "g": np.ones(len(r["x"]))}, s),
        "cross_entropy_gradient", "x y", HESSIANS),
    "hessian gradient probabilities": Function(
        gradient_beside_hessian, lambda r, s: exact_cross_entropy_gradient({**r, "g": np.ones(len(r["x"]))}, s),
        "cross_entropy_gradient", "x q", HESSIANS),
}
