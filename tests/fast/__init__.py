"""Exact results, fast: every formula of tests/oracle a second time, for whole batches, in NumPy.

A function takes rows (N, C), or elements of any shape, and gives what its counterpart in operations/exact.py does:
a loss a list of parts, everything else (values, scales). Arrays are all of one kind (`widen`): double-double for
float64 results, plain float64 for the others. Results are SCALE times the exact ones, so that none is too small for
its digits. Where several functions take the same logits, give them as `Logits`: their softmax is computed once.

The error: one rounding of double-double is at most 2^-100 of a number, one of float64 2^-53. An exponential of a gap g
has a relative error of g 2^-100 (float64: g 2^-53); a sum of C terms adds C 2^-100 (log2(C) 2^-53); everything else
is a few roundings at the scale of the result. The series of divergences between near rows have float64 coefficients,
and 2^-61. Together that is less than 2^-8 ULP of a float64 result, and 2^-16 of a float32 result with gaps up to 100.
tests/oracle/test_fast.py and tests/accuracy/test_reference.py allow 2^-9 ULP; the first has every case of the registry,
the second every distribution of the accuracy report. The fuzzer of tests/faults, whose tolerances are wider, takes
float64 for all results.
"""

import numpy as np

import crossent as xe

from . import classes, divergences, elements, information, sparse
from .double_double import DD, SCALE, high, maximum, sum_last, where
from .errors import assert_exact, assert_within
from .parts import Part, gradient, like, value
from .rows import Logits, widen


def quiet(function):
    return np.errstate(all="ignore")(function)


# By the name of the public function, without "_backward" for losses: those are gradients of these.
FORMULAS = {
    **{name: quiet(getattr(module, name)) for module in (classes, divergences, elements, sparse) for name in xe.__all__
       if hasattr(module, name)},
    **{f"information.{f.__name__}": quiet(f) for f in (
        information.entropy, information.cross_entropy, information.kl_divergence, information.js_divergence,
        classes.entropy_with_logits)},
    "sum_of_squares": quiet(classes.sum_of_squares),
}



def lifted(value, lift=widen):
    """A floating-point array as `lift` makes it, anything else as it is."""
    return lift(value) if isinstance(value, np.ndarray) and value.dtype.kind not in "iu" else value


def exact(name, *arrays, **options):
    """What the formula gives for arrays and options of any dtype."""
    return FORMULAS[name](*map(lifted, arrays), **{option: lifted(value) for option, value in options.items()})


__all__ = [
    "DD", "FORMULAS", "SCALE", "Logits", "Part", "assert_exact", "assert_within", "exact", "gradient", "high", "lifted",
    "like", "maximum", "sum_last", "value", "where", "widen",
]
