"""The memory ceilings: passes over memory that compute nothing, compiled from ceilings.cpp, beside those of NumPy."""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from arrays import Buffers
from rounds import Task, seconds

SOURCE = Path(__file__).with_suffix(".cpp")
OPTIONS = ("-std=c++17", "-O2", "-fopenmp", "-shared", "-fPIC", "-Wno-psabi")


class NoCompiler(Exception):
    """There is no compiler for the ceilings, or it fails."""


def compiler() -> list[str]:
    command = shlex.split(os.environ.get("CXX", "g++"))
    if shutil.which(command[0]) is None:
        raise NoCompiler(f"the memory ceilings need a C++ compiler: there is no {command[0]}; set CXX to another one")
    return command


@functools.cache
def library() -> ctypes.CDLL:
    """Compiled anew in each process, which takes two seconds: nothing that was built for another machine is loaded."""
    with tempfile.TemporaryDirectory(prefix="bench-ceilings-") as folder:
        path = Path(folder) / "ceilings.so"
        command = [*compiler(), *OPTIONS, "-o", str(path), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise NoCompiler(f"the memory ceilings do not compile: {shlex.join(command)}\n{done.stderr}")
        return ctypes.CDLL(str(path))


def timed_pass(name: str, threads: int, a: np.ndarray, b: np.ndarray, to: np.ndarray) -> float:
    """Seconds of the function `name` of ceilings.cpp over three arrays, which may be the same."""
    if not a.nbytes == b.nbytes == to.nbytes:
        raise ValueError("the arrays must have the same size")
    for array in (a, b, to):
        if not array.flags.c_contiguous or array.ctypes.data % 64 != 0:
            raise ValueError("the arrays must be contiguous and start at a cache line")
    function = getattr(library(), name)
    function.restype = ctypes.c_double
    function.argtypes = (ctypes.c_void_p,) * 3 + (ctypes.c_ssize_t, ctypes.c_int)
    return float(function(a.ctypes.data, b.ctypes.data, to.ctypes.data, a.nbytes, threads))


def read(array: np.ndarray, threads: int, kernel: str) -> float:
    return timed_pass("read_" + kernel, threads, array, array, array)


def numbers(array: np.ndarray) -> np.ndarray:
    """The same memory as float32 or float64: NumPy adds up no half type quickly."""
    return array if array.dtype.itemsize >= 4 else array.reshape(-1).view(np.float32)


def numpy_read(array: np.ndarray) -> float:
    return seconds(np.add.reduce, numbers(array), axis=None)


# For each kind of ceiling: what one pass of a kernel over the memory takes, the kernels, NumPy's pass, and how many
# arrays of the size of the logits are read or written.
Pass = Callable[[Buffers, int, str], float]
Ceiling = tuple[Pass, tuple[str, ...], Callable[[Buffers], float] | None, int]
CEILINGS: dict[str, Ceiling] = {
    "read": (
        lambda b, threads, kernel: read(b.logits, threads, kernel),
        ("plain", "prefetch", "streams"),
        lambda b: numpy_read(b.logits),
        1,
    ),
    "copy": (
        lambda b, threads, kernel: timed_pass("copy_" + kernel, threads, b.logits, b.logits, b.output),
        ("plain", "memcpy", "nontemporal", "streams"),
        lambda b: seconds(np.copyto, b.output, b.logits),
        2,
    ),
    "update": (
        lambda b, threads, kernel: timed_pass("update_" + kernel, threads, b.output, b.output, b.output),
        ("plain", "prefetch", "streams"),
        None,
        2,
    ),
    "2 reads": (
        lambda b, threads, kernel: read(b.logits, threads, kernel) + read(b.target, threads, kernel),
        ("plain", "prefetch", "streams"),
        lambda b: numpy_read(b.logits) + numpy_read(b.target),
        2,
    ),
    "2 reads + 1 write": (
        lambda b, threads, kernel: timed_pass("combine_" + kernel, threads, b.logits, b.target, b.output),
        ("plain", "nontemporal", "streams"),
        lambda b: seconds(np.copyto, b.output, b.logits) + numpy_read(b.target),
        3,
    ),
}


def ceiling_tasks(kind: str, logits: np.ndarray, threads: int) -> list[Task]:
    """The candidates for the ceiling `kind`, one of `CEILINGS`."""
    one_pass, kernels, numpy_pass, arrays = CEILINGS[kind]

    def with_kernel(kernel: str) -> Callable[[Buffers], float]:
        return lambda b: one_pass(b, threads, kernel)

    moved = arrays * logits.nbytes
    tasks = [Task(f"{kind}/{kernel}", moved, with_kernel(kernel)) for kernel in kernels]
    if numpy_pass is not None:
        tasks.append(Task(f"{kind}/numpy", moved, numpy_pass))
    return tasks


def fastest_pass(rates: dict[str, np.ndarray], kind: str) -> str:
    """The name of the fastest candidate for the ceiling `kind`: the one with the highest median."""
    return max((name for name in rates if name.startswith(kind + "/")), key=lambda name: float(np.median(rates[name])))
