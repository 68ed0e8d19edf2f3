"""``crossent eval``: the figures of `evaluate` for files of logits and targets."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import _command, _terminal
from ._results import number_text

if TYPE_CHECKING:
    from .._results import RowStatistics
    from .._types import Array

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
    _command.add_output_options(parser, CSV_COLUMNS)
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

    window = options.blocks if isinstance(options.blocks, int) else None

    def lines(first: int, found: RowStatistics) -> Iterator[tuple[Any, ...]]:
        return _csv_lines(first, target[first : statistics.done], found)

    return _command.run(
        "eval",
        options,
        statistics,
        lambda: summary(statistics, index, options.bins),
        CSV_COLUMNS,
        lines,
        report,
        lambda result: evaluation_page(statistics, result, options.logits, options.targets, window),
    )


def _csv_lines(first: int, target: Array, found: RowStatistics) -> Iterator[tuple[Any, ...]]:
    """Of the rows that count."""
    assert found.log_prob is not None and found.rank is not None
    size = found.log_prob.itemsize
    columns = (target, found.log_prob, found.rank, found.argmax, found.entropy)
    numbers = zip(*(x.tolist() for x in columns), strict=True)
    for at, (label, log_prob, rank, argmax, entropy) in enumerate(numbers, first):
        if rank >= 0:
            yield at, label, number_text(log_prob, size), rank + 1, argmax, number_text(entropy, size)
