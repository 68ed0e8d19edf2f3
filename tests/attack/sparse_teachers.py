"""The attacked function of a teacher that is known of some classes alone, with each of its tails and divergences."""

import numpy as np
import oracle
import oracle.parts
import oracle.sparse
from functions import Function, backward, options
from mpmath import mp, mpf
from operations import exact as formulas
from oracle import dot
from oracle.divergence import to_mixture

import crossent as xe

# {name: options}: those of the registry of losses.
FORMS = {"bucket": {"tail": "bucket"}, "zero": {"tail": "zero"}, "uniform": {"tail": "uniform"},
         "renormalize": {"tail": "renormalize"}, "reverse": {"divergence": "reverse"}, "js": {"divergence": "js"}}
FAMILIES = ("", "v")
KINDS = {"listed_classes": "listed classes", "listed_values": "listed values"}


def arguments(rows):
    return rows["x"], rows["listed_classes"], rows["listed_values"]


def given(rows, shared):
    return {**options(rows, shared), **{name: shared[name] for name in ("tail",) if name in shared}}


def loss(rows, shared):
    return xe.sparse_distillation_loss(*arguments(rows), axis=1, reduction="none", **given(rows, shared))


def gradient(rows, shared):
    return backward(lambda g, x, **how: xe.sparse_distillation_loss_backward(
        g, *arguments(rows), **how, **given(rows, shared)))({name: rows[name] for name in ("x", "g")}, {})


def parts_of(rows, shared):
    return formulas.sparse_distillation_loss(*arguments(rows), **given(rows, shared))


def sizes_of_terms(rows, shared, i):
    """The sum of |p log(p / q)| over the classes, of the divergences that are in this one."""
    how = {name: value for name, value in given(rows, shared).items() if name == "tail"}
    row = oracle.sparse.SparseRow(rows["x"][i], rows["listed_classes"][i], rows["listed_values"][i], **how)
    kind, half = shared.get("divergence", "forward"), mpf(0.5)
    mixed = {"forward": lambda p, q, d: dot(p, abs(d)), "reverse": lambda p, q, d: dot(q, abs(d)),
             "js": lambda p, q, d: (dot(q, abs(to_mixture(d, half))) + dot(p, abs(to_mixture(-d, half)))) / 2}[kind]
    return mp.fsum(mixed(*category) for category in row.categories()) if row.p else oracle.ZERO


def exact_loss(rows, shared):
    """Measured at the sizes of the terms where they are larger: a divergence that vanishes is a sum of two signs."""
    losses, scales = oracle.parts.value(parts_of(rows, shared), "none")
    for i in range(len(losses)):
        v = mpf(float(rows["v"][i])) if "v" in rows else 1
        scales[i] = max(scales[i], v * sizes_of_terms(rows, shared, i))
    return losses, scales


def exact_gradient(rows, shared):
    """Of the reverse KL and of Jensen-Shannon, a probability that is subnormal in float64 is rounded before it meets a
    log-ratio of up to 745: measured at 2^7 of the least normal number, times the upstream gradient."""
    gradients, scales = oracle.parts.gradient(parts_of(rows, shared), "none", rows["g"])
    if shared.get("divergence", "forward") == "forward" or rows["x"].dtype != np.float64:
        return gradients, scales
    weights = rows.get("v", np.ones(len(scales)))
    least = [abs(mpf(float(g)) * mpf(float(v))) * mpf(2) ** -1015 for g, v in zip(rows["g"], weights, strict=True)]
    return gradients, np.array([[max(s, floor) for s in row] for row, floor in zip(scales, least, strict=True)], object)


FUNCTIONS = {}
for name, fixed in FORMS.items():
    FUNCTIONS |= {
        f"sparse_distillation_loss {name} loss": Function(
            loss, exact_loss, "sparse_loss", "x listed_classes listed_values", FAMILIES, KINDS, fixed),
        f"sparse_distillation_loss {name} gradient": Function(
            gradient, exact_gradient, "sparse_gradient",
            "x listed_classes listed_values g", FAMILIES, KINDS, fixed),
    }
