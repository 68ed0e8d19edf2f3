"""How far a command is, on stderr."""

from __future__ import annotations

import shutil
import sys
import time

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
