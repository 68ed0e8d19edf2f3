"""TensorFlow's fused cross-entropies: loss and gradient in one operation. README.md says what is called."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf
from arrays import Buffers
from cells import SMOOTHING, Cell
from peers import Call


def function_of(cell: Cell) -> Callable[[Any, Any], Any]:
    if cell.mode == "output":
        return lambda x, unused: (None, tf.nn.log_softmax(x))

    def fused(x: Any, target: Any) -> Any:
        if cell.loss == "soft":
            smoothed = target * (1 - SMOOTHING) + SMOOTHING / cell.shape[1]
            losses, gradient = tf.raw_ops.SoftmaxCrossEntropyWithLogits(features=x, labels=smoothed)
        else:
            losses, gradient = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=x, labels=target)
        loss = tf.reduce_mean(losses)
        return loss, None if cell.mode == "forward" else gradient / x.shape[0]

    return fused


class TensorFlow:
    def __init__(self) -> None:
        self.started = False

    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        if not self.started:  # later it cannot be told
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
            self.started = True
        function = tf.function(function_of(cell))
        return [self.call(function, b) for b in sets]

    def call(self, function: Callable[..., Any], b: Buffers) -> Call:
        x, target = tf.constant(b.logits), tf.constant(b.target)
        return Call(lambda: function(x, target))

    def first(self, array: Any, count: int) -> np.ndarray:
        return array[:count].numpy().astype(np.float64)
