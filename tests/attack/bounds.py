"""The promised bar of each target in ULP: of the patterns that a target's name has in it, the first counts.

docs/explanation/bounds.md derives them, for the levels with FMA; the baseline rounds products twice.
"""

import fnmatch
import os

BARS = (
    # Of 1e-5 (float64: 1e-12) of the divergence, or of 2e-9 (1e-18).
    ("kl_div_with_logits*loss", 1),
    # Half precision: a float32 result rounded once, half a unit; a whole one where terms cancel into the next binade.
    ("sparse_distillation_loss*gradient*float16", 1 + 8 * 2.0**-13),
    ("distillation_loss*gradient*float16", 2 + 32 * 2.0**-13),
    ("gradient*z_loss*float16", 1 + 16 * 2.0**-13),
    ("kl_div_with_logits reverse gradient*float16", 1 + 8 * 2.0**-13),
    ("kl_div_with_logits js gradient*float16", 1 + 8 * 2.0**-13),
    ("softmax_backward*float16", 1 + 8 * 2.0**-13),
    ("gradient*float16", 1),
    ("softmax*float16", 1),
    ("backward*float16", 1),
    ("sigmoid*float16", 1),
    ("hessian*float16", 1),
    # Losses of elements.
    ("binary_cross_entropy_with_logits gradient*t,", 10.4),
    ("binary_cross_entropy_with_logits gradient*smoothing", 10.4),
    ("binary_cross_entropy_with_logits gradient", 6.4),
    ("hessian binary", 5),
    ("binary_cross_entropy gradient", 7),
    ("binary_cross_entropy loss", 5),
    ("binary_cross_entropy_with_logits loss*t, smoothing", 5.4),
    ("binary_cross_entropy_with_logits loss", 4.4),
    # Two rows, each with its terms and their sum; of distillation also those of a loss.
    ("sparse_distillation_loss*gradient", 8),
    ("sparse_distillation_loss*loss*float64", 6),
    ("sparse_distillation_loss*loss", 4),
    ("distillation_loss js*gradient", 23.5),
    ("distillation_loss*gradient", 19.5),
    ("kl_div_with_logits forward gradient*float32", 10.5),
    ("kl_div_with_logits forward gradient*float64", 7),
    ("kl_div_with_logits reverse gradient", 8),
    ("kl_div_with_logits js gradient", 14.5),
    ("distillation_loss*loss", 6.5),
    ("sum_of_squares", 9),
    ("row_statistics entropy", 5),
    ("information entropy", 5),
    # The logarithm of the normalizer cancels beside the maximum: its error is carried through.
    ("z_loss", 9),
    # Entries with two terms, each with a coefficient of its own.
    ("hessian cross_entropy*float32", 6.1),
    ("probabilities*gradient: plain*float32", 6.1),
    ("probabilities*gradient: temperature*float32", 6.1),
    ("hessian gradient probabilities*float32", 8.1),
    ("probabilities gradient*float32", 8.1),
    ("probabilities gradient*float64", 6),
    ("hessian gradient probabilities*float64", 6),
    ("gradient*smoothing*float32", 6.1),
    ("gradient*smoothing*float64", 4.2),
    ("hessian cross_entropy*float64", 4.2),
    # Entries with one term, and sums of products in float32.
    ("probabilities loss*w, v*float32", 6),
    ("probabilities loss*w, v*float64", 5),
    ("probabilities loss*float32", 5),
    ("loss*smoothing*float32", 5),
    ("cross_entropy gradient*float32", 5.1),
    ("hessian gradient*float32", 5.1),
    ("log_softmax: ", 4),
    ("softmax: *float32", 5.1),
    ("softmax of two classes", 2.2),
    ("log_softmax_backward", 5.1),
    ("", 4),
)
# Without FMA, a product and a sum are rounded each; of gradients of probabilities with class weights two products,
# which count twice where p is 1/2.
MORE_WITHOUT_FMA = (("probabilities gradient: w", 4), ("", 2))


def bar(name):
    def first_of(table):
        return next(limit for pattern, limit in table if fnmatch.fnmatchcase(name, f"*{pattern}*"))

    return first_of(BARS) + (first_of(MORE_WITHOUT_FMA) if os.environ.get("CROSSENT_ISA") == "baseline" else 0)
