"""crossent itself, called like the others."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from arrays import Buffers
from cells import SMOOTHING, TEMPERATURE, Cell
from peers import Call

LOSSES: dict[str, tuple[str, dict[str, float]]] = {  # the function, its options
    "cross_entropy": ("cross_entropy", {}),
    "soft": ("cross_entropy", {"label_smoothing": SMOOTHING}),
    "binary": ("binary_cross_entropy_with_logits", {}),
    "distillation": ("kl_div_with_logits", {"temperature": TEMPERATURE}),
}


class Crossent:
    """`package`: crossent, or one of the two builds that compare.py has loaded."""

    def __init__(self, package: ModuleType) -> None:
        self.package: Any = package

    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        return [self.call(cell, b) for b in sets]

    def call(self, cell: Cell, b: Buffers) -> Call:
        if cell.mode == "output":
            log_softmax = self.package.log_softmax
            return Call(lambda: (None, log_softmax(b.logits, cell.axis, out=b.output)))
        name, options = LOSSES[cell.loss]
        loss = getattr(self.package, name)
        if cell.mode == "forward":
            return Call(lambda: (loss(b.logits, b.target, **options), None))
        if cell.mode == "fresh":
            return Call(lambda: loss(b.logits, b.target, return_grad=True, **options))
        if cell.mode == "in place":
            return Call(
                lambda: loss(b.output, b.target, return_grad=True, grad_out=b.output, **options),
                before=lambda: np.copyto(b.output, b.logits),
            )
        return Call(lambda: loss(b.logits, b.target, return_grad=True, grad_out=b.output, **options))

    def first(self, array: Any, count: int) -> np.ndarray:
        return array[:count].astype(np.float64)
