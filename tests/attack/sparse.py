"""The attacked function of a teacher that is known of some classes alone, with each of its tails and divergences."""

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


FUNCTIONS = {}
for name, fixed in FORMS.items():
    FUNCTIONS |= {
        f"sparse_distillation_loss {name} loss": Function(
            loss, exact_loss, "sparse_loss", "x listed_classes listed_values", FAMILIES, KINDS, fixed),
        f"sparse_distillation_loss {name} gradient": Function(
            gradient, lambda r, s: oracle.parts.gradient(parts_of(r, s), "none", r["g"]), "sparse_gradient",
            "x listed_classes listed_values g", FAMILIES, KINDS, fixed),
    }
