"""Exact results of whole batches: what the formulas of tests/fast give for the measured calls of each family.

test_reference.py compares all of them with mpmath on every distribution.
"""

import fast
import numpy as np
from crossent_calls import FAMILIES, functions, measured
from fast.errors import Exact, Sum
from inputs import DTYPES
from measure import Relative

LEAST = {dtype: 1e-18 if dtype == np.float64 else 2e-9 for dtype in DTYPES.values()}  # P3


class Lift:
    """The arrays of a batch as the formulas take them; logits whose softmax several of them share, once."""

    def __init__(self, family, batch):
        shared = {} if family in ("binary", "probabilities") else {
            id(batch.rows[name]): batch.rows[name] for name in "xt" if name in batch.rows}
        self.logits = {key: fast.Logits(fast.widen(array)) for key, array in shared.items()}

    def __call__(self, array):
        if not isinstance(array, np.ndarray) or array.dtype.kind in "iu":
            return array
        return self.logits[id(array)] if id(array) in self.logits else fast.widen(array)


def of_losses(family, batch, lift):
    for name, form, arrays, options in measured(family, batch):
        parts = form.fast(arrays, options, lift)
        (loss, scale), (gradient, gradient_scale) = fast.value(parts), fast.gradient(parts)
        if form.loss.name in ("kl_div_with_logits", "distillation_loss"):
            least = LEAST[batch.rows["x"].dtype]
            if form.loss.name == "kl_div_with_logits":  # which promises a relative error, too
                yield f"{name} relative", Relative(loss, LEAST)
            share = options["alpha"] * options["temperature"] ** 2 if "alpha" in options else 1.0
            scale = fast.maximum(abs(loss), fast.like(loss, fast.SCALE * least * share))
            gradient_scale = with_least_ratio(gradient_scale, lift(arrays[0]), least, options)
        yield name, Exact(loss, scale)
        yield f"{name} gradient", Exact(gradient, gradient_scale)


def with_least_ratio(scale, logits, least, options):
    """In gradients of the reverse KL and of Jensen-Shannon, logarithms of ratios that are below those of the least
    divergence are measured as these."""
    if options.get("divergence", "forward") == "forward":
        return scale
    factor = fast.like(scale, 1.0 - options["beta"] if options["divergence"] == "js" else 1.0)
    factor = factor * fast.like(scale, np.sqrt(2 * least)) / fast.like(scale, options["temperature"])
    return fast.maximum(scale, logits.rows(temperature=options["temperature"]).softmax * factor)


def of_functions(family, batch, lift):
    for name, (function, arrays, options) in functions(family, batch).items():
        options = {option: lift(value) for option, value in options.items()}
        found = fast.FORMULAS[function](*map(lift, arrays), **options)
        yield name, (Sum if function == "logsumexp" else Exact)(*found)


def reference(family, batch):
    """{operation: Exact}"""
    lift = Lift(family, batch)
    return {**dict(of_losses(family, batch, lift)), **dict(of_functions(family, batch, lift))}


REFERENCES = {family: lambda batch, family=family: reference(family, batch) for family in FAMILIES}
