"""docs/explanation/accuracy.md from the pieces of a report, and what a run prints."""

import textwrap

from findings import findings
from inputs import BATCH, DTYPES, SHORT
from measure import bar
from pieces import PEERS_EVERY, REDUCED
from searched import searched
from summaries import Found, bar_of, number, of, result_dtype, table

SHOWN = ("cross_entropy", "cross_entropy gradient", "cross_entropy smoothed gradient", "softmax", "log_softmax",
         "logsumexp", "kl_div_with_logits forward", "kl_div_with_logits forward gradient", "information.entropy")
INTRODUCTION = """\
# Accuracy

Errors against exact arithmetic, in ULP: the spacing of the output's dtype at the exact value. Findings first; how they
are measured, and all tables, below.

![Error of the float32 loss and gradient against the gap between the two largest logits](accuracy.svg)

The rows of the figure are confident and right. Where another library's loss is a false 0, its error is 2^24 ULP. The
figure is drawn from [confidence.json](confidence.json), which names the releases.
"""
METHOD = """\
## How it is measured

{what} This page is written by

{commands}
    python tests/accuracy/confidence.py docs/explanation/confidence.json && python docs/figures.py

* An ULP is the spacing of the output's dtype at the exact value; below the normal range 2^-149, in float64 2^-1074, in
  float16 2^-24, in bfloat16 2^-133. An exact value that is a power of two is measured in the spacing below it.
  Quantiles are too large by up to 1/16.
* Losses, `softmax`, `log_softmax`, `sigmoid`, `log_sigmoid` and Hessians: ULP of the value. Losses have the dtype
  float32, for float64 logits float64.
* Gradients: ULP of the larger of the two terms of `(A - b) p - b (1 - p)`, where b is the coefficient of -log p in the
  loss and A the sum of all b. For class indices one of the terms is 0, and that is the ULP of the value. The gradients
  of the reverse KL and Jensen-Shannon, `kl_div`, the backward functions and the information measures are measured at
  the larger of their own two terms. Those of the reverse KL, Jensen-Shannon and distillation have more factors, and a
  bar of 8.
* `logsumexp`: 4 units are 1 ULP of the result and 4 ULP of log1p(tail). Rounding the result may take 2 of them.
* Divergences from logits: relative to the value, or to 2e-9 (float64: 1e-18) below that, with a bar of 1e-5 (1e-12),
  and for comparison in ULP. In the gradients of the reverse KL and Jensen-Shannon, logarithms of ratios are measured
  at least at the square root of twice that divergence.
* float16 and bfloat16 gradients, Hessians and normalisers are float32 results rounded once, with a bar of 1; of 1.001
  where the sum of the two terms may be twice the larger one.
* The reference is double-double arithmetic for float64 results and float64 for the others.
  `tests/accuracy/test_reference.py` holds it against 60 digits on every distribution, to 0.002 ULP.
"""
REPORT = "    python tests/accuracy/report.py"
COMMANDS = {
    "short": f"{REPORT} --short --peers --markdown docs/explanation/accuracy.md",
    "full": f"{REPORT} --short --peers --out build/peers\n"
            f"{REPORT} --full --levels avx512,baseline --beside build/peers/short "
            "--markdown docs/explanation/accuracy.md"}
ROWS = """\
Rows for each operation, dtype, distribution and instruction set, by number of classes: {rows}; of binary losses \
{elements} elements. The distributions are in `tests/accuracy/inputs.py`. AVX2 has the bits of AVX-512 \
(`pytest tests -k bits`).
"""
EVERY_OPERATION = """\
## Every operation

The largest error at each level, the median and the 99.9 % quantile; each quantile is the largest of those of the
distributions.
"""
PEERS_ROWS = """\
The largest error, in ULP of the library's own output dtype, and in brackets the 99.9 % quantile, over all \
distributions but `masked`, where -inf makes many results of others NaN; of the rows of the tests ({rows}), of which \
the other libraries get the first and every {peers_every}th of the batches, of {batch} entries. A temperature divides \
their logits first. ∞: NaN or an infinity for a finite value; -: the library does not have it, or not in one line. \
{versions}.
"""


def over_the_bar(pieces):
    """{(operation, dtype): [(error, distribution, library, at)]} of our results that are worse than promised."""
    over = {}
    for piece in pieces:
        dtype = piece["dtype"]
        for operation, libraries in piece["results"].items():
            limit = bar(operation, result_dtype(operation, dtype))
            if limit is None:
                continue
            for library, summary in libraries.items():
                if library.startswith("crossent") and not summary["max"] <= limit:
                    over.setdefault((operation, dtype), []).append(
                        (summary["max"], piece["distribution"], library, summary["at"]))
    return over


def describe(over):
    """A line for each operation and dtype."""
    for (operation, dtype), found in sorted(over.items()):
        worst, distribution, library, at = max(found, key=lambda f: f[0])
        count = len({f[1] for f in found})
        distributions = "1 distribution" if count == 1 else f"{count} distributions"
        yield (f"{operation}, {dtype}: {number(worst)} at {distribution}, {at['classes']} classes, {library}; over "
               f"{bar_of(operation, dtype)} in {distributions}")


def summary(pieces):
    """What a run prints."""
    for dtype in DTYPES:
        found = Found(of(pieces, dtype=dtype))
        for operation in found.operations:
            limit = bar_of(operation, dtype)
            parts = [f"{library} {number(found.maximum(operation, [library]))}" for library in found.libraries]
            yield f"{dtype:8} {operation:48} bar {limit:6} " + "  ".join(parts)
    yield f"{sum(piece['seconds'] for piece in pieces):.0f} seconds of a core"
    over = over_the_bar(pieces)
    yield f"over the bar: {len(over)} operations and dtypes"
    yield from describe(over)


# ---- The page --------------------------------------------------------------------------------------------------------


def ours(pieces, dtype):
    found = Found(of(pieces, dtype=dtype))
    rows = []
    for operation in found.operations:
        summary, distribution, _ = found.worst(operation, found.ours)
        rows.append([
            operation, bar_of(operation, dtype),
            *(number(found.maximum(operation, [library])) for library in found.ours),
            *(number(found.quantile(operation, found.ours, q)) for q in ("0.5", "0.999")),
            f"{distribution}, {summary['at']['classes']}"])
    levels = [library.removeprefix("crossent ") for library in found.ours]
    return table([dtype, "bar", *levels, "median", "99.9 %", "largest at: distribution, classes"], rows)


def by_distribution(pieces, dtype):
    names = list(dict.fromkeys(piece["distribution"] for piece in of(pieces, dtype=dtype)))
    rows = []
    for name in names:
        found = Found(of(pieces, dtype=dtype, distribution=name))
        rows.append([name, *(number(found.maximum(operation, found.ours)) for operation in SHOWN)])
    return table([dtype, *SHOWN], rows)


def side_by_side(pieces, dtype):
    """Largest error and 99.9 % quantile of every library."""
    found = Found([piece for piece in of(pieces, dtype=dtype) if piece["distribution"] != "masked"])
    rows = []
    for operation in found.operations:
        if any((operation, peer) in found.results for peer in found.peers):
            cells = [f"{number(found.maximum(operation, some))} ({number(found.quantile(operation, some, '0.999'))})"
                     if found.worst(operation, some) else "-" for some in (found.ours, *([p] for p in found.peers))]
            rows.append([operation, *cells])
    return table([dtype, "crossent", *found.peers], rows)


def peers_by_distribution(pieces, dtype, operation):
    rows, peers = [], Found(of(pieces, dtype=dtype)).peers
    for name in dict.fromkeys(piece["distribution"] for piece in of(pieces, dtype=dtype, family="logits")):
        found = Found(of(pieces, dtype=dtype, distribution=name))
        if found.maximum(operation, found.ours) is not None and found.peers:
            groups = (found.ours, *([peer] for peer in peers))
            rows.append([name, *(number(found.maximum(operation, group)) for group in groups)])
    return table([f"{operation}, {dtype}", "crossent", *peers], rows)


def worst_inputs(pieces):
    rows = []
    for dtype in ("float32", "float64"):
        found = Found(of(pieces, dtype=dtype))
        for operation in found.operations:
            if operation in REDUCED:
                continue
            summary, distribution, library = found.worst(operation, found.ours)
            at = summary["at"]
            given = at.get("input", {}) if at["classes"] <= 3 else {}
            short = "; ".join(f"{k} = {v}" for k, v in given.items() if k in ("x", "t", "y", "p", "q"))
            rows.append([operation, dtype, library.removeprefix("crossent "), number(summary["max"], 3), distribution,
                         *(str(at.get(key, "-")) for key in ("classes", "batch", "row", "entry")), short])
    return table(["operation", "dtype", "level", "error", "distribution", "classes", "batch", "row", "entry", "input"],
                 rows)


def versions(pieces):
    known = {library: version for piece in pieces for library, version in piece["libraries"].items()}
    return ", ".join(f"{name} {version}" for name, version in known.items() if not name.startswith("crossent"))


def rows_of(sizes):
    return ", ".join(f"{n:,} of {c:,}" for c, n in sizes.items())


def render(pieces, mode, sizes, beside):
    """The page; `beside`: the pieces with other libraries, of the rows of the tests."""
    elements = 10 * (sum(n for c, n in sizes.items() if c <= 128) // 5)
    what = "The rows are those of the tests." if mode == "short" else "A short version of it is in the tests."
    counts = ROWS.format(rows=rows_of(sizes), elements=f"{elements:,}")
    page = [INTRODUCTION, findings(pieces, beside, list(describe(over_the_bar(pieces))), versions(beside)), searched(),
            METHOD.format(what=what, commands=COMMANDS[mode]), textwrap.fill(counts, 120) + "\n",
            EVERY_OPERATION]
    page += [ours(pieces, dtype) for dtype in DTYPES]
    page.append("## By distribution\n\nThe largest error at any level.\n")
    page += [by_distribution(pieces, dtype) for dtype in ("float32", "float64")]
    if versions(beside):
        text = PEERS_ROWS.format(
            rows=rows_of(SHORT), peers_every=PEERS_EVERY, batch=f"{BATCH:,}", versions=versions(beside))
        page.append("## Beside other libraries\n\n" + textwrap.fill(text, 120) + "\n")
        page += [side_by_side(beside, dtype) for dtype in DTYPES]
        page.append("Where their errors come from: the largest error by distribution.\n")
        page += [peers_by_distribution(beside, "float32", name) for name in SHOWN[:2]]
    page.append("## Where the largest errors are\n\n`inputs.draw` repeats the batch; `--json` has the rows of up to "
                "17 classes.\n")
    page.append(worst_inputs(pieces))
    return "\n".join(page)
