"""The caller's floating-point environment: a library beside this one may flush subnormals or round otherwise.

Results are those of the default environment, and the caller's rounding and flushing are as they were afterwards.
"""

import numpy as np
import operations
import pytest
from contract.environments import ENVIRONMENTS, UPWARD, Changed
from support import assert_same_bits

from crossent import information


def test_the_environment_is_changed():
    """Of this process, as NumPy sees it."""
    tiny = np.full(64, 1e-310)
    with Changed(0, True):
        flushed = tiny * 0.5
    assert not flushed.any()
    assert (tiny * 0.5).all()
    third = np.full(64, 1.0) / 3
    with Changed(UPWARD):
        up = np.full(64, 1.0) / 3
    assert (up > third).all()


@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize("form", operations.FORMS, ids=repr)
def test_losses(form, dtype, rng):
    """Small gradients, subnormal in every dtype, on one thread and on several."""
    for rows in (1, 400):
        arrays, options = form.arguments(rng, (dtype, dtype), "plain")
        arrays = [np.concatenate([a] * rows) for a in arrays]
        function, backward = form.function, form.backward
        least = 2.0 ** {2: -20, 4: -140, 8: -1065}[dtype.itemsize] if dtype != operations.FLOATS[1] else 2.0**-130
        wanted = function(*arrays, reduction="none", return_grad=True, **options)
        total = function(*arrays, reduction="sum", **options)
        tiny = backward(least, *arrays, reduction="sum", **options)
        assert tiny.any()
        for change in ENVIRONMENTS.values():
            with Changed(*change):
                got = function(*arrays, reduction="none", return_grad=True, **options)
                got_total = function(*arrays, reduction="sum", **options)
                got_tiny = backward(least, *arrays, reduction="sum", **options)
            for a, b in ((got[0], wanted[0]), (got[1], wanted[1]), (got_total, total), (got_tiny, tiny)):
                assert_same_bits(a, b)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_information(environment, dtype, rng):
    p, q = operations.draws.some_probabilities(rng, dtype), operations.draws.some_probabilities(rng, dtype)
    calls = [lambda: information.entropy(p), lambda: information.kl_divergence(p, q, base=2),
             lambda: information.js_divergence(p, q), lambda: information.entropy_with_logits(q),
             lambda: information.perplexity(q, [0] * len(q))]
    wanted = [call() for call in calls]
    with Changed(*ENVIRONMENTS[environment]):
        got = [call() for call in calls]
    for a, b in zip(got, wanted, strict=True):
        assert_same_bits(a, b)
