"""The one registry of the tests: every public function, its arguments and its options, each once.

All tables of the tests derive from it: signatures, valid and bad arguments, edge cases, layouts, bits, memory,
gradients, the calls of faults/ and of its fuzzer, what accuracy/ measures and what peers/ compares.

To add a loss:
    1. Write its formula twice, under its name: in exact.py (on oracle/: mpmath, 60 digits) as a sum of parts, and in
       tests/fast (NumPy, whole batches). tests/oracle/test_fast.py compares the two.
    2. Add a row to table.py: the signature, and a `Form` (functions.py) for each way to call the loss. A form with
       `accuracy` is in the accuracy report.
    3. A library of peers/ that has the loss takes it in its adapter (peer_*.py), with a bound in peer_bounds.py.
    4. `python tests/contract/golden.py --write` adds its hashes; those that were there must not change.

To add an option:
    1. Add it to OPTIONS in arguments.py: an example, values and a span for random calls, bad values, bad types.
    2. Add it to the signature of each loss that takes it, and to the `cases` of the forms; a form that refuses it
       `lacks` it.
    3. Add it to the formulas above.
"""

from . import draws, exact, kinds, random_options
from .arguments import OPTIONS
from .functions import FLOATS, PAIRS
from .kinds import DRAW, may_be_negative, resolved
from .table import FITS, HESSIANS, LOSSES, MEASURES, NORMALISERS, POINTWISE, STATISTICS

FORMS = tuple(form for loss in LOSSES for form in loss.forms)
CASES = tuple((form, case) for form in FORMS for case in form.cases)
FUNCTIONS = {function.name: function for function in (
    *NORMALISERS, *POINTWISE, *(function for loss in LOSSES for function in (loss.forward, loss.backward)), *HESSIANS,
    *MEASURES, *FITS, *STATISTICS)}
# Of each name in docs/explanation/accuracy.md, the form and its options.
ACCURACY = {name: (form, options) for form in FORMS for name, options in form.accuracy.items()}


def taking(*options):
    """The names of the functions that take every one of these options."""
    return tuple(name for name, function in FUNCTIONS.items() if set(options) <= set(function.options))


__all__ = [
    "ACCURACY",
    "CASES",
    "DRAW",
    "FITS",
    "FLOATS",
    "FORMS",
    "FUNCTIONS",
    "HESSIANS",
    "LOSSES",
    "MEASURES",
    "NORMALISERS",
    "OPTIONS",
    "PAIRS",
    "POINTWISE",
    "STATISTICS",
    "draws",
    "exact",
    "kinds",
    "may_be_negative",
    "random_options",
    "resolved",
    "taking",
]
