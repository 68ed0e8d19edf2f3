"""A loss as a sum of parts, each with its losses, gradients and denominator: what every reduction is made of."""

import ml_dtypes
import numpy as np
from mpmath import mp, mpf

from oracle import ZERO, exact

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALVES = (np.dtype(np.float16), BFLOAT16)


def arithmetic(dtype):
    """The dtype that logits of `dtype` are computed in, and that their losses have."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


class Part:
    """`losses` has the loss's shape, `gradients` and their `scales` that of the first argument; the losses are
    measured at `loss_scales` where their terms cancel. `denominators`: {"mean": .., "batchmean": ..}. `sizes` returns
    the sums of the magnitudes of the losses' terms, if these are not their scales."""

    def __init__(self, losses, gradients, scales, denominators, loss_scales=None, sizes=None):
        self.losses, self.gradients, self.scales, self.denominators = losses, gradients, abs(scales), denominators
        self.loss_scales = abs(losses) if loss_scales is None else loss_scales
        self._sizes = sizes

    @property
    def sizes(self):
        return np.maximum(self.loss_scales, self._sizes()) if self._sizes else self.loss_scales

    def divisor(self, reduction, denominator):
        if reduction in ("none", "sum"):
            return mpf(1)
        return self.denominators[reduction] if denominator is None else mpf(float(denominator))


def value(parts, reduction, denominator=None):
    """(loss, scale): arrays with "none", numbers otherwise."""
    if reduction == "none":
        return sum(part.losses for part in parts), sum(part.loss_scales for part in parts)
    total, scale = ZERO, ZERO
    for part in parts:
        divisor = part.divisor(reduction, denominator)
        if not divisor:
            return mp.nan, mp.nan
        total += mp.fsum(part.losses.ravel()) / divisor
        scale += mp.fsum(part.loss_scales.ravel()) / abs(divisor)
    return total, scale


def gradient(parts, reduction, grad_output=1.0, denominator=None):
    """(gradient, scale): the larger of the parts' scales."""
    total, scale = 0, ZERO  # 0: a number of mpmath on the left of an array would first say why it cannot be added
    for part in parts:
        divisor = part.divisor(reduction, denominator)
        upstream = exact(np.broadcast_to(np.asarray(grad_output, dtype=np.float64), part.losses.shape))
        factor = upstream / divisor if divisor else upstream * 0
        if part.gradients.ndim > factor.ndim:
            factor = factor[:, None]
        total = total + times(factor, part.gradients)
        scale = np.maximum(scale, times(abs(factor), part.scales))
    return total, scale


def times(factor, array):
    """With 0 * inf = 0: what counts for nothing is not read."""
    factor = np.broadcast_to(factor, array.shape)
    product = factor * array
    product[~factor.astype(bool)] = ZERO
    return product


def gradient_limit(dtype, limit):
    """Half gradients are float32 results rounded once: half a unit, and `limit` of float32's far smaller ones."""
    return 1 if dtype in HALVES else limit
