"""The pictures of README.md and of a page in docs/explanation: python docs/figures.py

overview.svg: milliseconds beside other libraries, from bench/results/zen4.json (`python bench/bench.py`), and error
against confidence, from explanation/confidence.json (`python tests/accuracy/confidence.py`).
explanation/accuracy.svg: the latter for loss and gradient.

Plain SVG, without dependencies: text is text, and colours follow the reader's light or dark scheme.
"""

import json
import math
from pathlib import Path

DOCS = Path(__file__).resolve().parent
CONFIDENCE = json.loads((DOCS / "explanation" / "confidence.json").read_text())
THREADS = 2
CELLS = {
    "grad-lm": ("1,024 &#215; 128,256", "cross-entropy"),
    "grad-mid": ("65,536 &#215; 1,000", "cross-entropy"),
    "grad-tiny": ("1,000,000 &#215; 10", "cross-entropy"),
    "bce-grad": ("16.8 million", "binary cross-entropy"),
    "distil": ("1,024 &#215; 32,000", "KL divergence"),
}
FAMILIES = {"torch.compile": "PyTorch", "torch.compile, out": "PyTorch", "JAX, donated": "JAX"}
STYLES = {  # colour, dashes
    "crossent": ("#e5383b", ""),
    "PyTorch": ("#3b82f6", ""),
    "JAX": ("#12a67f", "7 3"),
    "optax": ("#a36bf0", "2 3"),
    "SciPy": ("#a8794d", "1 3"),
    "scikit-learn": ("#e0930f", "9 3 2 3"),
    "NumPy": ("#7c8796", ""),
}
STYLE = """<style>
text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 12px; fill: #4b5563 }
.title { font-size: 14px; font-weight: 600; fill: #111827 } .strong { font-weight: 600; fill: #111827 }
.us { font-weight: 600; fill: #e5383b } .end { text-anchor: end } .middle { text-anchor: middle }
.card { fill: #ffffff } .grid { stroke: #e5e7eb } .bar { stroke: #6b7280; stroke-dasharray: 1 3 } path { fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #9ba7b6 } .title, .strong { fill: #e6edf3 } .us { fill: #ff6b6d }
  .card { fill: #0d1117 } .grid { stroke: #263040 }
}
</style>"""


def text(x, y, value, kind=""):
    return f'<text x="{x:.0f}" y="{y:.0f}"' + (f' class="{kind}"' if kind else "") + f">{value}</text>"


def line(x1, y1, x2, y2, kind="grid"):
    return f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" class="{kind}"/>'


def log_scale(low, high, start, end):
    """From numbers in [low, high] to pixels; numbers outside are moved to the ends."""
    width = math.log(high / low)
    return lambda v: start + (end - start) * math.log(min(max(v, low), high) / low) / width


def digits(ms):
    """Three of them."""
    return f"{ms:#.3g}".rstrip(".")


def power(exponent):
    return "10" + str(exponent).translate(str.maketrans("02468", "⁰²⁴⁶⁸")) if exponent else "1"


def key(x, y, names, dots):
    """A legend in one line."""
    parts = []
    for name in names:
        colour, dashes = STYLES[name]
        is_ours = name == "crossent"
        mark = (f'<circle cx="{x + 6}" cy="{y - 4}" r="{6 if is_ours else 4.5}" fill="{colour}"/>' if dots else
                f'<path d="M{x} {y - 4}h20" stroke="{colour}" stroke-width="{3 if is_ours else 2}" '
                f'stroke-dasharray="{dashes}"/>')
        parts += [mark, text(x + (16 if dots else 26), y, name, "us" if is_ours else "")]
        x += (26 if dots else 40) + 7 * len(name)
    return parts


def times(left, top, width, height):
    """A row of dots for each cell: the fastest form of each library."""
    results = json.loads((DOCS.parent / "bench" / "results" / "zen4.json").read_text())["cells"]
    scale = log_scale(3, 2000, left + 130, left + width)
    bottom = top + height
    parts = []
    for v in (5, 10, 30, 100, 300, 1000):
        parts += [line(scale(v), top, scale(v), bottom), text(scale(v), bottom + 18, f"{v:,}", "middle")]
    parts.append(text(left + 65 + width / 2, bottom + 38, f"milliseconds on {THREADS} threads", "middle"))
    for i, (name, labels) in enumerate(CELLS.items()):
        [cell] = [r for r in results if r["name"] == name and r.get("threads") == THREADS]
        y = top + height * (i + 0.5) / len(CELLS)
        best = {}
        for peer, ms in cell["peer_ms"].items():
            family = FAMILIES.get(peer, peer)
            if family not in STYLES:  # loops for one loss, in C and numba, and libraries that are slower
                continue
            best[family] = min(ms, best.get(family, math.inf))
        parts += [text(left + 118, y - 3, labels[0], "strong end"), text(left + 118, y + 13, labels[1], "end")]
        parts.append(line(scale(cell["ms"]), y, scale(max(best.values())), y))
        parts += [f'<circle cx="{scale(ms):.1f}" cy="{y:.0f}" r="4.5" fill="{STYLES[family][0]}"/>'
                  for family, ms in best.items()]
        parts.append(f'<circle cx="{scale(cell["ms"]):.1f}" cy="{y:.0f}" r="7" fill="{STYLES["crossent"][0]}"/>')
        parts.append(text(scale(cell["ms"]), y - 11, digits(cell["ms"]), "us middle"))
        parts.append(text(scale(min(best.values())), y - 11, digits(min(best.values())), "middle"))
    return parts


def errors(left, top, width, height, quantity, names):
    """Lines of the largest error against the gap between the two largest logits."""
    x, y = log_scale(0.1, 100, left, left + width), log_scale(0.1, 1e8, top + height, top)
    parts = []
    for exponent in range(-1, 9):
        parts.append(line(left, y(10.0**exponent), left + width, y(10.0**exponent)))
        if exponent % 2 == 0:
            parts.append(text(left - 8, y(10.0**exponent) + 4, power(exponent), "end"))
    for v in ("0.1", "1", "10", "100"):
        parts.append(text(x(float(v)), top + height + 18, v, "middle"))
    parts.append(text(left + width / 2, top + height + 38, "gap between the two largest logits", "middle"))
    parts += [line(left, y(4), left + width, y(4), "bar"), text(left + width, y(4) - 6, "4 ULP", "end")]
    parts.append(text(left + width, y(2.0**24) - 6, "the result is 0", "end"))
    for name in (*names[1:], names[0]):
        if name not in CONFIDENCE[quantity]:
            continue
        colour, dashes = STYLES[name]
        pairs = zip(CONFIDENCE["gaps"], CONFIDENCE[quantity][name], strict=True)
        points = " ".join(f"{x(gap):.1f} {y(e):.1f}" for gap, e in pairs)
        parts.append(f'<path d="M{points}" stroke="{colour}" stroke-width="{3 if name == names[0] else 2}" '
                     f'stroke-dasharray="{dashes}"/>')
    return parts


def write(name, width, height, title, parts):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img">\n<title>{title}</title>\n{STYLE}')
    card = f'<rect class="card" width="{width}" height="{height}" rx="10"/>'
    (DOCS / name).write_text("\n".join([head, card, *parts, "</svg>"]) + "\n")


def overview():
    parts = [text(24, 34, "Loss and gradient in float32: time of a call", "title")]
    parts += key(24, 60, ("crossent", "PyTorch", "JAX", "SciPy", "scikit-learn", "NumPy"), dots=True)
    parts += times(24, 78, 450, 240)
    parts += [text(540, 34, "Loss of confident rows in float32: largest error in ULP", "title")]
    names = ("crossent", "PyTorch", "JAX", "SciPy", "scikit-learn")
    parts += key(540, 60, names, dots=False)
    parts += errors(564, 78, 400, 240, "loss", names)
    write("overview.svg", 990, 376, "Speed and accuracy of crossent beside other libraries", parts)


def accuracy():
    names = tuple(CONFIDENCE["loss"])
    parts = [text(24, 34, "cross_entropy in float32, confident and right, 10 classes: largest error in ULP", "title")]
    parts += key(24, 60, names, dots=False)
    for left, quantity in ((64, "loss"), (550, "gradient")):
        parts += [text(left, 90, quantity, "strong"), *errors(left, 102, 410, 250, quantity, names)]
    write("explanation/accuracy.svg", 990, 410, "Error of the float32 cross-entropy against confidence", parts)


if __name__ == "__main__":
    overview()
    accuracy()
