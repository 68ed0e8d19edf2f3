"""A loss as a sum of parts, each with its losses, gradients and denominators, as in tests/oracle/parts.py."""

from functools import cached_property

import numpy as np

from .double_double import DD, high, maximum, sum_last, where


def times(a, b):
    """a * b with 0 * anything = 0."""
    return where(high(a) == 0, 0.0, a * b)


def column(x):
    return x[:, None]


class Part:
    """`losses` and `gradients` return (values, scales) and are called when they are needed: values have the shape of
    the loss and of its first argument. `sizes` returns the sums of the magnitudes of the terms of each loss, by default
    its scale. `denominators`: {"mean": .., "batchmean": ..}."""

    def __init__(self, losses, gradients, denominators, sizes=None):
        self._losses, self._gradients, self._sizes, self.denominators = losses, gradients, sizes, denominators

    @cached_property
    @np.errstate(all="ignore")
    def _loss(self):
        return self._losses()

    @cached_property
    @np.errstate(all="ignore")
    def _gradient(self):
        return self._gradients()

    @property
    def losses(self):
        return self._loss[0]

    @property
    def loss_scales(self):
        return abs(self._loss[1])

    @property
    def gradients(self):
        return self._gradient[0]

    @property
    def scales(self):
        return abs(self._gradient[1])

    @cached_property
    @np.errstate(all="ignore")
    def sizes(self):
        return maximum(self.loss_scales, abs(self._sizes())) if self._sizes else self.loss_scales

    def times(self, factor):
        """With the same factor of every row or element, or one of each."""
        def scaled(pair):
            return tuple(times(factor[:, None] if np.ndim(high(factor)) < high(x).ndim and np.ndim(high(factor)) else
                               factor, x) for x in pair)

        sizes = self._sizes and (lambda: times(factor, self._sizes()))
        return Part(lambda: scaled(self._loss), lambda: scaled(self._gradient), self.denominators, sizes)


def divisor(part, reduction, denominator):
    if reduction in ("none", "sum"):
        return 1.0
    return part.denominators[reduction] if denominator is None else denominator


@np.errstate(all="ignore")
def value(parts, reduction="none", denominator=None):
    """(loss, scale): arrays with "none", else numbers; a mean over nothing is NaN."""
    if reduction == "none":
        return sum(part.losses for part in parts), sum(part.loss_scales for part in parts)
    pairs = []
    for part in parts:
        d = divisor(part, reduction, denominator)
        d = where(high(d) == 0, np.nan, d)
        pairs.append((sum_last(part.losses.ravel()) / d, sum_last(part.sizes.ravel()) / abs(d)))
    return tuple(sum(terms) for terms in zip(*pairs, strict=True))


@np.errstate(all="ignore")
def gradient(parts, reduction="none", grad_output=1.0, denominator=None):
    """(gradient, scale): the larger of the parts' scales; the gradient of a mean over nothing is 0."""
    total, scale = 0.0, 0.0
    for part in parts:
        d = divisor(part, reduction, denominator)
        factor = grad_output * where(high(d) == 0, 0.0, like(part.losses, 1.0) / where(high(d) == 0, 1.0, d))
        if np.ndim(high(factor)) and high(part.gradients).ndim > np.ndim(high(factor)):
            factor = column(factor)
        total = times(factor, part.gradients) + total
        scale = maximum(times(abs(factor), part.scales), scale)
    return total, scale


def like(x, number):
    """A number, or an array of float64, as the kind of x."""
    if isinstance(number, DD):
        return number
    number = np.asarray(number, np.float64)
    return DD(number) if isinstance(x, DD) else number
