"""What `crossent eval` and `crossent compare` have in common: rows are read, a result is printed, also after Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from . import _terminal

if TYPE_CHECKING:
    from ._replaced_file import ReplacedFile
    from ._results import Figures
    from ._token_statistics import Reading

Lines = Callable[[int, Any], Iterable[Sequence[Any]]]


def add_output_options(parser: argparse.ArgumentParser, columns: Sequence[str]) -> None:
    """The options of every command that reads rows once and prints a result."""
    _terminal.add_output_options(parser)
    parser.add_argument("--csv", metavar="FILE", help=f"write a line for each token: {', '.join(columns)}")


def run(
    name: str,
    options: argparse.Namespace,
    statistics: Reading[Any],
    summary: Callable[[], Figures],
    columns: Sequence[str],
    lines: Lines,
    report: AbstractContextManager[ReplacedFile | None],
    page: Callable[[Any], str],
) -> int:
    """The exit code. `lines` makes those of a block for the file of `--csv`, `page` the report; errors are raised."""
    try:
        with _terminal.threads(options.threads), report as file:
            _read(statistics, options.csv, columns, lines)
            result = summary()
            if file is not None:
                file.write(page(result))
    except KeyboardInterrupt:
        read = f"{statistics.done:,} of {statistics.inputs[0].count:,} rows"
        kept = (f"; {path} is not written" for path in (options.csv, options.report) if path is not None)
        print(f"crossent {name}: interrupted after {read}{''.join(kept)}", file=sys.stderr)
        with contextlib.suppress(ValueError):  # none of these rows counts
            _print(summary(), statistics, options.json)
        return _terminal.INTERRUPTED
    _print(result, statistics, options.json)
    return 0


def _read(statistics: Reading[Any], path: str | None, columns: Sequence[str], lines: Lines) -> None:
    from ._progress import Progress
    from ._replaced_file import ReplacedFile

    inputs = statistics.inputs
    progress = Progress(inputs[0].count, sum(rows.classes * rows.dtype.itemsize for rows in inputs))
    try:
        with (
            ReplacedFile(path) if path is not None else contextlib.nullcontext() as file,
            contextlib.closing(statistics.read()) as blocks,
        ):
            writer = None if file is None else csv.writer(file, lineterminator="\n")
            if writer is not None:
                writer.writerow(columns)
            for first, found in blocks:
                if writer is not None:
                    writer.writerows(lines(first, found))
                progress.update(statistics.done)
    finally:
        progress.clear()


def _print(result: Figures, statistics: Reading[Any], as_json: bool) -> None:
    if as_json:
        progress = {"rows": statistics.inputs[0].count, "rows_read": statistics.done}
        _terminal.print_out(json.dumps(progress | result.as_dict(), indent=2, allow_nan=False))
    else:
        _terminal.print_result(result)
