"""What is attacked: each result of each function, with a family of options, in a dtype.

The name of a target is "function result: options, dtype", as `python tests/attack/run.py --list` prints them.
"""

import fnmatch
from dataclasses import dataclass

import classes
import divergences
import elements
import fast_oracle
import measures
import ml_dtypes
import numpy as np
import sparse_teachers
import starts
from functions import KINDS, Function, exact_errors

FUNCTIONS = {name: function for module in (classes, elements, divergences, measures, sparse_teachers)
             for name, function in module.FUNCTIONS.items()}
DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
CLASSES = (2, 3, 17, 64, 100, 129, 300, 1024, 1025, 4097)
ENTRIES = 100_000  # of a batch, of which a row has `classes`
LAYOUTS = ("rows", "columns")


@dataclass(frozen=True)
class Target:
    function_name: str
    family: str
    dtype_name: str

    @property
    def name(self):
        return f"{self.function_name}: {self.family.replace(' ', ', ') or 'plain'}, {self.dtype_name}"

    @property
    def function(self) -> Function:
        return FUNCTIONS[self.function_name]

    @property
    def dtype(self):
        return np.dtype(DTYPES[self.dtype_name])

    @property
    def kinds(self):
        """{array of a row: what it holds}."""
        names = [*self.function.arrays.split(), *(name for name in self.family.split() if name in KINDS)]
        return {name: {**KINDS, **self.function.kinds}[name] for name in names}

    @property
    def shared_names(self):
        return [name for name in self.family.split() if name not in KINDS]

    @property
    def class_counts(self):
        return self.function.classes or CLASSES

    def row_count(self, classes):
        return ENTRIES // 5 if classes == 1 else int(np.clip(ENTRIES // classes, 24, 1500))

    def draw_rows(self, rng, n, classes, kinds_of_logits=starts.LOGITS):
        return starts.rows(rng, self.kinds, n, classes, self.dtype, kinds_of_logits)

    def draw_shared(self, rng, classes):
        return {**starts.shared(rng, self.shared_names, classes, self.dtype), **self.function.fixed}

    def run(self, rows, shared, layout="rows"):
        """The library's result; "columns": the class axis of every array is strided."""
        if layout == "columns":
            rows = {name: np.asfortranarray(array) for name, array in rows.items()}
        return np.asarray(self.function.run(rows, shared))

    def errors(self, rows, shared, layout="rows"):
        """The largest error of each row, by the fast oracle."""
        return fast_oracle.errors(self.function.judge, rows, shared, self.run(rows, shared, layout))[0]

    def confirmed(self, rows, shared, layout="rows"):
        """The largest error of all rows, by mpmath."""
        return float(exact_errors(self.function, rows, shared, self.run(rows, shared, layout)).max())


TARGETS = {target.name: target for target in (
    Target(name, family, dtype)
    for name, function in FUNCTIONS.items() for family in function.families for dtype in DTYPES)}


def matching(patterns):
    """The targets whose name has one of these patterns in it."""
    return [target for name, target in TARGETS.items()
            if any(fnmatch.fnmatchcase(name, f"*{pattern}*") for pattern in patterns)]
