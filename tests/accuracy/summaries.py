"""The largest errors and quantiles over the pieces of a report, and how they are written."""

import math

from inputs import DTYPES, arithmetic
from libraries import PEERS
from measure import bar

# Of the dtype of their argument.
NORMALISERS = ("softmax", "log_softmax", "sigmoid", "log_sigmoid")


def is_hessian(operation):
    return "_gradient_hessian" in operation


def number(x, digits=2):
    if x is None:
        return "-"
    if math.isinf(x):
        return "∞"
    return f"{x:.1e}" if x >= 1e4 or 0 < x < 1e-3 else f"{x:.0f}" if x >= 100 else f"{x:.{digits}f}"


def table(head, rows):
    """A Markdown table; nothing without rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


class Found:
    """The largest errors over some of the pieces, by operation and library."""

    def __init__(self, pieces):
        self.results = {}  # (operation, library): [(distribution, summary)]
        for piece in pieces:
            for operation, libraries in piece["results"].items():
                for library, summary in libraries.items():
                    self.results.setdefault((operation, library), []).append((piece["distribution"], summary))
        self.operations = sorted({operation for operation, _ in self.results})
        self.libraries = list(dict.fromkeys(library for _, library in self.results))
        self.ours = [library for library in self.libraries if library.startswith("crossent")]
        self.peers = [library for library in PEERS if library in self.libraries]

    def worst(self, operation, libraries):
        """(summary, distribution, library) of the largest error, or None."""
        candidates = [(summary, distribution, library) for library in libraries
                      for distribution, summary in self.results.get((operation, library), ())]
        return max(candidates, key=lambda c: c[0]["max"], default=None)

    def maximum(self, operation, libraries):
        worst = self.worst(operation, libraries)
        return None if worst is None else worst[0]["max"]

    def quantile(self, operation, libraries, q):
        """The largest of the distributions' quantiles."""
        found = [summary["quantiles"][q] for library in libraries
                 for _, summary in self.results.get((operation, library), ())]
        return max(found, default=None)


def result_dtype(operation, dtype):
    entries = operation.endswith(("gradient", "backward")) or operation in NORMALISERS or is_hessian(operation)
    return DTYPES[dtype] if entries else arithmetic(DTYPES[dtype])


def bar_of(operation, dtype):
    limit = bar(operation, result_dtype(operation, dtype))
    return "-" if limit is None else f"{limit:.4g}"


def of(pieces, **keys):
    return [piece for piece in pieces if all(piece[k] == v for k, v in keys.items())]
