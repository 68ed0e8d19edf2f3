"""``crossent eval``, ``compare`` and ``calibrate``: the figures of files of logits and targets."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from . import _terminal
from ._results import number_text

if TYPE_CHECKING:
    from .._results import RowStatistics
    from .._types import Array
    from ._results import Figures
    from ._rows import Rows
    from ._token_statistics import TokenStatistics


def add_parsers(commands: Any) -> None:
    """These commands, for the parser of `crossent`."""
    _add_eval(commands)
    _add_compare(commands)
    _add_calibrate(commands)


def _open_inputs(options: argparse.Namespace) -> tuple[Rows, Array, Any]:
    """The logits, the targets, and the blocks that they are of."""
    from ._evaluate import block_index
    from ._inputs import open_rows, open_targets

    rows = open_rows(options.logits, shape=options.shape, dtype=options.dtype, vocab_size=options.vocab_size)
    target = open_targets(options.targets, rows.count)
    return rows, target, block_index(_terminal.load_blocks(options.blocks), rows.count)


def _statistics(rows: Rows, target: Array, options: argparse.Namespace) -> Callable[..., TokenStatistics]:
    """Those of a pass that has yet to read the rows, at a temperature."""
    from ._token_statistics import TokenStatistics

    return partial(
        TokenStatistics,
        rows,
        target,
        ignore_index=options.ignore_index,
        softcap=options.softcap,
        logit_bias=_terminal.load_array(options.logit_bias),
        skip_nan=options.skip_nan,
    )


# ---- eval ------------------------------------------------------------------------------------------------------------

EVAL_COLUMNS = ("position", "target", "log_prob", "rank", "argmax", "entropy")


def _add_eval(commands: Any) -> None:
    parser = commands.add_parser(
        "eval",
        help="loss, perplexity, accuracy, ranks and calibration of logits in files, with standard errors",
        description="Say how well logits in a file predict their targets, with standard errors by token and by block.",
        epilog=_terminal.EXIT_CODES,
    )
    _terminal.add_logits_and_targets(parser)
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help="divide the logits by it")
    _terminal.add_csv_options(parser, EVAL_COLUMNS)
    parser.set_defaults(run=lambda options: _terminal.guarded("eval", lambda: _eval(options)))


def _eval(options: argparse.Namespace) -> int:
    """Errors are raised."""
    from ._calibration import check_bins
    from ._evaluate import summary
    from ._report import evaluation_page, report_file

    check_bins(options.bins)
    report = report_file(options.report)
    rows, target, index = _open_inputs(options)
    statistics = _statistics(rows, target, options)(temperature=options.temperature)
    window = options.blocks if isinstance(options.blocks, int) else None

    def lines(first: int, found: RowStatistics) -> Iterator[tuple[Any, ...]]:
        return _csv_lines(first, target[first : statistics.done], found)

    return _terminal.run_once(
        "eval",
        options,
        statistics,
        lambda: summary(statistics, index, options.bins),
        EVAL_COLUMNS,
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


# ---- compare ---------------------------------------------------------------------------------------------------------

COMPARE_COLUMNS = (
    "position", "target", "kl", "base_log_prob", "other_log_prob", "base_argmax", "other_argmax", "reverse_kl", "js",
)


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="divergence of the predictions of two models, and how their perplexities differ, with standard errors",
        description="Say how far the predictions in one file of logits are from those in another, row by row.",
        epilog=_terminal.EXIT_CODES,
    )
    parser.add_argument("base", metavar="BASE", help="logits of the model to compare with: .npy, .npz, .kld, ..")
    parser.add_argument("other", metavar="OTHER", help="logits of the other model for the same rows")
    targets = "a class index for each row; a base of llama-perplexity has its own"
    parser.add_argument("--targets", metavar="FILE", help=targets)
    _terminal.add_input_options(parser)
    for model in ("base", "other"):
        _terminal.add_logit_options(parser, f"{model}-", f" of {model.upper()}")
    parser.add_argument("--worst", type=int, default=10, metavar="N", help="list so many of the worst tokens (10)")
    parser.add_argument("--llama", action="store_true", help="print what llama-perplexity --kl-divergence does")
    _terminal.add_csv_options(parser, COMPARE_COLUMNS)
    parser.set_defaults(run=lambda options: _terminal.guarded("compare", lambda: _compare(options)))


def _compare(options: argparse.Namespace) -> int:
    """Errors are raised."""
    from ._compare import check_worst, matched, open_paired_targets, window_length
    from ._compare_summary import summary
    from ._evaluate import block_index
    from ._llama import LlamaStatistics
    from ._paired_statistics import Divergences, PairedStatistics, csv_lines
    from ._report import comparison_page, report_file

    check_worst(options.worst)
    if options.llama and options.report is not None:
        raise ValueError("--report shows what --llama leaves out: expected one of them")
    report = report_file(options.report)
    base, other = matched(_open(options.base, options), _open(options.other, options))
    target = open_paired_targets(options.targets, options.base, base)
    blocks = _terminal.load_blocks(options.blocks)
    index = block_index(blocks, base.count)
    rows = {
        "ignore_index": options.ignore_index,
        "base_softcap": options.base_softcap,
        "base_logit_bias": _terminal.load_array(options.base_logit_bias),
        "other_softcap": options.other_softcap,
        "other_logit_bias": _terminal.load_array(options.other_logit_bias),
        "skip_nan": options.skip_nan,
    }
    window = window_length(blocks)
    statistics: PairedStatistics
    result: Callable[[], Figures]
    if options.llama:
        statistics = as_llama = LlamaStatistics(base, other, target, **rows)
        result = as_llama.summary
    else:
        statistics = divergences = Divergences(base, other, target, **rows)
        result = partial(summary, divergences, index, window, options.worst)
    columns = ("position", *statistics.columns())
    return _terminal.run_once(
        "compare",
        options,
        statistics,
        result,
        columns,
        lambda first, _: csv_lines(statistics, first),
        report,
        lambda found: comparison_page(statistics, found, options.base, options.other, window),
    )


def _open(path: str, options: argparse.Namespace) -> Rows:
    """Shape and dtype are those of the raw one of the two files, where the other says its own."""
    from ._inputs import open_rows, says_its_shape

    raw = {} if says_its_shape(path) else {"shape": options.shape, "dtype": options.dtype}
    return open_rows(path, vocab_size=options.vocab_size, **raw)


# ---- calibrate -------------------------------------------------------------------------------------------------------


def _add_calibrate(commands: Any) -> None:
    parser = commands.add_parser(
        "calibrate",
        help="the temperature of the least loss of logits in files, and loss and calibration before and after",
        description="Find the temperature that makes the loss of logits in a file least, reading it some times.",
        epilog=_terminal.EXIT_CODES,
    )
    _terminal.add_logits_and_targets(parser)
    low_high = "the least and the largest temperature (1e-3 1e3)"
    parser.add_argument("--bounds", type=float, nargs=2, default=(1e-3, 1e3), metavar=("LOW", "HIGH"), help=low_high)
    parser.add_argument("--max-passes", type=int, default=20, metavar="N", help="read the logits at most N times (20)")
    parser.add_argument("--holdout", action="store_true", help="fit to every second block, or row; judge the others")
    _terminal.add_output_options(parser)
    parser.set_defaults(run=lambda options: _terminal.guarded("calibrate", lambda: _calibrate(options)))


def _calibrate(options: argparse.Namespace) -> int:
    """Errors are raised."""
    from ._calibrate import check_search, fit_and_judge, split
    from ._calibration import check_bins
    from ._report import calibration_page, report_file

    check_bins(options.bins)
    bounds = tuple(options.bounds)
    max_passes = check_search(bounds, options.max_passes)
    report = report_file(options.report)
    rows, target, index = _open_inputs(options)
    passes = _Passes(rows, target, options)
    try:
        with _terminal.threads(options.threads), report as file:
            fitted = split(rows, index, options.holdout)
            judged = fit_and_judge(passes.read, bounds, max_passes, fitted, index, options.bins)
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


class _Passes:
    """Reads the logits once for each temperature, with a progress bar; as text, how far it is."""

    def __init__(self, rows: Rows, target: Array, options: argparse.Namespace) -> None:
        self._rows, self._statistics = rows, _statistics(rows, target, options)
        self._count, self._temperature = 0, 1.0

    def read(self, temperature: float) -> TokenStatistics:
        self._count, self._temperature = self._count + 1, temperature
        rows, statistics = self._rows, self._statistics(temperature=temperature)
        progress = _terminal.Progress(rows.count, rows.classes * rows.dtype.itemsize, f"{self}: ")
        try:
            with closing(statistics.read()) as blocks:
                for _ in blocks:
                    progress.update(statistics.done)
        finally:
            progress.clear()
        return statistics

    def __str__(self) -> str:
        return f"pass {self._count}, at temperature {self._temperature:.6g}"
