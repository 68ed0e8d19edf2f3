"""The short form of the attack, at the level of this process: a few steps of the search on the main targets.

It is seeded and counts steps, not seconds. The long form is `python tests/attack/run.py --seconds 3600`.
"""

import fast_oracle
import pytest
from bounds import bar
from search import Search
from targets import TARGETS

pytestmark = pytest.mark.skipif(fast_oracle.unavailable() is not None, reason=str(fast_oracle.unavailable()))
STEPS = 10
MAIN = [f"{name}, {dtype}" for dtype in ("float32", "float64") for name in (
    "cross_entropy loss: plain",
    "cross_entropy gradient: plain",
    "cross_entropy gradient: w, v, smoothing, temperature, denominator",
    "cross_entropy probabilities loss: w, v",
    "cross_entropy probabilities gradient: plain",
    "cross_entropy probabilities gradient: w, v, smoothing, temperature, denominator",
    "log_softmax: plain",
    "softmax: temperature",
    "softmax_backward: temperature",
    "hessian cross_entropy: w, v",
    "kl_div_with_logits forward gradient: plain",
    "kl_div_with_logits reverse gradient: plain",
    "sparse_distillation_loss zero gradient: plain",
    "distillation_loss forward probabilities loss: temperature, alpha",
    "binary_cross_entropy_with_logits gradient: v, t, denominator",
)]


@pytest.mark.parametrize("name", MAIN)
def test_no_error_is_above_its_bar(name):
    search = Search(TARGETS[name], seed=1)
    for _ in range(STEPS):
        search.step()
    confirmed = search.target.confirmed(*search.record)
    assert confirmed == pytest.approx(search.worst, abs=0.02)
    assert confirmed <= bar(name), search.record
