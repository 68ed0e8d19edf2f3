"""The promised bar of each target in ULP: of the patterns that a target's name has in it, the first counts."""

import fnmatch

BARS = (
    ("kl_div_with_logits*loss", 1),  # of what is promised of a divergence, a relative error
    # Half precision: a float32 result rounded once, half a unit; a whole one where terms cancel into the next binade.
    ("distillation_loss*gradient*float16", 1 + 8 * 2.0**-13),
    ("kl_div_with_logits reverse gradient*float16", 1 + 8 * 2.0**-13),
    ("kl_div_with_logits js gradient*float16", 1 + 8 * 2.0**-13),
    ("softmax_backward*float16", 1 + 8 * 2.0**-13),
    ("gradient*float16", 1),
    ("softmax*float16", 1),
    ("backward*float16", 1),
    ("sigmoid*float16", 1),
    ("hessian*float16", 1),
    ("sparse", 4),
    # More factors and sums than a gradient of one loss.
    ("distillation_loss*gradient", 8),
    ("kl_div_with_logits reverse gradient", 8),
    ("kl_div_with_logits js gradient", 8),
    ("", 4),
)


def bar(name):
    return next(limit for pattern, limit in BARS if fnmatch.fnmatchcase(name, f"*{pattern}*"))
