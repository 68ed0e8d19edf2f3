"""The exact results that errors are measured against, and their units, against mpmath on every distribution and dtype.

An error is allowed 2^-9 of the unit that the harness measures in, so that what it reports is right to 0.002 ULP.
"""

import inputs
import numpy as np
import operations.exact
import oracle
import pytest
from crossent_calls import FAMILIES, functions, measured
from fast import SCALE
from fast.errors import Sum
from mpmath import mp, mpf
from oracle.agreement import ALLOWED, number
from reference import LEAST, REFERENCES
from summaries import result_dtype
from support import ALL

SHAPES = ((9, 2), (5, 7), (1, 40)) if ALL else ((4, 2), (2, 7), (1, 40))  # rows, classes


def exact(family, batch):
    """(name, values, what they are measured at; None: no ULP)"""
    for name, form, arrays, options in measured(family, batch):
        parts = form.exact(arrays, options)
        losses, loss_scales = oracle.parts.value(parts, "none")
        gradients, scales = oracle.parts.gradient(parts, "none")
        if form.loss.name in ("kl_div_with_logits", "distillation_loss"):
            least, t = mpf(LEAST[batch.rows["x"].dtype]), mpf(options["temperature"])
            if form.loss.name == "kl_div_with_logits":
                yield f"{name} relative", losses, None
            loss_scales = np.maximum(losses, least * (mpf(options["alpha"]) * t**2 if "alpha" in options else 1))
            if options.get("divergence", "forward") != "forward":
                student = operations.exact.FORMULAS["softmax"](arrays[0], temperature=options["temperature"])[0]
                factor = (1 - mpf(options["beta"]) if options["divergence"] == "js" else 1) / t
                scales = np.maximum(scales, student * factor * mpf(np.sqrt(2 * LEAST[batch.rows["x"].dtype])))
        yield name, losses, loss_scales
        yield f"{name} gradient", gradients, scales
    for name, (function, arrays, options) in functions(family, batch).items():
        yield name, *operations.exact.FORMULAS[function](*arrays, **options)


def beside_power(z):
    """A power of two as far as float64 can tell: measured in the spacing below it."""
    return z == 0 or abs(mp.frexp(abs(z))[0] - mpf(1) / 2) < mpf(2) ** -50


CASES = [(family, name) for family in FAMILIES for name in inputs.distributions(family)]


@pytest.mark.parametrize("dtype", inputs.DTYPES.values(), ids=str)
@pytest.mark.parametrize(("family", "distribution"), CASES)
def test_formulas(family, distribution, dtype):
    for n, c in SHAPES:
        batch = inputs.draw(family, distribution, dtype, c, n, 0)
        fast, seen = REFERENCES[family](batch), set()
        for name, wanted, scale in exact(family, batch):
            seen.add(name)
            result = result_dtype(name, dtype.name)
            wanted, got = np.ravel(np.array(list(wanted), dtype=object)), number(fast[name].value).ravel()
            unit = np.ravel(fast[name].unit(result))
            scale = wanted if scale is None else np.ravel(np.array(list(scale), dtype=object))
            for k, (a, w) in enumerate(zip(got, wanted, strict=True)):
                if mp.isinf(w):
                    assert a == w
                    continue
                assert abs(a - w * SCALE) <= ALLOWED * unit[k], (name, k)
                if name.endswith("relative"):
                    continue
                one, beside = oracle.ulp(scale[k], result) * SCALE, beside_power(scale[k])
                if isinstance(fast[name], Sum):
                    one, beside = one + oracle.ulp(w, result) * SCALE / 4, beside or beside_power(w)
                assert (0.5 if beside else 1 - 1e-15) <= unit[k] / one <= 1 + 1e-15, (name, k)
        assert seen == set(fast)
