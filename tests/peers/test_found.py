"""Failures that test_differential.py found, in the form it prints them."""

import numpy as np
from differential import Case, check


def test_kl_div_with_logits_subnormal_probabilities():
    """The student's probability is subnormal; its product with the difference of logarithms is not."""
    x, z = np.array([0, -95, -1], np.float32), np.array([0, -5, -2], np.float32)
    for divergence in ("reverse", "js"):
        check(Case("kl_div_with_logits", {"logits": x, "teacher_logits": z}, {"divergence": divergence}), "torch")


def test_binary_cross_entropy_with_logits_gradient():
    """Soft targets, weights and an upstream gradient: each factor rounds."""
    check(Case("binary_cross_entropy_with_logits",
               {"logits": np.array([5.9039998], "float32"), "target": np.array([0.479], "float32")},
               {"weight": np.array([0.625]), "pos_weight": np.array([1.0]), "reduction": "sum"},
               np.array(0.746, "float32")), "torch")
