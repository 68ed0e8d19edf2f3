"""The results against the bars, a line for each cell."""

from __future__ import annotations

from typing import Any

Result = dict[str, Any]  # what worker.py or startup.py measured of a cell
WORDS = {True: "reached", False: "falls short", None: "not compared"}
DISTURBED = 0.1  # processors that other programs kept busy while a cell was measured
STAR = f"* other programs kept more than {DISTURBED} processors busy: measure again before you believe it"
HEADER = (
    f"{'cell':<13}{'T':>3}{'ms':>10}{'GB/s':>7}  {'memory':<12}{'GB/s':>6}{'L2':>7}{'share':>7}"
    f"{'bar':>7}  {'':<13}{'ratio':>7}{'bar':>7}  {'':<14}{'hardest peer':<20}ULP: its, ours"
)


def number(value: float | None, form: str = ".2f") -> str:
    return "" if value is None else format(value, form)


def share_part(r: Result) -> tuple[str, str, str]:
    """What is compared with the first bar, the bar, and the verdict."""
    verdict = "" if r.get("reached_share") is None else WORDS[r["reached_share"]]
    if "value" in r:
        return f"{r['value']:.2f} {r['unit']}", f"{r['limit']} {r['unit']}", verdict
    if r.get("slowdown") is not None:
        return f"{r['slowdown']:.2f}x time", f"{r['slowdown_bar']}x", verdict
    if r.get("latency") is not None:
        return f"{1e3 * r['ms']:.1f} us", f"{1e6 * r['latency']:.0f} us", verdict
    return number(r.get("share_of_ceiling")), number(r.get("share")), verdict


def ratio_part(r: Result) -> tuple[str, str, str, str | None]:
    """Against the peer that is the farthest from its bar: the ratio, the bar, the verdict, the peer."""
    name = r.get("hardest_peer") or r.get("fastest_peer")
    verdict = WORDS[r["reached_ratio"]] if "reached_ratio" in r else ""
    if name is None:
        return "", "", verdict, None
    ratio = r.get("peer_ratio", {}).get(name, r["ratio_to_fastest"])
    bar = r.get("peer_bar", {}).get(name, r["ratio"])
    return f"{ratio:.2f}", f"{bar:.3g}x", verdict, name


def errors(r: Result, name: str | None) -> str:
    """The largest errors in ULP of a library: on rows like those that are timed, on rows with a loss near 0."""
    return "/".join(format(error, ".1f" if error < 100 else ".0e") for error in r.get("ulp", {}).get(name, ()))


def disturbed(r: Result) -> bool:
    return (r.get("others") or 0.0) > DISTURBED


def line(r: Result) -> str:
    if "not_measured" in r:
        return f"{r['name']:<13}{r['threads']:>3}  not measured: {r['not_measured']}"
    value, bar, verdict = share_part(r)
    if "value" in r:
        return f"{r['name']:<13}{'':>3}{value:>17}{'':>34}{bar:>14}  {verdict}"
    ratio, ratio_bar, ratio_verdict, peer = ratio_part(r)
    name = r["name"] + "*" * disturbed(r)
    return (
        f"{name:<13}{r['threads']:>3}{r['ms']:>10.3f}{r['gb_per_s']:>7.2f}  {r.get('ceiling_kernel', ''):<12}"
        f"{number(r.get('ceiling_gb_per_s'), '.1f'):>6}{number(r.get('arithmetic_gb_per_s'), '.1f'):>7}"
        f"{value.split(' ')[0]:>7}{bar:>7}  {verdict:<13}{ratio:>7}{ratio_bar:>7}  {ratio_verdict:<14}"
        f"{peer or '':<20}{errors(r, peer):<14}{errors(r, 'crossent')}"
    ).rstrip()


def notes(results: list[Result]) -> list[str]:
    """What to know about the table; why peers were left out, one line for each reason, with the cells."""
    cells: dict[tuple[str, str], list[str]] = {}
    for r in results:
        for peer, why in r.get("not_compared", {}).items():
            cells.setdefault((peer, why), []).append(r["name"])
    star = [STAR] * any(map(disturbed, results))
    return star + [
        f"{peer}: {why}" + (f" ({', '.join(sorted(set(names)))})" if len(set(names)) < 8 else "")
        for (peer, why), names in cells.items()
    ]
