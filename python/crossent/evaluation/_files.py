"""Files of numbers one after the other: opened, their sizes checked, read by block."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ._rows import Reader, Rows, Shape, as_floating, native, rows_of

LONGEST_READ = 1 << 23  # bytes: a member of an archive makes them anew before they are copied
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
            raise ValueError(f"{name} ended early: it has been cut since it was opened")
        rest = rest[n:]


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
    """Rows of a file that holds nothing but numbers from `begin` on.

    It is read, not mapped: a map of a file that another process shortens ends the process.
    """

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
        self._path, self._begin, self._stored, self._columns = path, begin, dtype, self.classes

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        # Without a buffer: blocks are large, and a buffer would be read again for each column.
        with open(self._path, "rb", buffering=0) as file:
            file.seek(self._begin)
            first = 0

            def read(n: int) -> np.ndarray[Any, Any]:
                nonlocal first
                if self._by_column:
                    block = np.empty((self.classes, n), self._stored)
                    for c, column in enumerate(block):
                        file.seek(self._begin + (c * self.count + first) * self._stored.itemsize)
                        read_exactly(file, column, self.name)
                    block = block.T
                else:
                    block = np.empty((n, self._columns), self._stored)
                    read_exactly(file, block, self.name)
                first += n
                return as_floating(block).astype(self.dtype, copy=False)

            yield read
