"""The one registry of what is tested: every public function, its arguments and its options, each once.

All tables of the tests derive from it: signatures, valid and bad arguments, layouts, bits, memory, edge cases, the
calls of faults/ and of its fuzzer, and what accuracy/ and peers/ measure and compare.

To add a loss
    1. its formula in oracle/ (mpmath, 60 digits), and in exact.py as a sum of parts;
    2. a row in table.py: its signature, and a `Form` for each way to call it;
    3. for what a second formula must say, one function of its name each: faults/fuzz_reference.py (NumPy),
       accuracy/reference*.py (double-double, if the form has `accuracy`), and an entry in the adapter of each library
       of peers/ that has the loss.
To add an option to losses
    1. an entry in OPTIONS of arguments.py: an example, values for random calls, bad values;
    2. in the row of each loss: the option in its signature, and a case that has it in its forms; a form that refuses
       the option `lacks` it;
    3. the formulas of those losses, as above.
New golden hashes are added by contract/golden.py; those that are there do not change.
"""

from . import draws, exact
from .arguments import (
    CLASS_INDICES,
    DRAW,
    FRACTIONS,
    LOG_PROBABILITIES,
    LOGITS,
    OPTIONS,
    PER_CLASS,
    PER_ELEMENT,
    PER_ROW,
    PROBABILITIES,
    WEIGHTS,
    resolved,
)
from .functions import FLOATS, PAIRS
from .table import LOSSES, MEASURES, NORMALISERS

FORMS = tuple(form for loss in LOSSES for form in loss.forms)
CASES = tuple((form, case) for form in FORMS for case in form.cases)
FUNCTIONS = {function.name: function for function in (
    *NORMALISERS, *(function for loss in LOSSES for function in (loss.forward, loss.backward)), *MEASURES)}
# Of each name in docs/accuracy.md, the form and its options.
ACCURACY = {name: (form, options) for form in FORMS for name, options in form.accuracy.items()}


def taking(*options):
    """The names of the functions that take every one of these options."""
    return tuple(name for name, function in FUNCTIONS.items() if set(options) <= set(function.options))


__all__ = [
    "ACCURACY",
    "CASES",
    "CLASS_INDICES",
    "DRAW",
    "FLOATS",
    "FORMS",
    "FRACTIONS",
    "FUNCTIONS",
    "LOGITS",
    "LOG_PROBABILITIES",
    "LOSSES",
    "MEASURES",
    "NORMALISERS",
    "OPTIONS",
    "PAIRS",
    "PER_CLASS",
    "PER_ELEMENT",
    "PER_ROW",
    "PROBABILITIES",
    "WEIGHTS",
    "draws",
    "exact",
    "resolved",
    "taking",
]
