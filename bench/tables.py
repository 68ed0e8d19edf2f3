"""The times of all libraries side by side, with the cells in plain words, as Markdown."""

from __future__ import annotations

from typing import Any

from report import DISTURBED, Result, disturbed, errors

LOSSES = {
    "cross_entropy": "cross-entropy",
    "soft": "cross-entropy with probabilities, smoothed",
    "binary": "binary cross-entropy",
    "distillation": "KL divergence at T = 2",
    "log_softmax": "log-softmax",
}
MODES = {
    "forward": "value",
    "gradient": "value and gradient",
    "fresh": "value and gradient in a new array",
    "in place": "value and gradient in place",
    "output": "into an array",
}


def number_of_threads(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"


def operation(r: Result) -> str:
    """The cell in plain words."""
    return f"{LOSSES[r['loss']]}, {MODES[r['mode']]}"


def array(r: Result) -> str:
    shape = " x ".join(f"{n:,}" for n in r["shape"])
    return shape if r["dtype"] == "float32" else f"{shape} {r['dtype']}"


def library_ms(r: Result) -> dict[str, float]:
    """Of the libraries by name. Two forms of one, such as "JAX" and "JAX, donated", are one: the faster."""
    found: dict[str, float] = {}
    for name, ms in r.get("peer_ms", {}).items():
        library = name.split(",")[0]
        found[library] = min(ms, found.get(library, ms))
    return found


def library_errors(r: Result) -> dict[str, str]:
    """Of the form of a library that is the faster one, in words."""
    times = r.get("peer_ms", {})
    fastest: dict[str, str] = {}
    for name in sorted(times, key=times.__getitem__, reverse=True):
        fastest[name.split(",")[0]] = name
    return {library: errors(r, name) for library, name in fastest.items()} | {"crossent": errors(r, "crossent")}


def compared(results: list[Result], threads: int) -> list[Result]:
    """The cells that other libraries were measured in."""
    return [r for r in results if r.get("threads") == threads and r.get("peer_ms")]


def libraries(results: list[Result]) -> list[str]:
    """In the order of the cell that has the most."""
    names: dict[str, None] = {}
    for r in sorted(results, key=lambda r: -len(library_ms(r))):
        names |= dict.fromkeys(library_ms(r))
    return list(names)


def milliseconds(ms: float | None) -> str:
    """Three digits, fewer below a microsecond; nothing where there is no number."""
    if ms is None:
        return ""
    return f"{ms:,.{0 if ms >= 100 else 1 if ms >= 10 else 2 if ms >= 1 else 3}f}"


def with_error(ms: float | None, ulp: str | None) -> str:
    return milliseconds(ms) + (f" ({ulp})" if ulp else "")


def table(results: list[Result]) -> str:
    """Milliseconds side by side, in Markdown; in brackets the errors."""
    names = libraries(results)
    header = ["operation", "logits", "crossent", *names, "fastest other / crossent"]
    lines = [header, ["---", "---"] + ["---:"] * (len(header) - 2)]
    for r in results:
        theirs = library_ms(r)
        ulp = library_errors(r)
        times = [with_error(r["ms"], ulp["crossent"]), *(with_error(theirs.get(n), ulp.get(n)) for n in names)]
        lines.append([operation(r) + r"\*" * disturbed(r), array(r), *times, f"{r['ratio_to_fastest']:.1f}"])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def footnotes(results: list[Result]) -> list[str]:
    """What the stars stand for, and which libraries failed or computed something else."""
    star = rf"\* Other programs kept more than {DISTURBED} processors busy."
    excluded = [
        f"{name}, {operation(r)} of {array(r)}: {why}."
        for r in results
        for name, why in r.get("not_compared", {}).items()
        if why != "not asked for"
    ]
    return [star] * any(map(disturbed, results)) + excluded


def about(report: dict[str, Any]) -> str:
    """The machine, what was measured on it and when."""
    run = report["runs"][0]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return (
        f"{report.get('machine', report['processor'])}, last-level cache {run['last_level_cache'] >> 20} MiB, "
        f"{run['crossent']['isa']}, {run['crossent']['compiler']}, {report['platform']}; {report['started'][:10]}, "
        f"medians of {report['rounds']} rounds. {versions}."
    )


def markdown(report: dict[str, Any]) -> str:
    """The times of all libraries, a table for each number of threads."""
    text = [about(report)]
    for threads in sorted({r["threads"] for r in report["cells"] if "threads" in r}):
        results = compared(report["cells"], threads)
        if results:
            text += [f"### {number_of_threads(threads).capitalize()}", table(results)]
            text += ["\n".join("* " + note for note in footnotes(results))] * bool(footnotes(results))
    return "\n\n".join(text) + "\n"
