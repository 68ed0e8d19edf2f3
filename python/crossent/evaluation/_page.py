"""Pages of HTML that need nothing else: no network, no other file, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple


class Table(NamedTuple):
    """Text in rows and columns; the first column says what a row is about."""

    title: str
    heads: Sequence[str]
    lines: Sequence[Sequence[str]]
    note: str = ""
    is_wide: bool = True
    """Whether nothing stands beside it."""


class Chart(NamedTuple):
    """A picture, as SVG, with a sentence or two that say what it shows."""

    title: str
    svg: str
    caption: str
    is_wide: bool = False


class Note(NamedTuple):
    """A sentence where there is nothing to show."""

    title: str
    text: str


def page(title: str, facts: Iterable[tuple[str, str]], parts: Sequence[Table | Chart | Note]) -> str:
    """`facts` are names and values below the title; charts that follow each other stand side by side."""
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    text = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header><h1>{escape(title)}</h1><dl>{listed}</dl></header>
<div class="parts">
{"".join(map(_part, parts))}</div>
</main>
</body>
</html>
"""
    return text.encode("utf-8", "replace").decode("utf-8")  # names of files may be any bytes


def _part(part: Table | Chart | Note) -> str:
    title = f"<h2>{escape(part.title)}</h2>"
    begin = '<section class="wide">' if not isinstance(part, Note) and part.is_wide else "<section>"
    match part:
        case Chart():
            caption = f"<figcaption>{escape(part.caption)}</figcaption>"
            return f"{begin}{title}<figure>{part.svg}{caption}</figure></section>\n"
        case Note():
            return f"{begin}{title}<p>{escape(part.text)}</p></section>\n"
        case Table():
            note = f"<p>{escape(part.note)}</p>" if part.note else ""
            return f'{begin}{title}{note}<div class="scroll">{_table(part)}</div></section>\n'


def _table(table: Table) -> str:
    heads = "".join(f'<th scope="col">{escape(head)}</th>' if head else "<td></td>" for head in table.heads)
    lines = "".join(
        f'<tr><th scope="row">{escape(line[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in line[1:])}</tr>\n'
        for line in table.lines
    )
    return f"<table><thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}</tbody></table>"
