"""One piece of the measurement: a family of operations, a dtype and a distribution, over all its rows."""

import numpy as np
from crossent_calls import FAMILIES
from fast.double_double import SCALE, exp, high, sum_last
from fast.errors import Exact
from inputs import DTYPES, Batch, batches, distributions, draw, sizes
from measure import Errors
from operations import FORMS
from reference import REFERENCES

CHUNK = 2**16  # entries the reference takes at once: slower from 2**13 down
PEERS_EVERY = 16  # peers get one batch of so many, and the first
# Reduced loss: the losses it is made of.
REDUCED = {"information.perplexity": "cross_entropy",
           **{f"{name} {reduction}": name for form in FORMS for name in list(form.accuracy)[:1]
              for reduction in form.accuracy_reductions}}
PIECES = [(family, dtype, distribution) for family in FAMILIES for dtype in DTYPES
          for distribution in distributions(family)]


def reduced(name, total, count):
    """Exact, or None where the perplexity has no exact value here."""
    if name.endswith("sum"):
        return Exact(total)
    mean = total / np.float64(count)
    if name.endswith("mean"):
        return Exact(mean)
    return Exact(exp(mean * (1 / SCALE))) if high(mean)[0] < 300 * SCALE else None


class Piece:
    def __init__(self, family, dtype, distribution):
        self.family, self.dtype, self.distribution = family, DTYPES[dtype], distribution
        self.errors = {}  # {operation: {library: Errors}}

    def measure(self, group, table):
        for classes, rows in sizes(self.family, self.distribution, table).items():
            count, n = batches(self.distribution, classes, rows)
            for number in range(count):
                batch = draw(self.family, self.distribution, self.dtype, classes, rows, number)
                results = group.evaluate(self.family, batch, number % PEERS_EVERY == 0)
                self.compare(batch, results, {"classes": classes, "rows": n, "batch": number})
        return {operation: {library: errors.summary() for library, errors in libraries.items()}
                for operation, libraries in self.errors.items()}

    def compare(self, batch, results, where):
        step, totals = max(1, CHUNK // where["classes"]), {}
        for start in range(0, len(batch), step):
            part = batch[start:start + step]
            exact = REFERENCES[self.family](part)
            for name, value in exact.items():
                if name in REDUCED.values():
                    total = sum_last(value.value.ravel())
                    totals[name] = totals[name] + total if name in totals else total
                self.add(name, value, results, slice(start, start + step), part, {**where, "start": start})
        for name, losses in REDUCED.items():
            if losses in totals:
                count = batch.rows["x"].size if self.family == "binary" else len(batch)
                value = reduced(name, totals[losses][None], count)
                if value is not None:
                    self.add(name, value, results, ..., batch, where)

    def add(self, name, exact, results, rows, part, where):
        units = {}
        for library, outputs in results.items():
            if name not in outputs:
                continue
            actual = np.atleast_1d(outputs[name])[rows]
            if actual.dtype not in units:
                units[actual.dtype] = exact.unit(actual.dtype)
            errors = exact.errors(actual, units[actual.dtype])

            def describe(index, actual=actual):
                return self.describe(index, actual, exact, part, where)
            self.errors.setdefault(name, {}).setdefault(library, Errors()).add(errors, describe)

    def describe(self, index, actual, exact, part: Batch, where):
        """Where an error is: what `draw` needs for the batch, the place in it, and the row itself if it is short."""
        at = {**where, "actual": repr(actual[index].item()), "exact": float(high(exact.value)[index] / SCALE)}
        if "start" not in at:
            return at  # a reduction
        row = int(index[0])
        at["row"] = at.pop("start") + row
        if len(index) > 1:
            at["entry"] = int(index[1])
        if where["classes"] <= 17:
            at["input"] = {name: np.asarray(v[row], np.float64).tolist() for name, v in part.rows.items()}
        return at
