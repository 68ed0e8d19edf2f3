"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TextIO


class ReplacedFile:
    """A text file, of which nothing is seen until the ``with`` block ends without an error.

    It is written beside the file of that name, which it then replaces. A device or a pipe is written to directly.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._final = Path(os.path.realpath(path))
        self._direct = self._final.exists() and not self._final.is_file()
        name = f".{self._final.name}.{secrets.token_hex(4)}"
        self._written = self._final if self._direct else self._final.with_name(name)
        self._file: TextIO | None = None

    def __enter__(self) -> ReplacedFile:
        with self._named_errors():
            # "x": with the permissions of a new file, and never one that is there.
            self._file = open(self._written, "w" if self._direct else "x", encoding="utf-8", newline="")
        return self

    def write(self, text: str) -> int:
        assert self._file is not None
        with self._named_errors():
            return self._file.write(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            with self._named_errors():
                self._commit()
        except BaseException:
            self._discard()
            raise

    def _commit(self) -> None:
        assert self._file is not None
        self._file.flush()
        if not self._direct:
            os.fsync(self._file.fileno())
        self._file.close()
        if not self._direct:
            if self._final.exists():
                shutil.copymode(self._final, self._written)
            os.replace(self._written, self._final)

    def _discard(self) -> None:
        assert self._file is not None
        with contextlib.suppress(OSError):  # what was not written yet may fail to be once more
            self._file.close()
        if not self._direct:
            self._written.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Errors of writing have no name of a file, those of opening that of the temporary one."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
