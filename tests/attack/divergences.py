"""Attacked functions of two rows of logits: the divergences, and distillation with a target."""

import numpy as np
import oracle
import oracle.divergence
import oracle.parts
from functions import Function, Unit, backward, options, target
from mpmath import mp, mpf
from operations import exact as formulas

import crossent as xe

KINDS = {"t": "teacher"}


def kl_loss(rows, shared):
    return xe.kl_div_with_logits(rows["x"], rows["t"], axis=1, reduction="none", **options(rows, shared))


def distillation_loss(rows, shared):
    return xe.distillation_loss(rows["x"], rows["t"], target(rows), axis=1, reduction="none", **options(rows, shared))


def parts_of(rows, shared):
    given = options(rows, shared)
    if "y" in rows or "q" in rows:
        return formulas.distillation_loss(rows["x"], rows["t"], target(rows), **given)
    return formulas.kl_div_with_logits(rows["x"], rows["t"], **given)


def promised(value, dtype):
    """What is promised of a divergence: 1e-5 of it, or of 2e-9, in float32."""
    relative, least = (mpf(1e-12), mpf(1e-18)) if dtype == np.float64 else (mpf(1e-5), mpf(2e-9))
    return max(value, least) * relative


def weights(rows):
    return [mpf(float(v)) for v in rows.get("v", np.ones(len(rows["x"])))]


def exact_kl_loss(rows, shared):
    """In parts of what is promised."""
    losses, _ = oracle.parts.value(parts_of(rows, shared), "none")
    units = [Unit(lambda dtype, value=value, v=v: promised(value / v, dtype) * v)
             for value, v in zip(losses, weights(rows), strict=True)]
    return losses, np.array(units, dtype=object)


def sizes_of_terms(x, t, divergence, temperature=1.0, beta=0.5):
    """The sum of |p log(p / q)| over the classes, of each divergence that is in this one with its share."""
    student, teacher = oracle.Row(x, temperature), oracle.Row(t, temperature)
    d = [oracle.divergence.log_ratio(a, b) for a, b in zip(teacher.log_softmax(), student.log_softmax(), strict=True)]
    of_student, of_teacher = [-v for v in d], d
    beta = {"forward": mpf(1), "reverse": mpf(0)}.get(divergence, mpf(beta))
    if divergence == "js":
        of_student = [oracle.divergence.to_mixture(v, beta) for v in d]
        of_teacher = [oracle.divergence.to_mixture(-v, 1 - beta) for v in d]
    sizes = [mp.fsum(oracle.dot(p, abs(v)) for p, v in zip(row.softmax(), ratios, strict=True))
             for row, ratios in ((teacher, of_teacher), (student, of_student))]
    return beta * sizes[0] + (1 - beta) * sizes[1]


def exact_distillation_loss(rows, shared):
    """Measured at the sizes of the divergence's terms where they are larger than the loss, and not below what is
    promised of a divergence that vanishes."""
    losses, scales = oracle.parts.value(parts_of(rows, shared), "none")
    units = np.empty(len(losses), dtype=object)
    given = {name: shared[name] for name in ("divergence", "temperature", "beta") if name in shared}
    for i, v in enumerate(weights(rows)):
        share = v * mpf(shared["alpha"]) * mpf(shared.get("temperature", 1.0)) ** 2
        if not mp.isfinite(losses[i]):
            units[i] = losses[i]
            continue
        scale = max(scales[i], share * sizes_of_terms(rows["x"][i], rows["t"][i], **given))
        units[i] = Unit(lambda dtype, scale=scale, share=share: max(
            oracle.ulp(scale, dtype), share * promised(0, dtype) / 4))
    return losses, units


def least_scales(rows, shared):
    """What entries of the reverse KL and of Jensen-Shannon are measured at where it is more than their terms.

    Those vanish with the log-ratios of rows that are equal but for a shift, and with the tails of confident rows: two
    spacings of 1, times the probability, and 8 of the least normal number. Before upstream gradients.
    """
    info = np.finfo(np.float64 if rows["x"].dtype == np.float64 else np.float32)
    t = mpf(shared.get("temperature", 1.0))
    factor = (1 - mpf(shared.get("beta", 0.5)) if shared["divergence"] == "js" else 1) / t
    share, least = 2 * mpf(float(info.eps)), 8 * mpf(float(info.smallest_normal))
    return np.array([[factor * weight * max(share * s, least) for s in oracle.Row(x, t).softmax()]
                     for x, weight in zip(rows["x"], weights(rows), strict=True)], dtype=object)


def exact_gradient(rows, shared):
    denominator = shared.get("denominator")
    upstream = rows["g"][0] if denominator else rows["g"]
    gradients, scales = oracle.parts.gradient(
        parts_of(rows, shared), "mean" if denominator else "none", upstream, denominator)
    if shared["divergence"] == "forward":
        return gradients, scales
    factor = abs(oracle.exact(np.broadcast_to(upstream, len(scales)))) / mpf(denominator or 1)
    share = mpf(shared["alpha"]) * mpf(shared.get("temperature", 1.0)) ** 2 if "alpha" in shared else 1
    return gradients, np.maximum(scales, factor[:, None] * share * least_scales(rows, shared))


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
