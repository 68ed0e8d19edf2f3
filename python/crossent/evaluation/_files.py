"""Files of numbers that are opened, checked and read by block, and files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TextIO

import numpy as np

from ._rows import Reader, Rows, Shape, as_floating, native, rows_of

LONGEST_READ = 1 << 23  # bytes: a member of an archive makes them anew before they are copied
LONGEST_WINDOW = 1 << 25  # bytes, where a block is not longer
CUT = "{} ended early: it has been cut since it was opened"
NUMBER = re.compile(r"[<>=|]?([fiu][1248]|V2)")
NAMES = ("float16", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def dtype_of(name: str, given: object) -> np.dtype[Any]:
    """The dtype that a header, or a caller, means; two bytes of no type for bfloat16, as NumPy writes it."""
    if str(given) == "bfloat16":
        return np.dtype("V2")
    text = given if isinstance(given, str) else str(np.dtype(given)) if isinstance(given, (type, np.dtype)) else ""
    if text == "bfloat16":
        return np.dtype("V2")
    if text in NAMES or (NUMBER.fullmatch(text) and text[-2:] != "f1"):
        return np.dtype(text)
    raise ValueError(f"{name} has dtype {given!r:.40}: expected float16, bfloat16, float32, float64 or integers")


def open_file(path: Path) -> IO[bytes]:
    """Open what can be read again and again: no pipe, which would wait, and no device, which has no end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path} is not a regular file: expected one")
    return open(path, "rb")


def check_size(name: str, expected: int, size: int, promised: str) -> None:
    if expected != size:
        raise ValueError(f"{name} has {size} bytes: expected {expected}, for {promised}")


def read_exactly(file: IO[bytes], block: np.ndarray[Any, Any], name: str) -> None:
    """Fill `block`, which is contiguous."""
    rest = memoryview(block.reshape(-1).view(np.uint8).data)
    while rest:
        n = file.readinto(rest[:LONGEST_READ])  # type: ignore[attr-defined]
        if not n:
            raise ValueError(CUT.format(name))
        rest = rest[n:]


class Window:
    """Maps one part of a file after the other, each for as long as an array of it lives: no copy, and constant memory.

    Parts are larger than most blocks: to map each block by itself costs several times what it takes to read it.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name
        self._begin, self._bytes = 0, np.empty(0, np.uint8)

    def numbers(self, at: int, shape: Shape, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """The numbers from the byte `at` on, not before those of the last call."""
        stop = at + math.prod(shape) * dtype.itemsize
        size = os.fstat(self._file.fileno()).st_size
        if stop > size:  # a map of what the file no longer has would end the process when it is read
            raise ValueError(CUT.format(self._name))
        if stop > self._begin + self._bytes.size:
            self._begin = at - at % mmap.ALLOCATIONGRANULARITY
            length = min(max(stop - self._begin, LONGEST_WINDOW), size - self._begin)
            part = mmap.mmap(self._file.fileno(), length, access=mmap.ACCESS_READ, offset=self._begin)
            self._bytes = np.frombuffer(part, np.uint8)
        block = self._bytes[at - self._begin : stop - self._begin]
        block[:: mmap.PAGESIZE].max()  # reads the disk here, on the thread that reads ahead
        return block.view(dtype).reshape(shape)


def resolve_shape(name: str, shape: Shape, dtype: np.dtype[Any], size: int) -> Shape:
    """`shape` with its -1 replaced by what the size of the file says."""
    if any(n < -1 for n in shape) or shape.count(-1) > 1:
        raise ValueError(f"{name} has shape {shape}: expected no negative length but one -1")
    known = math.prod(n for n in shape if n != -1) * dtype.itemsize
    if -1 not in shape:
        return shape
    if known == 0 or size % known:
        raise ValueError(f"{name} has {size} bytes: expected a multiple of {known}, for {shape} of {dtype}")
    return tuple(size // known if n == -1 else n for n in shape)


class FileRows(Rows):
    """Rows of a file that holds nothing but numbers from `begin` on."""

    def __init__(
        self, path: Path, shape: Shape, dtype: np.dtype[Any], begin: int, flat: bool, fortran: bool = False
    ) -> None:
        name = str(path)
        super().__init__(name, *rows_of(name, shape, flat), native(dtype))
        check_size(name, begin + math.prod(shape) * dtype.itemsize, os.stat(path).st_size, f"{shape} of {dtype}")
        # With one long axis both orders are the same.
        self._by_column = fortran and sum(n != 1 for n in shape) > 1
        if self._by_column and (len(shape) > 2 or flat):
            raise ValueError(f"{name} has shape {shape} in Fortran order: expected C order, or two dimensions")
        self._path, self._begin, self._stored = path, begin, dtype
        self._shape = self.count, self.classes

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        with open(self._path, "rb", buffering=0) as file:  # a buffer would be read again for each column
            window = Window(file, self.name)
            rows, columns = self._shape
            first = self.start

            def read(n: int) -> np.ndarray[Any, Any]:
                nonlocal first
                if self._by_column:
                    block = np.empty((self.classes, n), self._stored)
                    for c, column in enumerate(block):
                        file.seek(self._begin + (c * rows + first) * self._stored.itemsize)
                        read_exactly(file, column, self.name)
                    block = block.T
                else:
                    at = self._begin + first * columns * self._stored.itemsize
                    block = window.numbers(at, (n, columns), self._stored)
                first += n
                return as_floating(block).astype(self.dtype, copy=False)

            yield read


class ReplacedFile:
    """A text file that appears under its name when the ``with`` block ends without an error.

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
