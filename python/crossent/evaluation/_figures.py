"""What the results have in common: numbers for JSON, tables to read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, NamedTuple


class Table(NamedTuple):
    """The first column is text, the others are numbers."""

    heads: Sequence[str]
    lines: Sequence[Sequence[str]]

    def __str__(self) -> str:
        rows = [self.heads, *self.lines]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        aligned = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
        return "\n".join("  ".join(row).rstrip() for row in aligned)


class Figures:
    """A dataclass of figures."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """The attributes as numbers, dicts and lists for JSON; a number that is infinite or NaN is None."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    def tables(self) -> list[Table]:
        """What `str` shows."""
        raise NotImplementedError

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables()))


class MeanFigures(Figures):
    """Some of them means, with standard errors by their names."""

    __slots__ = ()
    standard_errors: dict[str, float]
    block_standard_errors: dict[str, float] | None

    def figure_lines(self, counts: Sequence[str], means: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
        """A name, a value and its two standard errors, "" where there is none; what is None is left out."""
        for name in counts:
            value = getattr(self, name)
            if value is not None:
                yield name, f"{value:,}", "", ""
        by_block = self.block_standard_errors or {}
        for name in means:
            value = getattr(self, name)
            if value is not None:
                errors = error_text(self.standard_errors[name]), error_text(by_block.get(name))
                yield name, f"{value:,.6g}", *errors


def plain(value: Any) -> Any:
    if isinstance(value, Figures):
        return value.as_dict()
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: plain(x) for name, x in value.items()}
    if isinstance(value, tuple):
        return [plain(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def error_text(value: float | None) -> str:
    """A standard error, of which no more than two digits are known."""
    return "" if value is None else f"{value:.2g}"


def number_text(value: float, itemsize: int) -> str:
    """With the digits that tell a number from all others of its dtype."""
    return f"{value:.{9 if itemsize == 4 else 17}g}"
