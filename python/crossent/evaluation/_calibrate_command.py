"""``crossent calibrate``: the temperature of files of logits and targets."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from . import _terminal

if TYPE_CHECKING:
    from .._types import Array
    from ._rows import Rows
    from ._token_statistics import TokenStatistics


def add_parser(commands: Any) -> None:
    """The command `calibrate`, for the parser of `crossent`."""
    parser = commands.add_parser(
        "calibrate",
        help="the temperature of the least loss of logits in files, and loss and calibration before and after",
        description="Find the temperature that makes the loss of logits in a file least, reading it some times.",
        epilog=_terminal.EXIT_CODES,
    )
    _terminal.add_logits_and_targets(parser)
    low_high = "the least and the largest temperature (1e-3 1e3)"
    parser.add_argument("--bounds", type=float, nargs=2, default=(1e-3, 1e3), metavar=("LOW", "HIGH"), help=low_high)
    parser.add_argument("--holdout", action="store_true", help="fit to every second block, or row; judge the others")
    _terminal.add_output_options(parser)
    parser.set_defaults(run=lambda options: _terminal.guarded("calibrate", lambda: run(options)))


def run(options: argparse.Namespace) -> int:
    """Errors are raised."""
    from ._calibrate import check_bounds, fit_and_judge, split
    from ._calibration import check_bins
    from ._evaluate import block_index
    from ._inputs import open_rows, open_targets
    from ._report import calibration_page, report_file

    check_bins(options.bins)
    bounds = tuple(options.bounds)
    check_bounds(bounds)
    report = report_file(options.report)
    rows = open_rows(options.logits, shape=options.shape, dtype=options.dtype, vocab_size=options.vocab_size)
    target = open_targets(options.targets, rows.count)
    index = block_index(_terminal.load_blocks(options.blocks), rows.count)
    passes = Passes(rows, target, options)
    try:
        with _terminal.threads(options.threads), report as file:
            judged = fit_and_judge(passes.read, bounds, split(rows, index, options.holdout), index, options.bins)
            if file is not None:
                file.write(calibration_page(*judged, options.logits, options.targets))
    except KeyboardInterrupt:
        kept = "" if options.report is None else f"; {options.report} is not written"
        print(f"crossent calibrate: interrupted in {passes}{kept}", file=sys.stderr)
        return _terminal.INTERRUPTED
    if options.json:
        _terminal.print_out(json.dumps(judged.result.as_dict(), indent=2, allow_nan=False))
    else:
        _terminal.print_result(judged.result)
    return 0


class Passes:
    """Reads the logits once for each temperature, with a progress bar; as text, how far it is."""

    def __init__(self, rows: Rows, target: Array, options: argparse.Namespace) -> None:
        self._rows, self._target, self._options = rows, target, options
        self._count, self._temperature = 0, 1.0

    def read(self, temperature: float) -> TokenStatistics:
        from ._progress import Progress
        from ._token_statistics import TokenStatistics

        self._count, self._temperature = self._count + 1, temperature
        rows, options = self._rows, self._options
        statistics = TokenStatistics(
            rows,
            self._target,
            ignore_index=options.ignore_index,
            temperature=temperature,
            skip_nan=options.skip_nan,
        )
        progress = Progress(rows.count, rows.classes * rows.dtype.itemsize, f"{self}: ")
        try:
            with closing(statistics.read()) as blocks:
                for _ in blocks:
                    progress.update(statistics.done)
        finally:
            progress.clear()
        return statistics

    def __str__(self) -> str:
        return f"pass {self._count}, at temperature {self._temperature:.6g}"
