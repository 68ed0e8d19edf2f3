"""The libraries that cells are compared with: what each can do, and whether it computes the same."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from arrays import Buffers
from cells import Cell

WRITES = ("gradient", "in place", "output")  # the modes that have somewhere to write to


@dataclass(frozen=True)
class Call:
    """A call on one set of buffers. `run` ends when its result is there, which is (loss, array): None where there is
    no loss, or neither gradient nor output."""

    run: Callable[[], tuple[Any, Any]]
    before: Callable[[], object] = lambda: None  # not timed


class Peer(Protocol):
    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        """One call for each set."""

    def first(self, array: Any, count: int) -> np.ndarray:
        """The first rows of a result of this library, in a floating type of NumPy."""


@dataclass(frozen=True)
class Entry:
    name: str
    module: str  # of bench/
    attribute: str  # the class in it
    supports: Callable[[Cell], bool]


def not_half(cell: Cell) -> bool:
    return cell.dtype in ("float32", "float64")


def in_scikit_learn(cell: Cell) -> bool:
    rows = cell.loss == "cross_entropy" and len(cell.shape) == 2 and cell.mode != "in place"
    return not_half(cell) and (rows or cell.loss == "binary")


def in_numba(cell: Cell) -> bool:
    return not_half(cell) and cell.loss in ("cross_entropy", "binary")


def in_tensorflow(cell: Cell) -> bool:
    return cell.loss in ("cross_entropy", "soft", "log_softmax") and len(cell.shape) == 2 and cell.mode != "in place"


def in_openvino(cell: Cell) -> bool:
    forward = cell.loss == "cross_entropy" and cell.mode == "forward"
    return cell.dtype == "float32" and (forward or cell.loss == "log_softmax")


ENTRIES = [
    Entry("C", "peers_c", "C", not_half),
    Entry("C, own exp", "peers_c", "OwnExp", lambda cell: cell.dtype == "float32"),
    Entry("numba", "peers_numba", "Numba", in_numba),
    Entry("PyTorch", "peers_torch", "Eager", lambda cell: True),
    Entry("torch.compile", "peers_torch", "Compiled", lambda cell: True),
    Entry("torch.compile, out", "peers_torch", "CompiledOut", lambda cell: cell.mode in WRITES),
    Entry("JAX", "peers_jax", "Jit", lambda cell: True),
    Entry("JAX, donated", "peers_jax", "Donated", lambda cell: cell.mode in WRITES),
    Entry("TensorFlow", "peers_tensorflow", "TensorFlow", in_tensorflow),
    Entry("OpenVINO", "peers_openvino", "OpenVINO", in_openvino),
    Entry("SciPy", "peers_numpy", "SciPy", not_half),
    Entry("scikit-learn", "peers_numpy", "ScikitLearn", in_scikit_learn),
    Entry("NumPy", "peers_numpy", "NumPy", lambda cell: True),
]


def key(name: str) -> str:
    """As --peers takes it: a name, or the start of several."""
    return name.lower().replace(",", "").replace(" ", "-")


def load(entry: Entry) -> Peer:
    """Raises whatever importing the library raises."""
    peer: Peer = getattr(importlib.import_module(entry.module), entry.attribute)()
    return peer


def seconds(call: Call, times: int) -> float:
    """Of one call, on average."""
    if times == 1:
        call.before()
        start = time.perf_counter()
        result = call.run()
        elapsed = time.perf_counter() - start
        del result  # here: to free a large array takes time of its own
        return elapsed
    before, run = call.before, call.run
    start = time.perf_counter()
    for _ in range(times):
        before()
        run()
    return (time.perf_counter() - start) / times


def first_rows(peer: Peer, call: Call, shape: tuple[int, ...]) -> tuple[float | None, np.ndarray | None]:
    """The loss, and a few rows of the gradient or the output (some thousand elements where there are no rows)."""
    call.before()
    loss, array = call.run()
    count = {1: 4096, 2: 8}.get(len(shape), 1)
    rows = None if array is None else np.asarray(peer.first(array, count), np.float64).reshape(count, *shape[1:])
    return None if loss is None else float(loss), rows


def disagreement(cell: Cell, ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> str | None:
    """Whether the loss, or the first rows by their Euclidean norm, differ by more than 1e-3 (half types: 1e-2)."""
    tolerance = 1e-3 if not_half(cell) else 1e-2
    for name, a, b in zip(("loss", "rows"), ours, theirs, strict=True):
        if a is None and b is None:
            continue
        if a is None or b is None:
            return f"one has no {name}"
        error = float(np.linalg.norm(np.asarray(b) - a) / np.linalg.norm(a))
        if not error <= tolerance:
            return f"{name} differs by {error:.1e}"
    return None
