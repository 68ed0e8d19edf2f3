"""crossent itself, called like the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from cells import SMOOTHING, TEMPERATURE, Cell
from peers import Call

import crossent as xe
from crossent._demo.measure import Buffers

LOSSES = {
    "cross_entropy": (xe.cross_entropy, {}),
    "soft": (xe.cross_entropy, {"label_smoothing": SMOOTHING}),
    "binary": (xe.binary_cross_entropy_with_logits, {}),
    "distillation": (xe.kl_div_with_logits, {"temperature": TEMPERATURE}),
}


class Crossent:
    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        return [self.call(cell, b) for b in sets]

    def call(self, cell: Cell, b: Buffers) -> Call:
        if cell.mode == "output":
            return Call(lambda: (None, xe.log_softmax(b.logits, cell.axis, out=b.output)))
        loss, options = LOSSES[cell.loss]
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
