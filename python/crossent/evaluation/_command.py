"""``crossent eval``: the figures of `evaluate` for files of logits and targets."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import _terminal

if TYPE_CHECKING:
    from .._results import RowStatistics
    from .._types import Array
    from ._replaced_file import ReplacedFile
    from ._token_statistics import TokenStatistics

CSV_COLUMNS = ("position", "target", "log_prob", "rank", "argmax", "entropy")


def add_parser(commands: Any) -> None:
    """The command `eval`, for the parser of `crossent`."""
    parser = commands.add_parser(
        "eval",
        help="loss, perplexity, accuracy, ranks and calibration of logits in files, with standard errors",
        description="Say how well logits in a file predict their targets, with standard errors by token and by block.",
        epilog=_terminal.EXIT_CODES,
    )
    _terminal.add_logits_and_targets(parser)
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help="divide the logits by it")
    _terminal.add_output_options(parser)
    parser.add_argument("--csv", metavar="FILE", help=f"write a line for each token: {', '.join(CSV_COLUMNS)}")
    parser.set_defaults(run=lambda options: _terminal.guarded("eval", lambda: run(options)))


def run(options: argparse.Namespace) -> int:
    """Errors are raised."""
    from ._calibration import check_bins
    from ._evaluate import block_index, summary
    from ._inputs import open_rows, open_targets
    from ._report import evaluation_page, report_file
    from ._token_statistics import TokenStatistics

    check_bins(options.bins)
    report = report_file(options.report)
    rows = open_rows(options.logits, shape=options.shape, dtype=options.dtype, vocab_size=options.vocab_size)
    target = open_targets(options.targets, rows.count)
    index = block_index(_terminal.load_blocks(options.blocks), rows.count)
    statistics = TokenStatistics(
        rows,
        target,
        ignore_index=options.ignore_index,
        temperature=options.temperature,
        skip_nan=options.skip_nan,
    )
    try:
        with _terminal.threads(options.threads), report as page:
            _read(statistics, options.csv)
            result = summary(statistics, index, options.bins)
            if page is not None:
                window = options.blocks if isinstance(options.blocks, int) else None
                page.write(evaluation_page(statistics, result, options.logits, options.targets, window))
    except KeyboardInterrupt:
        return _interrupted(statistics, index, options)
    _print(result, statistics, options.json)
    return 0


def _read(statistics: TokenStatistics, path: str | None) -> None:
    from ._progress import Progress
    from ._replaced_file import ReplacedFile

    rows = statistics.rows
    progress = Progress(rows.count, rows.classes * rows.dtype.itemsize)
    try:
        with (
            ReplacedFile(path) if path is not None else contextlib.nullcontext() as file,
            contextlib.closing(statistics.read()) as blocks,
        ):
            if file is not None:
                csv.writer(file, lineterminator="\n").writerow(CSV_COLUMNS)
            for first, found in blocks:
                if file is not None:
                    _write(file, first, statistics.target[first : statistics.done], found)
                progress.update(statistics.done)
    finally:
        progress.clear()


def _write(file: ReplacedFile, first: int, target: Array, found: RowStatistics) -> None:
    csv.writer(file, lineterminator="\n").writerows(_csv_lines(first, target, found))


def _csv_lines(first: int, target: Array, found: RowStatistics) -> Iterator[tuple[Any, ...]]:
    """Of the rows that count; numbers have the digits that tell them from all others of their dtype."""
    assert found.log_prob is not None and found.rank is not None
    digits = 9 if found.log_prob.itemsize == 4 else 17
    columns = (target, found.log_prob, found.rank, found.argmax, found.entropy)
    lines = zip(*(x.tolist() for x in columns), strict=True)
    for at, (label, log_prob, rank, argmax, entropy) in enumerate(lines, first):
        if rank >= 0:
            yield at, label, f"{log_prob:.{digits}g}", rank + 1, argmax, f"{entropy:.{digits}g}"


def _interrupted(statistics: TokenStatistics, index: Array | None, options: argparse.Namespace) -> int:
    from ._evaluate import summary

    read = f"{statistics.done:,} of {statistics.rows.count:,} rows"
    kept = (f"; {path} is not written" for path in (options.csv, options.report) if path is not None)
    print(f"crossent eval: interrupted after {read}{''.join(kept)}", file=sys.stderr)
    with contextlib.suppress(ValueError):  # none of these rows counts
        _print(summary(statistics, index, options.bins), statistics, options.json)
    return _terminal.INTERRUPTED


def _print(result: Any, statistics: TokenStatistics, as_json: bool) -> None:
    if as_json:
        progress = {"rows": statistics.rows.count, "rows_read": statistics.done}
        _terminal.print_out(json.dumps(progress | result.as_dict(), indent=2, allow_nan=False))
    else:
        _terminal.print_table(result.heads(), result.lines(), str(result))
