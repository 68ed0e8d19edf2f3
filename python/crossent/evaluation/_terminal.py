"""What the commands have in common: options, results on stdout, one-line errors, progress; rows that are read once."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._types import Array
    from ._files import ReplacedFile
    from ._results import Figures
    from ._token_statistics import Reading


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


def add_logit_options(parser: argparse.ArgumentParser, model: str = "", of_model: str = "") -> None:
    """Of one model, whose options begin with `model`."""
    cap = f"take S tanh(x / S) in the place of the logits x{of_model}"
    parser.add_argument(f"--{model}softcap", type=float, metavar="S", help=cap)
    bias = f"a .npy of one number per class, which is added to the logits{of_model} after the softcap"
    parser.add_argument(f"--{model}logit-bias", metavar="FILE", help=bias)


def add_logits_and_targets(parser: argparse.ArgumentParser) -> None:
    """What the commands for one model read."""
    parser.add_argument("logits", metavar="LOGITS", help="rows of logits: .npy, .npz, .safetensors, .kld, ..")
    parser.add_argument("targets", metavar="TARGETS", help="a class index for each row, of the same formats")
    add_input_options(parser)
    add_logit_options(parser)
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
    return load_array(given) if isinstance(given, str) else given


def load_array(path: str | None) -> Array | None:
    """What is in a .npy file."""
    if path is None:
        return None
    import numpy as np

    try:
        with open(path, "rb") as file:
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a .npy file of numbers: {error}") from None
    return array


INTERVAL = 0.1  # seconds between two pictures
BAR = 24


class Progress:
    """A line with a bar, the throughput and the time that is left; nothing where stderr is not a terminal."""

    def __init__(self, rows: int, bytes_per_row: int, before: str = "") -> None:
        self._rows = rows
        self._bytes_per_row = bytes_per_row
        self._before = before
        self._started = self._shown = time.monotonic()
        self._visible = sys.stderr.isatty()

    def update(self, done: int) -> None:
        now = time.monotonic()
        if self._visible and now - self._shown >= INTERVAL:
            self._shown = now
            line = self._before + progress_line(done, self._rows, self._bytes_per_row, now - self._started)
            print(f"\r{line[: shutil.get_terminal_size().columns - 1]}\x1b[K", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._visible:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def progress_line(done: int, rows: int, bytes_per_row: int, seconds: float) -> str:
    full = BAR * done // rows
    per_second = done / seconds
    left = round((rows - done) / per_second) if done else 0
    bar = "#" * full + "." * (BAR - full)
    size = per_second * bytes_per_row / 1e9
    return f"{100 * done // rows:3d} % [{bar}] {per_second:,.0f} rows/s, {size:.2f} GB/s, {_time(left)} left"


def _time(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


Lines = Callable[[int, Any], Iterable[Sequence[Any]]]


def add_csv_options(parser: argparse.ArgumentParser, columns: Sequence[str]) -> None:
    """The options of every command that reads rows once and prints a result."""
    add_output_options(parser)
    parser.add_argument("--csv", metavar="FILE", help=f"write a line for each token: {', '.join(columns)}")


def run_once(
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
        with threads(options.threads), report as file:
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
        return INTERRUPTED
    _print(result, statistics, options.json)
    return 0


def _read(statistics: Reading[Any], path: str | None, columns: Sequence[str], lines: Lines) -> None:
    from ._files import ReplacedFile

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
        print_out(json.dumps(progress | result.as_dict(), indent=2, allow_nan=False))
    else:
        print_result(result)
