"""The part of the page on accuracy that says what a search has found, from docs/explanation/search.json."""

import json
import textwrap
from pathlib import Path

from summaries import number, table

FOUND = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "search.json"
DTYPES = ("float32", "float64")
BASELINE = "baseline"  # without fused multiply-add: its bounds are 2 higher, those of weighted class probabilities 4
TEXT = """\
## Bound, search, ordinary rows

The [bound](bounds.md) of each function in ULP, the largest error that a search found, and the largest on rows of normal
logits, of standard deviation 0.05 to 20. Divergences: in units of the promised 1e-5 and 1e-12.
"Options": any of weights, label smoothing, temperature, z-loss, means and upstream gradients. At the baseline, which
has no fused multiply-add, bounds are 2 higher, those of gradients of weighted class probabilities 4. The search
(`tests/attack`) changes the worst rows again and again, and confirms what it reports with 60 digits.
{levels}.

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
    head = [f"{dtype}: {column}" for dtype in DTYPES for column in ("bound", "search", "baseline", "ordinary")]
    levels = ", ".join(f"{level} {of['rows']:,} rows in {of['seconds'] / 60:.0f} minutes"
                       for level, of in found["levels"].items())
    return TEXT.format(levels=textwrap.fill(levels, 120)) + "\n" + table(["function", *head], rows)


def cells(targets):
    """Of the target that comes nearest to its bound, but of the baseline the largest error of all."""

    def with_fma(target):
        return max(error for level, error in target["search"].items() if level != BASELINE)

    worst = max(targets, key=lambda t: with_fma(t) / t["bar"])
    baseline = max(t["search"][BASELINE] for t in targets)
    return f"{worst['bar']:g}", number(with_fma(worst)), number(baseline), number(worst["ordinary"])
