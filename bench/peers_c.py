"""C without intrinsics, compiled for a cell when the benchmark runs: the files of `opponents/`. README.md says how."""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from arrays import Buffers
from cells import SMOOTHING, TEMPERATURE, Cell
from peers import Call

FOLDER = Path(__file__).parent / "opponents"
OPTIONS = ("-std=gnu11", "-Ofast", "-fopenmp", "-shared", "-fPIC")
MOST_FEW = 32  # classes: longer rows are faster one by one, in rows.c
SMALL = 1 << 15  # elements for which a team of threads takes longer than the work
REALS = {"float32": ("float", ctypes.c_float), "float64": ("double", ctypes.c_double)}


def architecture() -> str:
    """What the C compiler is told: this machine, or no more than AVX2 where bench.py asks for that."""
    return "x86-64-v3" if os.environ.get("CROSSENT_ISA") == "avx2" else "native"


@functools.cache
def library(source: str, *constants: str) -> ctypes.CDLL:
    """Compiled anew in each process."""
    with tempfile.TemporaryDirectory(prefix="bench-opponents-") as folder:
        path = Path(folder) / "opponent.so"
        compiler = [*shlex.split(os.environ.get("CC", "gcc")), *OPTIONS, f"-march={architecture()}"]
        command = [*compiler, *constants, "-o", str(path), str(FOLDER / source), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{source} does not compile: {done.stderr}")
        return ctypes.CDLL(str(path))


def function_of(cell: Cell) -> tuple[str, str]:
    """The file and the name in it."""
    name = "forward" if cell.mode == "forward" else "gradient"
    if cell.loss == "binary":
        return "binary.c", name
    if cell.loss in ("soft", "distillation"):
        return "two_rows.c", {"soft": "soft", "distillation": "divergence"}[cell.loss]
    if cell.loss == "log_softmax":
        return "rows.c", "log_softmax"
    if len(cell.shape) > 2:
        return "planes.c", name
    return ("few_classes.c" if cell.shape[1] <= MOST_FEW else "rows.c"), name


class C:
    """With the exponential of the C library, which GCC calls for whole vectors (libmvec)."""

    constants: tuple[str, ...] = ()

    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        real, argument = REALS[cell.dtype]
        source, name = function_of(cell)
        shape = sets[0].logits.shape
        classes = 0 if cell.loss == "binary" else shape[1]
        compiled = library(source, f"-DREAL={real}", f"-DCLASSES={classes}", *self.constants)[name]
        compiled.restype = None if cell.mode == "output" else ctypes.c_double
        numbers: list[Any] = [ctypes.c_ssize_t(shape[0])]
        if len(shape) > 2:
            numbers.append(ctypes.c_ssize_t(int(np.prod(shape[2:]))))
        if cell.loss in ("soft", "distillation"):
            numbers.append(argument(SMOOTHING if cell.loss == "soft" else 1 / TEMPERATURE))
        numbers.append(ctypes.c_int(1 if sets[0].logits.size < SMALL else threads))
        return [self.call(cell, compiled, b, numbers) for b in sets]

    def call(self, cell: Cell, compiled: Callable[..., float], b: Buffers, numbers: list[Any]) -> Call:
        x, target, output = (ctypes.c_void_p(array.ctypes.data) for array in (b.logits, b.target, b.output))
        if cell.mode == "forward":
            return Call(lambda: (compiled(x, target, None, *numbers), None))
        if cell.mode == "output":
            return Call(lambda: (compiled(x, target, output, *numbers), b.output))
        if cell.mode == "in place":
            return Call(
                lambda: (compiled(output, target, output, *numbers), b.output),
                before=lambda: np.copyto(b.output, b.logits),
            )
        if cell.mode == "gradient":
            return Call(lambda: (compiled(x, target, output, *numbers), b.output))

        def fresh() -> tuple[float, np.ndarray]:
            out = np.empty_like(b.logits)
            return compiled(x, target, ctypes.c_void_p(out.ctypes.data), *numbers), out

        return Call(fresh)

    def first(self, array: np.ndarray, count: int) -> np.ndarray:
        return array[:count].astype(np.float64)


class OwnExp(C):
    """With the exponential of opponents/common.h, which is inlined."""

    constants = ("-DOWN_EXP",)
