"""JAX with the losses of optax, compiled by `jit`. README.md says what is called."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA reports slow compilations as errors

import jax
import jax.numpy as jnp
import numpy as np
import optax
from arrays import Buffers
from cells import SMOOTHING, TEMPERATURE, Cell
from peers import Call

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def cross_entropy(axis: int) -> Loss:
    return lambda x, y: optax.softmax_cross_entropy_with_integer_labels(x, y, axis=axis).mean()


def soft(x: jax.Array, q: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy(x, optax.smooth_labels(q, SMOOTHING)).mean()


def binary(x: jax.Array, y: jax.Array) -> jax.Array:
    return optax.sigmoid_binary_cross_entropy(x, y).mean()


def distillation(x: jax.Array, z: jax.Array) -> jax.Array:
    student, teacher = jax.nn.log_softmax(x / TEMPERATURE), jax.nn.log_softmax(z / TEMPERATURE)
    return optax.losses.kl_divergence_with_log_targets(student, teacher).mean()


def loss_of(cell: Cell) -> Loss:
    return {"soft": soft, "binary": binary, "distillation": distillation}.get(cell.loss) or cross_entropy(cell.axis)


def value_and_gradient(cell: Cell) -> Callable[..., Any]:
    """Or, of a normaliser, (None, output)."""
    if cell.mode == "output":
        return lambda x, _: (None, jax.nn.log_softmax(x, axis=cell.axis))
    return jax.value_and_grad(loss_of(cell))


def on_device(array: np.ndarray) -> jax.Array:
    """The same memory where JAX can take it. Class indices become int32 unless the cell is of float64."""
    return jax.device_put(array, may_alias=True)


class Jit:
    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        jax.config.update("jax_enable_x64", cell.dtype == "float64")
        if cell.mode == "forward":
            loss = loss_of(cell)
            function = jax.jit(lambda x, y: (loss(x, y), None))
        else:
            function = jax.jit(value_and_gradient(cell))
        return [self.call(function, b) for b in sets]

    def call(self, function: Callable[..., Any], b: Buffers) -> Call:
        x, y = on_device(b.logits), on_device(b.target)
        return Call(lambda: jax.block_until_ready(function(x, y)))

    def first(self, array: jax.Array, count: int) -> np.ndarray:
        return np.asarray(array[:count]).astype(np.float64)


class Donated(Jit):
    """The result goes into a buffer that is given up: the gradient of the call before, or, in place, the logits."""

    def prepare(self, cell: Cell, sets: list[Buffers], threads: int) -> list[Call]:
        jax.config.update("jax_enable_x64", cell.dtype == "float64")
        both = value_and_gradient(cell)
        if cell.mode == "in place":
            function = jax.jit(both, donate_argnums=0)
        else:
            function = jax.jit(lambda x, y, _: both(x, y), donate_argnums=2, keep_unused=True)
        given = {"up": jnp.zeros(sets[0].logits.shape, sets[0].logits.dtype)}
        return [self.bound(cell, function, b, given) for b in sets]

    def bound(self, cell: Cell, function: Callable[..., Any], b: Buffers, given: dict[str, jax.Array]) -> Call:
        y = on_device(b.target)
        if cell.mode == "in place":

            def renew() -> None:
                given["up"] = jnp.array(b.logits, copy=True).block_until_ready()

            return Call(lambda: jax.block_until_ready(function(given["up"], y)), before=renew)
        x = on_device(b.logits)

        def run() -> tuple[Any, Any]:
            _, given["up"] = result = jax.block_until_ready(function(x, y, given["up"]))
            return result

        return Call(run)
