"""What the commands have in common: one-line errors, results on stdout, options of the inputs."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._types import Array
    from ._results import Figures

BAD_INPUT = 2
INTERRUPTED = 130
EXIT_CODES = f"""exit codes: 0, done; {BAD_INPUT}, a mistake in the arguments, an input that cannot be used, or an
output that cannot be written (one line on stderr says which); {INTERRUPTED}, interrupted by Ctrl-C, after printing what
was done so far"""


def guarded(command: str, run: Callable[[], int]) -> int:
    """The exit code of `run`, whose errors become one line."""
    try:
        return run()
    except (OSError, ValueError, TypeError, LookupError, MemoryError, ImportError) as error:
        print(f"crossent {command}: {_message(error)}", file=sys.stderr)
        return BAD_INPUT


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}"
    return " ".join(str(error).split())


def print_out(text: str) -> None:
    """To stdout, now: a full disk or a closed pipe raises here, and not when Python ends."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python flushes at the end
        raise OSError(error.errno, error.strerror, "stdout") from None


def print_result(result: Figures) -> None:
    """By rich in a terminal, if it is installed; else as text."""
    tables = result.tables() if sys.stdout.isatty() else []
    try:
        if tables:
            from rich.console import Console
            from rich.table import Table
    except ImportError:
        tables = []
    if not tables:
        print_out(str(result))
    for table in tables:
        shown = Table()
        for at, head in enumerate(table.heads):
            shown.add_column(head, justify="right" if at else "left")
        for line in table.lines:
            shown.add_row(*line)
        Console().print(shown)


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that reads logits and targets."""
    add = parser.add_argument
    ignored = "rows of this target are left out (-100); or none"
    add("--ignore-index", type=integer_or_none, default=-100, metavar="I", help=ignored)
    together = "rows of a window, or a .npy of the document of each row, for standard errors by block"
    add("--blocks", type=integer_or_path, metavar="N|FILE", help=together)
    add("--vocab-size", type=int, metavar="N", help="so many classes are there; those behind them are padding")
    add("--shape", type=shape, metavar="N,C", help="shape of a raw file")
    add("--dtype", help="dtype of a raw file")
    add("--skip-nan", action="store_true", help="leave out rows with a NaN, and count them")
    add("--threads", type=int, metavar="N", help="use at most so many threads")


def add_logits_and_targets(parser: argparse.ArgumentParser) -> None:
    """What the commands for one model read."""
    parser.add_argument("logits", metavar="LOGITS", help="rows of logits: .npy, .npz, .safetensors, .kld, ..")
    parser.add_argument("targets", metavar="TARGETS", help="a class index for each row, of the same formats")
    add_input_options(parser)
    parser.add_argument("--bins", type=int, default=15, metavar="N", help="bins of the calibration errors (15)")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that prints figures."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--report", metavar="FILE", help="write a page of HTML with tables and charts (matplotlib)")


def integer_or_none(text: str) -> int | None:
    return None if text.lower() == "none" else int(text)


def integer_or_path(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def shape(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.replace("x", ",").split(","))


def threads(count: int | None) -> contextlib.AbstractContextManager[object]:
    """In which at most so many threads are used."""
    from .. import num_threads

    return contextlib.nullcontext() if count is None else num_threads(count)


def load_blocks(given: int | str | None) -> int | Array | None:
    if not isinstance(given, str):
        return given
    import numpy as np

    try:
        array: Array = np.load(given, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{given}: {error}") from None
    return array
