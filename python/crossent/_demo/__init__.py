"""`crossent demo`: parts that each measure something, then one report. Needs the extra `demo`."""

from __future__ import annotations

from pathlib import Path


def run(out: Path) -> int:
    # Here rather than above: bench/ imports .measure from this package and needs no extra.
    from .report import run

    return run(out)
