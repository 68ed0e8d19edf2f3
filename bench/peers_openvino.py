"""OpenVINO, with the CPU kernels of oneDNN and its own: log-softmax, and the value of the cross-entropy by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from arrays import Buffers
from cells import Cell
from openvino import opset13 as ops
from peers import Call


def model(cell: Cell, b: Buffers) -> Any:
    x = ops.parameter(b.logits.shape, np.float32)
    log_p = ops.log_softmax(x, cell.axis)
    if cell.mode == "output":
        return ov.Model([log_p], [x])
    y = ops.parameter(b.target.shape, np.int64)
    picked = ops.gather_elements(log_p, ops.unsqueeze(y, ops.constant(cell.axis)), cell.axis)
    mean = ops.reduce_mean(picked, ops.constant(np.arange(b.logits.ndim)), keep_dims=False)
    return ov.Model([ops.negative(mean)], [x, y])


class OpenVINO:
    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        compiled = ov.Core().compile_model(model(cell, sets[0]), "CPU", settings)
        return [self.call(cell, compiled.create_infer_request(), b) for b in sets]

    def call(self, cell: Cell, request: Any, b: Buffers) -> Call:
        request.set_input_tensor(0, ov.Tensor(b.logits, shared_memory=True))
        if cell.mode == "output":
            request.set_output_tensor(ov.Tensor(b.output, shared_memory=True))

            def output() -> tuple[None, np.ndarray]:
                request.infer()
                return None, b.output

            return Call(output)
        request.set_input_tensor(1, ov.Tensor(b.target, shared_memory=True))

        def forward() -> tuple[float, None]:
            request.infer()
            return float(request.get_output_tensor().data), None

        return Call(forward)

    def first(self, array: np.ndarray, count: int) -> np.ndarray:
        return array[:count].astype(np.float64)
