"""Attacked functions of two rows of logits: the divergences, and distillation with a target."""

import numpy as np
import oracle.divergence
import oracle.parts
from functions import Function, Unit, backward, options, target
from mpmath import mpf
from operations import exact as formulas

import crossent as xe

KINDS = {"t": "teacher"}


def kl_loss(rows, shared):
    return xe.kl_div_with_logits(rows["x"], rows["t"], axis=1, reduction="none", **options(rows, shared))


def distillation_loss(rows, shared):
    return xe.distillation_loss(rows["x"], rows["t"], target(rows), axis=1, reduction="none", **options(rows, shared))


def promised(value, w):
    """A part of what is promised of a divergence: 1e-5 of it in float32, of 2e-9 at least."""
    def unit(dtype):
        relative, least = (mpf(1e-12), mpf(1e-18)) if dtype == np.float64 else (mpf(1e-5), mpf(2e-9))
        return max(abs(value), least * w) * relative
    return Unit(unit)


def parts_of(rows, shared):
    given = options(rows, shared)
    if "y" in rows or "q" in rows:
        return formulas.distillation_loss(rows["x"], rows["t"], target(rows), **given)
    return formulas.kl_div_with_logits(rows["x"], rows["t"], **given)


def exact_kl_loss(rows, shared):
    losses, _ = oracle.parts.value(parts_of(rows, shared), "none")
    weights = rows.get("v", np.ones(len(losses)))
    return losses, np.array([promised(v, mpf(float(w))) for v, w in zip(losses, weights, strict=True)], dtype=object)


def exact_distillation_loss(rows, shared):
    return oracle.parts.value(parts_of(rows, shared), "none")


def exact_gradient(rows, shared):
    denominator = shared.get("denominator")
    upstream = rows["g"][0] if denominator else rows["g"]
    return oracle.parts.gradient(parts_of(rows, shared), "mean" if denominator else "none", upstream, denominator)


KL = ("", "temperature v denominator")
DISTILLATION = ("alpha", "temperature alpha", "temperature alpha w v smoothing")


def without_denominator(families):
    return tuple(family.replace(" denominator", "") for family in families)


def with_beta(families, divergence):
    return tuple(f"{family} beta".strip() for family in families) if divergence == "js" else families


FUNCTIONS = {}
for name in oracle.divergence.DIVERGENCES:
    FUNCTIONS |= {
        f"kl_div_with_logits {name} loss": Function(
            kl_loss, exact_kl_loss, "divergence_loss", "x t", with_beta(without_denominator(KL), name), KINDS,
            {"divergence": name}),
        f"kl_div_with_logits {name} gradient": Function(
            backward(xe.kl_div_with_logits_backward), exact_gradient, "divergence_gradient", "x t g",
            with_beta(KL, name), KINDS, {"divergence": name}),
    }
    for with_target, arrays in (("indices", "x t y"), ("probabilities", "x t q")):
        FUNCTIONS |= {
            f"distillation_loss {name} {with_target} loss": Function(
                distillation_loss, exact_distillation_loss, "distillation_loss", arrays,
                with_beta(DISTILLATION, name), KINDS, {"divergence": name}),
            f"distillation_loss {name} {with_target} gradient": Function(
                backward(xe.distillation_loss_backward), exact_gradient, "distillation_gradient", f"{arrays} g",
                with_beta(DISTILLATION, name), KINDS, {"divergence": name}),
        }
