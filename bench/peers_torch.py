"""PyTorch: eager, compiled, and compiled with somewhere to write to. README.md says what is called."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from typing import Any

# A kernel is compiled for one number of threads, and one that was cached for another number would be taken. The folder
# is a new one for the same reason. One compile worker, in this process: others would run beside what is timed.
os.environ["TORCHINDUCTOR_CACHE_DIR"] = (folder := tempfile.TemporaryDirectory(prefix="bench-inductor-")).name
os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

import numpy as np
import torch
import torch._dynamo
import torch.nn.functional as F
from arrays import Buffers
from cells import SMOOTHING, TEMPERATURE, Cell
from peers import Call

torch._dynamo.config.error_on_recompile = True  # what is timed is compiled for its shape, and nothing else is


def soft(x: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(x, q, label_smoothing=SMOOTHING)


def distillation(x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    student = F.log_softmax(x / TEMPERATURE, dim=1)
    teacher = F.log_softmax(z / TEMPERATURE, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "soft": soft,
    "binary": F.binary_cross_entropy_with_logits,
    "distillation": distillation,
}


def tensor(array: np.ndarray) -> torch.Tensor:
    """The same memory; from_numpy does not know bfloat16."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


class Eager:
    """Autograd on a leaf whose gradient is None before each call."""

    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        torch.set_num_threads(threads)
        function = self.function(self.output if cell.mode == "output" else LOSSES[cell.loss])
        return [self.call(cell, function, b) for b in sets]

    def function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def output(self, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(x, 1, out=out)

    def call(self, cell: Cell, function: Callable[..., Any], b: Buffers) -> Call:
        x, target = tensor(b.logits), tensor(b.target)
        if cell.mode == "output":
            out = tensor(b.output)
            return Call(torch.no_grad()(lambda: (None, function(x, out))))
        if cell.mode == "forward":
            return Call(torch.inference_mode()(lambda: (function(x, target), None)))
        leaf = x.detach().requires_grad_()

        def reset() -> None:
            leaf.grad = None

        def run() -> tuple[Any, Any]:
            loss = function(leaf, target)
            loss.backward()
            return loss, leaf.grad

        return Call(run, before=reset)

    def first(self, array: torch.Tensor, count: int) -> np.ndarray:
        return array[:count].detach().double().numpy()


@functools.lru_cache(maxsize=1)
def forget_other_cells(cell: Cell) -> None:
    """Or a later cell meets the recompile limit and runs eager. Does nothing when called again for the same cell."""
    torch._dynamo.reset()


class Compiled(Eager):
    """The loss compiled, then autograd as above; its backward is compiled with it."""

    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        forget_other_cells(cell)
        return super().prepare(cell, sets, threads)

    def function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function, dynamic=False)

    def output(self, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:  # here fresh: `out` is CompiledOut's
        return torch.log_softmax(x, 1)


class CompiledOut(Eager):
    """Value and gradient in one compiled function that writes the gradient into an array that is there already."""

    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        forget_other_cells(cell)
        torch.set_num_threads(threads)
        if cell.mode == "output":

            def step(x: torch.Tensor, target: torch.Tensor, out: torch.Tensor) -> None:
                out.copy_(torch.log_softmax(x, 1))
        else:
            value_and_gradient = torch.func.grad_and_value(LOSSES[cell.loss])

            def step(x: torch.Tensor, target: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
                gradient, loss = value_and_gradient(x, target)
                out.copy_(gradient)
                return loss

        compiled = torch.compile(step, dynamic=False)
        return [self.bound(cell, compiled, b) for b in sets]

    def bound(self, cell: Cell, step: Callable[..., Any], b: Buffers) -> Call:
        out, target = tensor(b.output), tensor(b.target)
        x = out if cell.mode == "in place" else tensor(b.logits)
        run = torch.no_grad()(lambda: (step(x, target, out), out))
        if cell.mode == "in place":
            return Call(run, before=lambda: np.copyto(b.output, b.logits))
        return Call(run)
