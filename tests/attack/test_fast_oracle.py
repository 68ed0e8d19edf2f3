"""The fast oracle measures the errors that mpmath does, for every function of the search."""

import itertools

import fast_oracle
import numpy as np
import pytest
from functions import exact_errors
from targets import FUNCTIONS, Target

pytestmark = pytest.mark.skipif(fast_oracle.unavailable() is not None, reason=str(fast_oracle.unavailable()))
ROWS = 8


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_those_of_mpmath(name, rng):
    """Of results that are off by up to 4 ULP more, with each family of options."""
    function, close = FUNCTIONS[name], []
    counts = itertools.cycle(function.classes or (2, 3, 17))
    for family, dtype in itertools.product(function.families, ("float32", "float64")):
        target, classes = Target(name, family, dtype), next(counts)
        rows, shared = target.draw_rows(rng, ROWS, classes), target.draw_shared(rng, classes)
        if shared.get("denominator") and "g" in rows:
            rows["g"][:] = rows["g"][0]
        result = target.run(rows, shared)
        steps = rng.integers(-4, 5, result.shape) * 2.0 ** -fast_oracle.format_of(result.dtype).nmant
        result = (result.astype(np.longdouble) * (1 + steps)).astype(result.dtype)
        found, _ = fast_oracle.errors(function.judge, rows, shared, result)
        wanted = exact_errors(function, rows, shared, result)
        allowed = 1e-5 * wanted + 0.01
        close += [abs(found - wanted) <= allowed]
        # Just below a power of two, as 1 - 1e-20 is, the fast oracle takes the larger unit of the two.
        agrees = (found <= wanted + allowed) & (2 * found >= wanted - allowed)
        assert agrees.all(), (target.name, classes, found[~agrees], wanted[~agrees])
    assert np.mean(close) > 0.3
