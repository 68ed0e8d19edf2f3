"""The JSON files: what was measured, written short, and several of them joined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import startup
from cells import CELLS


def rounded(value: Any) -> Any:
    """Six digits of each number: a measurement has not more."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def dumps(report: dict[str, Any]) -> str:
    """JSON with a line for each cell: short, and still fit for diff."""
    fields = []
    for name, value in rounded(report).items():
        lines = ",\n".join(json.dumps(entry) for entry in value) if isinstance(value, list) else ""
        fields.append(f"{json.dumps(name)}: " + (f"[\n{lines}\n]" if lines else json.dumps(value)))
    return "{" + ",\n".join(fields) + "}\n"


def join(paths: list[Path]) -> dict[str, Any]:
    """One report of several. Of a cell that was measured twice it has what was disturbed less, or else the later."""
    reports = [json.loads(path.read_text()) for path in paths]
    cells: dict[Any, dict[str, Any]] = {}
    for cell in (cell for one in reports for cell in one["cells"]):
        place = cell["name"], cell.get("threads")
        if place not in cells or (cell.get("others") or 0.0) <= (cells[place].get("others") or 0.0):
            cells[place] = cell
    order = [cell.name for cell in CELLS] + list(startup.NAMES)
    ordered = sorted(cells.values(), key=lambda cell: (cell.get("threads", 0), order.index(cell["name"])))
    return {**reports[-1], "runs": [run for one in reports for run in one["runs"]], "cells": ordered}
