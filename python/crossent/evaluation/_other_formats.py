"""Formats that a library hands out by block: `.safetensors` and HDF5."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ._files import open_file
from ._npy import pick
from ._rows import Rows, SlicedRows, bfloat16, check_dtype, shortened

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
