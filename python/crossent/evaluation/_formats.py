"""Files that are read by block: `.npy`, `.npz`, `.safetensors` and HDF5."""

from __future__ import annotations

import ast
import importlib
import io
import math
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from ._files import LONGEST_READ, FileRows, check_size, dtype_of, open_file, read_exactly
from ._rows import Reader, Rows, Shape, SlicedRows, as_floating, bfloat16, check_dtype, native, rows_of, shortened

LONGEST_HEADER = 10_000  # bytes, as NumPy has it
DEFLATE_LIMIT = 1032  # times, that deflate can make anything smaller


def npy_header(file: IO[bytes], name: str) -> tuple[Shape, np.dtype[Any], bool, int]:
    """The shape, dtype, whether it is in Fortran order, and where the numbers begin."""
    start = file.read(12)
    if start[:6] != b"\x93NUMPY" or len(start) < 12:
        raise ValueError(f"{name} is not an .npy file: expected it to begin with \\x93NUMPY and a header")
    if start[6:8] not in (b"\x01\x00", b"\x02\x00"):
        raise ValueError(f"{name} has .npy version {start[6]}.{start[7]}: expected 1.0 or 2.0")
    wide = start[6] == 2
    length = int.from_bytes(start[8 : 12 if wide else 10], "little")
    begin = (12 if wide else 10) + length
    if not 2 <= length <= LONGEST_HEADER:
        raise ValueError(f"{name} claims an .npy header of {length} bytes: expected 2 to {LONGEST_HEADER}")
    header = start[12 if wide else 10 :] + file.read(begin - 12)
    if len(header) != length:
        raise ValueError(f"{name} ends within its .npy header")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it says of escapes in a corrupt header
            fields = ast.literal_eval(header.decode("latin1").strip())
        descr, order, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise ValueError(f"{name} has a damaged .npy header: expected descr, fortran_order and shape") from None
    if type(order) is not bool or type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"{name} has a damaged .npy header: its order is {order!r:.40}, its shape {shape!r:.80}")
    return shape, dtype_of(name, descr), order, begin


def open_npy(path: Path, flat: bool) -> Rows:
    name = str(path)
    with open_file(path) as file:
        shape, dtype, fortran, begin = npy_header(file, name)
    check_dtype(name, native(dtype), integers=flat)
    return FileRows(path, shape, dtype, begin, flat, fortran)


class NpzRows(Rows):
    """A member of an `.npz` file, decompressed as it is read."""

    def __init__(self, path: Path, member: str | None, flat: bool) -> None:
        self._path = path
        with open_zip(path) as archive:
            info = find_member(str(path), archive.infolist(), member)
            name = f"{path}:{shortened(info.filename)}"
            check_member(name, info, path.stat().st_size)
            with zip_errors(name), archive.open(info) as file:
                shape, dtype, fortran, begin = npy_header(file, name)
        check_dtype(name, native(dtype), integers=flat)
        super().__init__(name, *rows_of(name, shape, flat), native(dtype))
        if fortran and sum(n != 1 for n in shape) > 1:
            raise ValueError(f"{name} is in Fortran order, which cannot be read row by row: expected C order")
        check_size(name, begin + math.prod(shape) * dtype.itemsize, info.file_size, f"{shape} of {dtype}")
        self._member, self._begin, self._stored, self._shape = info.filename, begin, dtype, (self.count, self.classes)

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        with open_zip(self._path) as archive, zip_errors(self.name), archive.open(self._member) as file:
            rows, columns = self._shape
            skip(file, self._begin + self.start * columns * self._stored.itemsize, self.name)
            left = rows - self.start

            def read(n: int) -> np.ndarray[Any, Any]:
                nonlocal left
                with zip_errors(self.name):
                    block = np.empty((n, columns), self._stored)
                    read_exactly(file, block, self.name)
                    left -= n
                    if left == 0:
                        file.read(1)  # at the end of the member its checksum is compared
                return as_floating(block).astype(self.dtype, copy=False)

            yield read


def skip(file: IO[bytes], size: int, name: str) -> None:
    """Read what is not wanted, not by seek, after which no checksum is compared."""
    rest = np.empty(min(size, LONGEST_READ), np.uint8)
    for at in range(0, size, LONGEST_READ):
        read_exactly(file, rest[: size - at], name)


ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError, LookupError, EOFError, RuntimeError)


@contextmanager
def zip_errors(name: str) -> Iterator[None]:
    """Whatever a damaged archive raises, as one exception that says which it is."""
    try:
        yield
    except ZIP_ERRORS as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name} is damaged or not supported: {shortened(error)}") from error


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    with open_file(path) as file:
        with zip_errors(str(path)):
            archive = zipfile.ZipFile(file)
        with archive:
            yield archive


def find_member(path: str, members: list[zipfile.ZipInfo], member: str | None) -> zipfile.ZipInfo:
    names = [re.sub(r"\.npy$", "", info.filename) for info in members]
    return members[pick(path, names, member and re.sub(r"\.npy$", "", member))]


def pick(path: str, names: list[str], wanted: str | None) -> int:
    """The index of the name that is wanted, or of the only one."""
    found = shortened(", ".join(names)) or "nothing"
    if wanted is None and len(names) != 1:
        raise ValueError(f"{path} holds {found}: expected one array, or '{path}:NAME'")
    if wanted is not None and wanted not in names:
        raise ValueError(f"{path} holds {found}: there is no {wanted!r}")
    return 0 if wanted is None else names.index(wanted)


def check_member(name: str, info: zipfile.ZipInfo, size: int) -> None:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed by method {info.compress_type}: expected stored or deflated")
    ratio = 1 if info.compress_type == zipfile.ZIP_STORED else DEFLATE_LIMIT
    if info.compress_size > size or info.file_size > info.compress_size * ratio + io.DEFAULT_BUFFER_SIZE:
        raise ValueError(f"{name} claims {info.file_size} bytes in {info.compress_size}, of a file of {size}")


# The dtypes of the format, by its own names.
INTEGERS = {f"{sign}{8 * n}": f"{sign.lower()}{n}" for sign in "IU" for n in (1, 2, 4, 8)}
ALLOCATED = 2  # h5py.h5d.SPACE_STATUS_ALLOCATED
SAFETENSORS = {"F16": "f2", "F32": "f4", "F64": "f8", **INTEGERS}


def library(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"such a file needs {module}: pip install 'crossent[{extra}]'") from error


class Reopened:
    """Opens its source for each block, as what the library has mapped of a file counts as memory until it is closed."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key

    def __getitem__(self, index: Any) -> Any:
        with safetensors_file(self._path) as file:
            return file.get_slice(self._key)[index]


@contextmanager
def safetensors_file(path: Path) -> Iterator[Any]:
    safetensors = library("safetensors", "evaluation")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            yield file
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a whole .safetensors file: {shortened(error)}") from error


def open_safetensors(path: Path, key: str | None, flat: bool) -> Rows:
    open_file(path).close()
    with safetensors_file(path) as file:
        keys = list(file.keys())
        key = keys[pick(str(path), keys, key)]
        shape, kind = tuple(file.get_slice(key).get_shape()), file.get_slice(key).get_dtype()
    name = f"{path}:{shortened(key)}"
    if kind != "BF16" and kind not in SAFETENSORS:
        raise ValueError(f"{name} has dtype {kind}: expected F16, BF16, F32, F64 or integers")
    dtype = bfloat16() if kind == "BF16" else np.dtype(SAFETENSORS[kind])
    check_dtype(name, dtype, integers=flat)
    return SlicedRows(name, shape, dtype, flat, partial(nullcontext, Reopened(path, key)))


@contextmanager
def hdf5_file(path: Path) -> Iterator[Any]:
    h5py = library("h5py", "evaluation-files")
    open_file(path).close()
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} is not a whole HDF5 file: {shortened(error)}") from error


@contextmanager
def hdf5_dataset(path: Path, key: str) -> Iterator[Any]:
    with hdf5_file(path) as file:
        yield file[key]


def open_hdf5(path: Path, key: str | None, flat: bool) -> Rows:
    with hdf5_file(path) as file:
        keys: list[str] = []
        file.visititems(lambda key, item: keys.append(key) if hasattr(item, "shape") else None)
        key = keys[pick(str(path), keys, key)]
        name = f"{path}:{shortened(key)}"
        shape, dtype, is_whole = file[key].shape, file[key].dtype, is_allocated(file[key])
    if shape is None:
        raise ValueError(f"{name} is empty: expected an array")
    check_dtype(name, dtype, integers=flat)
    if not is_whole:
        raise ValueError(f"{name} is not whole: parts of it were never written")
    return SlicedRows(name, shape, dtype, flat, partial(hdf5_dataset, path, key))


def is_allocated(dataset: Any) -> bool:
    """Whether all numbers of a dataset are in the file. Others would be read as zeros."""
    elsewhere = dataset.is_virtual or dataset.external
    return bool(elsewhere or not dataset.size or dataset.id.get_space_status() == ALLOCATED)
