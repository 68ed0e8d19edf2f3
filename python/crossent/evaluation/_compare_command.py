"""``crossent compare``: the figures of `compare` for two files of logits."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from . import _command, _terminal

if TYPE_CHECKING:
    from ._results import Figures
    from ._rows import Rows

CSV_COLUMNS = (
    "position",
    "target",
    "kl",
    "base_log_prob",
    "other_log_prob",
    "base_argmax",
    "other_argmax",
    "reverse_kl",
    "js",
)


def add_parser(commands: Any) -> None:
    """The command `compare`, for the parser of `crossent`."""
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
    parser.add_argument("--worst", type=int, default=10, metavar="N", help="list so many of the worst tokens (10)")
    parser.add_argument("--llama", action="store_true", help="print what llama-perplexity --kl-divergence does")
    _command.add_output_options(parser, CSV_COLUMNS)
    parser.set_defaults(run=lambda options: _terminal.guarded("compare", lambda: run(options)))


def run(options: argparse.Namespace) -> int:
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
    rows = {"ignore_index": options.ignore_index, "skip_nan": options.skip_nan}
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
    return _command.run(
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
