"""Errors in ULP of the output dtype, their maxima with the input that gives them, and their quantiles."""

import numpy as np
from fast.double_double import SCALE, high
from fast.errors import Exact
from inputs import DTYPES
from operations import ACCURACY


class Relative(Exact):
    """Errors are relative to the value, or to a least one that is given for each dtype."""

    def __init__(self, value, least):
        self.value, self.least = value, least

    def unit(self, dtype):
        return np.maximum(np.abs(high(self.value)), SCALE * self.least[dtype])


# ---- Statistics ------------------------------------------------------------------------------------------------------

# Bins of errors: the upper 13 bits of a float32, 16 to each factor of two.
SHIFT = 19
BINS = (0x7F800000 >> SHIFT) + 1
QUANTILES = (0.5, 0.9, 0.99, 0.999)


class Errors:
    """The errors of one operation of one library over any number of batches."""

    def __init__(self):
        self.histogram = np.zeros(BINS, np.int64)
        self.maximum, self.at = -1.0, None

    def add(self, errors, describe):
        """`describe(index)` is called for a new maximum."""
        flat = errors.ravel()
        with np.errstate(over="ignore"):
            bins = flat.astype(np.float32).view(np.int32) >> SHIFT
        self.histogram += np.bincount(bins, minlength=BINS)
        worst = int(flat.argmax())
        if flat[worst] > self.maximum:
            self.maximum, self.at = float(flat[worst]), describe(np.unravel_index(worst, errors.shape))

    def quantile(self, share):
        """The upper end of its bin, at most 1/16 more than the quantile; or the maximum, if that is less."""
        count = np.cumsum(self.histogram)
        bin = int(np.searchsorted(count, share * count[-1]))
        end = np.int32((bin + 1 << SHIFT) - 1).view(np.float32) if bin < BINS - 1 else np.inf  # the last: above 3e38
        return min(float(end), self.maximum)

    def summary(self):
        return {"count": int(self.histogram.sum()), "max": self.maximum, "at": self.at,
                "quantiles": {str(q): self.quantile(q) for q in QUANTILES}}


# ---- Bars ------------------------------------------------------------------------------------------------------------

HALVES = (DTYPES["float16"], DTYPES["bfloat16"])
# More factors and sums than a gradient of one loss: see losses/test_every_loss.py.
WIDER = tuple(f"{name} gradient" for name, (form, _) in ACCURACY.items() if form.gradient_limit > 4)
# Measured at the larger of two terms whose sum may be twice as large, and in the next binade.
DIFFERENCES = (*WIDER, "softmax_backward", "log_softmax_backward")


def bar(name, dtype):
    """What the error of an output of this dtype may be; None where a relative error is promised instead.

    Half precision is a float32 result, of 8 ULP at most, rounded once: half a unit, a whole one in the next binade.
    """
    if name.startswith("kl_div_with_logits") and name.endswith(("forward", "reverse", "js")):
        return None
    if name.endswith("relative"):
        return 1e-12 if dtype == np.float64 else 1e-5
    if dtype in HALVES:
        return 1 + 8 * 2.0**-13 if name in DIFFERENCES else 1
    return 8 if name in WIDER else 4
