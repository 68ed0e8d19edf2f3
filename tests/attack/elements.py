"""Attacked functions of single elements: rows of one class, all of whose arrays but v and g are (n, 1)."""

import numpy as np
import oracle
import oracle.binary
import oracle.divergence
import oracle.hessian
from functions import Function
from mpmath import mpf

import crossent as xe

CLASSES = (1,)
WITH_LOGITS = {"x": "elements", "q": "events", "t": "weight"}
OF_PROBABILITIES = {"x": "events", "q": "events"}


def column(rows, name):
    return rows[name][:, None] if name in rows and rows[name].ndim == 1 else rows.get(name)


def options(rows, shared):
    found = {"weight": column(rows, "v"), "pos_weight": column(rows, "t"), "label_smoothing": shared.get("smoothing")}
    return {name: value for name, value in found.items() if value is not None}


def loss(function):
    return lambda r, s: function(r["x"], r["q"], reduction="none", **options(r, s))


def gradient(function, **fixed):
    def run(rows, shared):
        if shared.get("denominator"):
            how = {"reduction": "mean", "denominator": shared["denominator"]}
            return function(rows["g"][0], rows["x"], rows["q"], **how, **fixed, **options(rows, shared))
        return function(column(rows, "g"), rows["x"], rows["q"], reduction="none", **fixed, **options(rows, shared))
    return run


def factor(rows, shared):
    """The upstream gradient of each row, over the denominator."""
    return oracle.exact(column(rows, "g")) / mpf(shared.get("denominator") or 1)


def exact_loss(function):
    return lambda r, s: (function(r["x"], r["q"], **options(r, s))[0], None)


def exact_gradient(function):
    def exact(rows, shared):
        _, gradients, scales = function(rows["x"], rows["q"], **options(rows, shared))
        return factor(rows, shared) * gradients, abs(factor(rows, shared)) * scales
    return exact


def exact_kl_div(log_target):
    return lambda r, s: oracle.divergence.kl_div(r["x"], r["q"], log_target)[:2]



FAMILIES = ("", "v", "v t", "smoothing", "v t smoothing")


def with_denominator(families):
    return tuple(f"{family} denominator".strip() for family in families)


bce, bce_logits = oracle.binary.binary_cross_entropy, oracle.binary.binary_cross_entropy_with_logits
second_derivative = xe.binary_cross_entropy_with_logits_gradient_hessian

FUNCTIONS = {
    "sigmoid": Function(
        lambda r, s: xe.sigmoid(r["x"]),
        lambda r, s: (np.vectorize(oracle.binary.sigmoid, otypes=[object])(oracle.exact(r["x"])), None),
        "sigmoid", "x", kinds=WITH_LOGITS, classes=CLASSES),
    "log_sigmoid": Function(
        lambda r, s: xe.log_sigmoid(r["x"]),
        lambda r, s: (-np.vectorize(oracle.binary.softplus, otypes=[object])(-oracle.exact(r["x"])), None),
        "log_sigmoid", "x", kinds=WITH_LOGITS, classes=CLASSES),
    "binary_cross_entropy_with_logits loss": Function(
        loss(xe.binary_cross_entropy_with_logits), exact_loss(bce_logits), "binary_logits_loss", "x q", FAMILIES,
        kinds=WITH_LOGITS, classes=CLASSES),
    "binary_cross_entropy_with_logits gradient": Function(
        gradient(xe.binary_cross_entropy_with_logits_backward), exact_gradient(bce_logits), "binary_logits_gradient",
        "x q g", with_denominator(FAMILIES), kinds=WITH_LOGITS, classes=CLASSES),
    "hessian binary_cross_entropy_with_logits": Function(
        lambda r, s: second_derivative(r["x"], r["q"], **options(r, s))[1],
        lambda r, s: oracle.hessian.binary_cross_entropy_with_logits(r["x"], r["q"], **options(r, s)),
        "binary_logits_hessian", "x q", FAMILIES, kinds=WITH_LOGITS, classes=CLASSES),
    "binary_cross_entropy loss": Function(
        loss(xe.binary_cross_entropy), exact_loss(bce), "binary_loss", "x q", ("", "v"),
        kinds=OF_PROBABILITIES, classes=CLASSES),
    "binary_cross_entropy gradient": Function(
        gradient(xe.binary_cross_entropy_backward), exact_gradient(bce), "binary_gradient", "x q g",
        with_denominator(("", "v")), kinds=OF_PROBABILITIES, classes=CLASSES),
    "kl_div loss": Function(
        lambda r, s: xe.kl_div(r["x"], r["q"], reduction="none"), exact_kl_div(False), "kl_div_loss", "x q",
        kinds={"x": "log_events", "q": "events"}, classes=CLASSES),
    "kl_div log_target loss": Function(
        lambda r, s: xe.kl_div(r["x"], r["q"], log_target=True, reduction="none"), exact_kl_div(True),
        "kl_div_log_target_loss", "x q", kinds={"x": "log_events", "q": "log_events"}, classes=CLASSES),
}
