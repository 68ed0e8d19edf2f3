"""The findings of the page on accuracy: what is promised, the largest errors, what is over its bar, other libraries."""

import textwrap

from inputs import DTYPES
from summaries import NORMALISERS, Found, bar_of, is_hessian, number, of, table

GROUPS = ("losses", "`softmax`, `log_softmax`, `sigmoid`, `log_sigmoid`", "`logsumexp`", "gradients",
          "gradients of reverse KL, Jensen-Shannon, distillation", "backward functions of the normalisers",
          "measures of information", "divergences from logits, relative error",
          "Hessians")
COMPARED = {"confident": ("cross_entropy", "cross_entropy gradient"),
            None: ("binary_cross_entropy_with_logits", "softmax", "log_softmax", "logsumexp", "information.entropy",
                   "kl_div_with_logits forward relative")}
TEXT = """\
## Findings

**The bars.** What is promised is [a bound of each function](bounds.md). On the rows of this report every loss,
normaliser, gradient entry and Hessian entry has a bar of 4 ULP, whatever the confidence of the row, the number of
classes up to a million, the temperature and the weights. Gradients of the reverse KL, of Jensen-Shannon and of
distillation have a bar of 8; gradients, Hessians and normalisers in half precision one of 1. Divergences from logits
have a relative bar of 1e-5 in float32 and 1e-12 in float64; they are never negative, and
exactly 0 for equal rows. The largest errors of each group of functions, over all distributions, sizes and instruction
sets:

{groups}
**Over the bar:** {over}

**Beyond these inputs.** These rows are drawn, and draws find no worst case. A search does, and compares it with what
is promised: `python tests/attack/run.py`. Where both terms of a gradient are large it had found 7 ULP before rows were
defined anew.

{others}

{compared}
"""
OTHERS = """\
**Other libraries.** The largest error in ULP; of the divergence, relative. A false 0 is an error of 1.7e+07. ∞: NaN \
or an infinity for a finite value; -: the library does not have the function. {versions}."""


def group_of(operation):
    """None: measured for comparison only, without a bar."""
    if operation.endswith("relative"):
        return GROUPS[7]
    if operation.startswith(("information", "entropy_with_logits")):
        return GROUPS[6]
    if operation == "logsumexp":
        return GROUPS[2]
    if is_hessian(operation):
        return GROUPS[8]
    if operation in NORMALISERS:
        return GROUPS[1]
    if operation.endswith("backward"):
        return GROUPS[5]
    if operation.endswith("gradient"):
        is_wider = operation.startswith(("distillation_loss", "kl_div_with_logits reverse", "kl_div_with_logits js"))
        return GROUPS[4 if is_wider else 3]
    return GROUPS[0] if bar_of(operation, "float32") != "-" else None


def largest_of(found, dtype, group):
    """The largest error of a group and its bar; one that is over its bar goes first, in bold."""
    errors = [(found.maximum(operation, found.ours), bar_of(operation, dtype))
              for operation in found.operations if group_of(operation) == group]
    if not errors:
        return "-"
    error, limit = max(errors, key=lambda e: (e[0] > float(e[1]), e[0]))
    text = f"{number(error)} of {limit}"
    return f"**{text}**" if error > float(limit) else text


def findings(pieces, beside, over, versions):
    """The section; `over`: a line for each operation and dtype over its bar."""
    found = {dtype: Found(of(pieces, dtype=dtype)) for dtype in DTYPES}
    count = sum(bar_of(operation, dtype) != "-" for dtype in DTYPES for operation in found[dtype].operations)
    groups = table(["largest error, and its bar", *DTYPES],
                   [[group, *(largest_of(found[dtype], dtype, group) for dtype in DTYPES)] for group in GROUPS])
    exceptions = [f"{len(over)} of {count} pairs of an operation and a dtype.", "", *(f"* {line}" for line in over)]
    rows = []
    for distribution, operations in COMPARED.items():
        keys = {"distribution": distribution} if distribution else {}
        here = [piece for piece in of(beside, dtype="float32", **keys) if piece["distribution"] != "masked"]
        errors, peers = Found(here), Found(of(beside, dtype="float32")).peers
        rows += [[f"{operation}, {distribution} rows" if distribution else operation,
                  *(number(errors.maximum(operation, some)) for some in (errors.ours, *([peer] for peer in peers)))]
                 for operation in operations]
    head = ["float32", "crossent", *peers]
    others = textwrap.fill(OTHERS.format(versions=versions or "None was measured"), 120)
    return TEXT.format(groups=groups, over="\n".join(exceptions) if over else "none.", others=others,
                       compared=table(head, rows)).rstrip() + "\n"
