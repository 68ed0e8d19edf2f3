"""What an attacked function is, and what the exact values of all of them share.

classes.py, elements.py, divergences.py, measures.py and sparse.py have an entry for each result of each function: how
it is called, its exact values in mpmath, and who judges it in oracle.cpp. Arrays have the names of `call` in
oracle.hpp: x, q, t, y of each row, v and g its weight and its upstream gradient, w the class weights.
"""

from dataclasses import dataclass, field

import numpy as np
import oracle
from mpmath import mp, mpf

# What an argument of the oracle is called in the library.
OPTIONS = {"temperature": "temperature", "w": "weight", "v": "sample_weight", "smoothing": "label_smoothing",
           "z_loss": "z_loss", "alpha": "alpha", "beta": "beta", "divergence": "divergence"}


# What arrays hold: starts.py and moves.py say how each kind is drawn and changed.
KINDS = {"x": "logits", "t": "teacher", "q": "probabilities", "y": "index", "v": "weight", "g": "upstream"}


@dataclass(frozen=True)
class Function:
    """`run(rows, shared)` is the library's result; `exact(rows, shared)` the mpmath values and what their errors are
    measured at, None for the values themselves. `arrays`: what a row has; `families`: the options that go together, of
    which a target has one. `kinds`: of arrays that do not hold what KINDS says. `fixed`: options that are always the
    same. `classes`: how many there may be, if not any number."""

    run: object
    exact: object
    judge: str
    arrays: str
    families: tuple = ("",)
    kinds: dict = field(default_factory=dict)
    fixed: dict = field(default_factory=dict)
    classes: tuple = ()


def options(rows, shared):
    """Those of both, by the library's names."""
    return {name: {**rows, **shared}[key] for key, name in OPTIONS.items() if key in rows or key in shared}


def target(rows):
    return rows["y"] if "y" in rows else rows["q"]


def backward(function):
    """A loss' backward function, of the upstream gradient of each row or, with a denominator, of one for the mean."""
    def run(rows, shared):
        inputs = [rows[name] for name in ("x", "t", "y", "q") if name in rows]
        how = {"axis": 1, **options(rows, shared)}
        if shared.get("denominator"):
            how |= {"reduction": "mean", "denominator": shared["denominator"]}
            return function(rows["g"][0], *inputs, **how)
        return function(rows["g"], *inputs, reduction="none", **how)
    return run


def by_row(function):
    """(values, scales) of all rows from a function of one row's index."""
    def exact(rows, shared):
        found = [function(rows, shared, i) for i in range(len(next(iter(rows.values()))))]
        if isinstance(found[0], tuple):
            return tuple(np.array(part, dtype=object) for part in zip(*found, strict=True))
        return np.array(found, dtype=object), None
    return exact


def row_of(rows, shared, i):
    return oracle.Row(rows["x"][i], shared.get("temperature", 1.0))


def temperature_of(shared):
    return {"temperature": shared["temperature"]} if "temperature" in shared else {}


# ---- Errors ----------------------------------------------------------------------------------------------------------


DIGITS = 340


class Unit:
    """Stands for a scale where errors are not measured in ULP of a number."""

    def __init__(self, unit):
        self.unit = unit  # of a dtype


def exact_errors(function, rows, shared, result):
    """The largest error of each row of a result by mpmath, in ULP.

    What is left of probabilities without the largest of them is a difference: 60 digits do not hold 1 + 1e-300.
    """
    with mp.workdps(DIGITS):
        return errors_of(function, rows, shared, result)


def errors_of(function, rows, shared, result):
    values, scales = function.exact(rows, shared)
    scales = np.broadcast_to(values if scales is None else scales, values.shape)
    found = np.zeros(values.shape)
    for k in np.ndindex(values.shape):
        if isinstance(scales[k], Unit) and mp.isfinite(values[k]) and np.isfinite(result[k]):
            found[k] = float(abs(mpf(float(result[k])) - values[k]) / scales[k].unit(result.dtype))
        else:
            scale = values[k] if isinstance(scales[k], Unit) else scales[k]
            found[k] = float(oracle.error(result[k], values[k], result.dtype, scale))
    return found.reshape(len(found), -1).max(axis=1)
