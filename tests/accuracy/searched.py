"""The part of the page on accuracy that says what a search has found, from docs/explanation/search.json."""

import json
from pathlib import Path

from summaries import number, table

FOUND = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "search.json"
DTYPES = ("float32", "float64")
TEXT = """\
## Bound, search, ordinary rows

The [bound](bounds.md) of each function in ULP, the largest error that a search found, and the largest on rows of normal
logits, of standard deviation 0.05 to 20. Divergences: in units of what is promised of them, 1e-5 and 1e-12.
"Options": any of weights, label smoothing, temperature, z-loss, means and upstream gradients. The search
(`tests/attack`) changes the worst rows again and again, and confirms what it reports with 60 digits: {levels}.

    python tests/attack/run.py --seconds 3600 --level avx512 --json build/attack/avx512.json   # and the other levels
    python tests/attack/run.py --summary build/attack docs/explanation/search.json
"""


def searched():
    """The section."""
    found = json.loads(FOUND.read_text())
    functions = {}
    for target, of_target in found["targets"].items():
        function, _, options = target.partition(": ")
        options, _, dtype = options.rpartition(", ")
        row = function if options in ("plain", "alpha", "beta", "alpha, beta") else f"{function}, options"
        functions.setdefault(row, {}).setdefault(dtype, []).append(of_target)
    rows = [[row, *(cell for dtype in DTYPES for cell in cells(targets[dtype]))] for row, targets in functions.items()]
    head = [f"{column}, {dtype}" for dtype in DTYPES for column in ("bound", "search", "ordinary")]
    levels = ", ".join(f"{level} {of['rows']:,} rows in {of['seconds'] / 60:.0f} minutes"
                       for level, of in found["levels"].items())
    return TEXT.format(levels=levels) + "\n" + table(["function", *head], rows)


def cells(targets):
    """Bound, search and ordinary rows, of the target that comes nearest to its bound."""
    worst = max(targets, key=lambda t: max(t["search"].values()) / t["bar"])
    return f"{worst['bar']:g}", number(max(worst["search"].values())), number(worst["ordinary"])
