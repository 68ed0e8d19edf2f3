"""What `evaluate` and `compare` are given: arrays, files of several formats, shards of them."""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import as_array
from .._types import Array
from ._files import FileRows, dtype_of, open_file, resolve_shape
from ._formats import NpzRows, open_hdf5, open_npy, open_safetensors
from ._logits_file import MAGIC, LogProbRows
from ._rows import Rows, Shape, Shards, SlicedRows, as_floating, check_dtype, native, rows_of

WITH_MEMBERS = (".npz", ".safetensors", ".h5", ".hdf5")
WITH_SHAPE = (".npy", ".kld", *WITH_MEMBERS)
ZARR_METADATA = ("zarr.json", ".zarray", ".zgroup")
BLOCK = 1 << 16  # targets that are converted at once


def open_rows(
    given: object,
    *,
    shape: Sequence[int] | None = None,
    dtype: Any = None,
    vocab_size: int | None = None,
    name: str = "logits",
) -> Rows:
    """The rows of `given`, to be read by block. Everything about sizes is checked here; nothing large is read.

    Parameters
    ----------
    given : ndarray, path, glob, or a sequence of these
        Logits with the classes last; all dimensions before are rows. ``FILE:NAME`` means the array of that name in a
        file of several. What a glob finds is in natural order (shard2 before shard10), a sequence in the order given.
    shape, dtype
        Of a raw file, which must say its dtype; one length may be -1. Of other files, what is expected.
    vocab_size : int, optional
        The number of classes, where rows are padded beyond it.
    name : str
        What messages call an array.

    Raises
    ------
    ValueError
        if a file is not of the format that it is named for, or does not have the size that it says, or shards differ
    OSError
        if a file cannot be read
    TypeError
        if `given` is none of the above, or an array of another dtype
    ImportError
        if a format needs a library that is not installed
    """
    rows = joined(given, shape, dtype, name, vocab_size, flat=False)
    return rows if vocab_size is None else rows.cut(vocab_size)


def open_targets(
    given: object,
    count: int,
    *,
    shape: Sequence[int] | None = None,
    dtype: Any = None,
    classes: int | None = None,
    ignore_index: int | None = -100,
    name: str = "target",
) -> Array:
    """int64 (count,): the class index of each row, from what `open_rows` takes.

    A file of llama-perplexity gives the tokens that it was made of. With `classes` they are checked to be in range, or
    `ignore_index`.

    Raises
    ------
    ValueError
        if there are not `count` of them, or they are not integers, or a file is not what it says
    IndexError
        if one is out of range
    """
    rows = open_target_rows(given, count, shape=shape, dtype=dtype, name=name)
    targets = read_targets(rows)
    if classes is not None:
        outside = (targets < 0) | (targets >= classes)
        if ignore_index is not None:
            outside &= targets != ignore_index
        if outside.any():
            k = int(outside.argmax())
            raise IndexError(f"{rows.name} has target {targets[k]} at position {k}: expected 0 .. {classes - 1}")
    return targets


def open_target_rows(
    given: object, count: int, *, shape: Sequence[int] | None = None, dtype: Any = None, name: str = "target"
) -> Rows:
    """As `open_targets`, but not read: rows of one integer."""
    rows = joined(given, shape, dtype, name, None, flat=True)
    if rows.count != count:
        raise ValueError(f"{rows.name} has {rows.count} targets: expected {count}, one for each row of logits")
    return rows


def read_targets(rows: Rows) -> Array:
    """int64 (count,), of rows of one integer."""
    targets = np.empty(rows.count, np.int64)
    for first, block in rows.blocks(BLOCK):
        if block.dtype == np.uint64 and (block > np.iinfo(np.int64).max).any():
            raise IndexError(f"{rows.name} has a target of 2^63 or more after position {first}")
        targets[first : first + block.shape[0]] = block[:, 0]
    return targets


def joined(
    given: object, shape: Sequence[int] | None, dtype: Any, name: str, vocab_size: int | None, flat: bool
) -> Rows:
    """One sequence of rows of all that is given."""
    items = list(given) if isinstance(given, (list, tuple)) else [given]
    if not items:
        raise ValueError(f"{name} is an empty sequence: expected arrays or paths")
    wanted = None if shape is None else tuple(int(n) for n in shape)
    parts = [part for item in items for part in open_item(item, wanted, dtype, name, vocab_size, flat)]
    return parts[0] if len(parts) == 1 else Shards(parts)


def open_item(
    item: object, shape: Shape | None, dtype: Any, name: str, vocab_size: int | None, flat: bool
) -> list[Rows]:
    if isinstance(item, LogProbRows) and flat:
        return [open_array(item.targets, item.name, flat)]
    if isinstance(item, Rows) and not flat:
        return [item]
    if isinstance(item, (str, os.PathLike)):
        paths = find_paths(os.fspath(item), name)
        return [open_path(path, member, shape, dtype, vocab_size, flat) for path, member in paths]
    if isinstance(item, np.ndarray):
        return [open_array(item, name, flat)]
    raise TypeError(f"{name} is a {type(item).__name__}: expected an ndarray, a path, or a sequence of these")


def open_array(x: Array, name: str, flat: bool) -> Rows:
    x = as_floating(as_array(name, x))
    try:
        check_dtype(name, x.dtype, integers=flat)
    except ValueError as error:
        raise TypeError(str(error)) from None
    axes = range(x.ndim - (1 if flat else 2))
    if all(x.strides[k] == x.strides[k + 1] * x.shape[k + 1] for k in axes) and x.ndim > 1 - flat:
        x = x.reshape(-1) if flat else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # a view
    return SlicedRows(name, x.shape, x.dtype, flat, partial(nullcontext, x))


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in names by their value."""
    parts = re.split(r"(\d+)", text)
    return [(1, int(part), part) if k % 2 else (0, 0, part) for k, part in enumerate(parts)]


def find_paths(text: str | bytes, name: str) -> list[tuple[Path, str | None]]:
    """The files that are meant, each with the name of the array in it, if one was given."""
    text, member = os.fsdecode(text), None
    if "\0" in text:
        raise ValueError(f"{name} is a path with a null character: {text!r:.80}")
    stem, colon, last = text.rpartition(":")
    if colon and stem.endswith((*WITH_MEMBERS, ".zarr")) and not os.path.lexists(text):
        text, member = stem, last
    found = [text]
    if glob.has_magic(text) and not os.path.lexists(text):
        found = sorted(glob.glob(text, recursive=True), key=natural)
        if not found:
            raise FileNotFoundError(f"no file matches {text}")
    return [(not_zarr(Path(path)), member) for path in found]


def not_zarr(path: Path) -> Path:
    """The path, unless it leads to a Zarr array, whose metadata may name codecs that run code of the file."""
    if path.suffix.lower() == ".zarr" or any(os.path.isfile(path / name) for name in ZARR_METADATA):
        how = "save it as .npy, or pass dask.array.from_zarr of it to crossent.dask"
        raise ValueError(f"{path} is a Zarr array, which is not read: {how}")
    return path


def open_path(
    path: Path, member: str | None, shape: Shape | None, dtype: Any, vocab_size: int | None, flat: bool
) -> Rows:
    suffix = path.suffix.lower()
    rows: Rows
    if suffix == ".npy":
        rows = open_npy(path, flat)
    elif suffix == ".npz":
        rows = NpzRows(path, member, flat)
    elif suffix == ".safetensors":
        rows = open_safetensors(path, member, flat)
    elif suffix in (".h5", ".hdf5"):
        rows = open_hdf5(path, member, flat)
    elif suffix == ".kld" or (dtype is None and is_logits_file(path)):
        rows = open_array(LogProbRows(path).targets, str(path), flat) if flat else LogProbRows(path)
    else:
        return open_raw(path, shape, dtype, vocab_size, flat)
    check_expected(rows, shape, dtype, flat)
    return rows


def says_its_shape(text: str) -> bool:
    """Whether the files that are meant say what they hold, by their names or how they begin."""
    return all(path.suffix.lower() in WITH_SHAPE or is_logits_file(path) for path, _ in find_paths(text, "path"))


def is_logits_file(path: Path) -> bool:
    with open_file(path) as file:
        return file.read(len(MAGIC)) == MAGIC


def open_raw(path: Path, shape: Shape | None, dtype: Any, vocab_size: int | None, flat: bool) -> Rows:
    if shape is None and flat:
        shape = (-1,)
    if shape is None and vocab_size is not None:
        shape = (-1, vocab_size)
    if dtype is None or shape is None:
        raise ValueError(f"{path} does not say what it holds: expected its dtype and shape (one length may be -1)")
    stored = dtype_of(str(path), dtype)
    check_dtype(str(path), native(stored), integers=flat)
    open_file(path).close()
    shape = resolve_shape(str(path), shape, stored, path.stat().st_size)
    return FileRows(path, shape, stored, 0, flat)


def check_expected(rows: Rows, shape: Shape | None, dtype: Any, flat: bool) -> None:
    """Of a file that says its own shape and dtype, that they are the expected ones."""
    if dtype is not None and native(dtype_of(rows.name, dtype)) != rows.dtype:
        raise ValueError(f"{rows.name} has dtype {rows.dtype}: expected {np.dtype(dtype)}")
    if shape is not None:
        expected = resolve_shape(rows.name, shape, np.dtype("i1"), rows.count * rows.classes)
        if rows_of(rows.name, expected, flat) != (rows.count, rows.classes):
            raise ValueError(f"{rows.name} has {rows.count} rows of {rows.classes} classes: expected {shape}")
