"""Operations that are over their bar, as far as is known, with what they are held to until they are repaired."""

import math

# operation: ({dtype of the input: limit}, why)
KNOWN = {
    "binary_cross_entropy gradient": (
        {"bfloat16": math.inf, "float32": math.inf}, "y (1 / p), which overflows where y / p does not"),
    "cross_entropy probabilities gradient": ({"float64": 5}, "rarely"),
    "cross_entropy probabilities": ({"float64": 5}, "rarely"),
    "cross_entropy smoothed": ({"float64": 5}, "with class and sample weights"),
    "cross_entropy smoothed gradient": ({"float64": 16}, "the true class where it is the largest, with class weights"),
    "distillation_loss": ({"float64": 5}, "the divergence in it: its gap is a difference of two tails"),
    "entropy_with_logits": (
        {"float16": 8, "bfloat16": 8, "float32": 16, "float64": 16},
        "subnormal terms are rounded one by one; float64 sums are not compensated"),
    "information.cross_entropy": ({"float64": 16}, "float64 sums are not compensated"),
    "information.entropy": (
        {"float64": math.inf}, "subnormal terms are rounded one by one; float64 sums are not compensated"),
    "information.js_divergence": ({"float64": 32}, "log1p((p - q) / (p + q)) where p is far smaller than q"),
    "information.perplexity": ({"float64": math.inf}, "the exponential of a mean that is rounded to float64"),
    "kl_div log_target": (
        {"float16": math.inf, "bfloat16": math.inf, "float32": math.inf, "float64": math.inf},
        "exp(target) is rounded to a subnormal before it is multiplied"),
    "kl_div_with_logits forward gradient": ({"float64": 5}, "the tails of both rows, which are rounded products"),
    "kl_div_with_logits reverse gradient": ({"float32": 12, "float64": 12}, "not looked into"),
    "kl_div_with_logits js gradient": ({"float32": 12, "float64": 20}, "not looked into"),
}


def limit_of(operation, dtype, bar):
    """What the tests hold it to."""
    limits, _ = KNOWN.get(operation, ({}, ""))
    return limits.get(dtype, bar)


def why(operation, dtype):
    limits, reason = KNOWN.get(operation, ({}, ""))
    return reason if dtype in limits else ""
