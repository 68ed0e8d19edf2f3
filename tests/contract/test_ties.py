"""Rows whose maximum several classes share: in one group of classes, in several, in several blocks.

Where the maximum stands alone, its gradient comes from the other classes, so that it has all digits; where it does not,
that entry would be wrong by as much as the whole of the other maxima.
"""

import ml_dtypes
import numpy as np
import oracle
import pytest
from support import DTYPES

import crossent as xe

# A group has 128 classes of float32 and 64 of float64, a block 1,024.
PLACES = {
    "one group": (3, 9), "groups": (0, 200), "near groups": (60, 66, 130), "blocks": (5, 1030),
    "all": (0, 1, 70, 200, 1024),
}
OPTIONS = {
    "plain": {}, "smoothing": {"label_smoothing": 0.1}, "weights": {"weight": True, "sample_weight": True},
    "everything": {"weight": True, "sample_weight": True, "label_smoothing": 0.3, "temperature": 0.7},
}


def tied(dtype, places, rng):
    """(logits, probabilities): all others together are below the last digit of a maximum."""
    gap = 40 if dtype == np.float64 else 17
    x = rng.integers(-3, 3, size=(3, max(places) + 100)).astype(dtype)
    x[:, places] = np.asarray(rng.integers(gap, 2 * gap, size=(3, 1)), dtype)
    q = np.zeros(x.shape, dtype)
    q[:, places] = 1 / len(places)
    q[1, places[0]] = 0.25
    q[2] = rng.dirichlet(np.full(x.shape[1], 0.3)).astype(dtype)
    return x, q


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("dtype", [*DTYPES, np.float16, ml_dtypes.bfloat16])
def test_gradients_of_tied_maxima(dtype, places, options):
    rng = np.random.default_rng(len(places))
    x, q = tied(dtype, places, rng)
    arithmetic = np.float64 if dtype == np.float64 else np.float32
    arrays = {"weight": rng.uniform(0.2, 3, x.shape[1]).astype(arithmetic),
              "sample_weight": rng.uniform(0.2, 3, len(x)).astype(arithmetic)}
    given = {key: arrays[key] if value is True else value for key, value in options.items()}
    limit = 6 if np.dtype(dtype).itemsize >= 4 else 1
    exact, scale = oracle.cross_entropy_grad(x, q, **given)
    found = xe.cross_entropy(x, q, axis=1, reduction="sum", return_grad=True, **given)[1]
    oracle.assert_within(limit, found, exact, scale)
    backward = xe.cross_entropy_backward(1.0, x, q, axis=1, reduction="sum", **given)
    np.testing.assert_array_equal(backward, found)
    y = np.array([places[0], places[-1], 50])
    exact, scale = oracle.cross_entropy_grad(x, y, **given)
    oracle.assert_within(limit, xe.cross_entropy(x, y, reduction="sum", return_grad=True, **given)[1], exact, scale)
    if "temperature" in given:
        return
    np.testing.assert_array_equal(xe.cross_entropy_gradient_hessian(x, q, **given)[0], found)
    hard = xe.distillation_loss(x, x, q, alpha=0.0, reduction="sum", return_grad=True, **given)[1]
    np.testing.assert_array_equal(hard, found)
