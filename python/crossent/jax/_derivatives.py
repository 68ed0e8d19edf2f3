"""The rules by which JAX differentiates: in the first argument, once, by reverse mode."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from .._dtypes import arithmetic
from ._ways import Arrays, Call, run

# ---- Losses ----------------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def loss(call: Call, x: jax.Array, others: Arrays) -> jax.Array:
    return run(call.returning("loss"), (x, *others))[0]


def _saves_gradient(call: Call, x: jax.Array) -> bool:
    """Whether the gradient is computed with the loss and multiplied by the upstream one later.

    Not in half precision, where a small gradient would be 0 before a loss scale multiplies it.
    """
    dtype = np.dtype(x.dtype)
    return bool(call.option("reduction") != "none" and arithmetic(dtype) == dtype)


def _loss_forward(call: Call, x: Any, others: Any) -> Any:
    for name, other in zip(call.operands[1:], others, strict=True):
        if other.perturbed:
            raise TypeError(
                f"{call.function} has no gradient with respect to {name}: expected jax.lax.stop_gradient({name})"
            )
    operands = (x.value, *(other.value for other in others))
    if not _saves_gradient(call, x.value):
        return run(call.returning("loss"), operands)[0], operands
    value, gradient = run(call.returning("loss", "grad"), operands)
    return value, (gradient,)


def _loss_backward(call: Call, saved: Any, upstream: Any) -> Any:
    first = saved[0]
    if isinstance(upstream, SymbolicZero):
        return jnp.zeros_like(first), None
    if _saves_gradient(call, first):
        return first * upstream, None
    backward = Call(call.function, (*call.operands, "grad_output"), call.options, call.ndim, ("grad",), call.way)
    return run(backward, (*saved, upstream))[0], None


loss.defvjp(_loss_forward, _loss_backward, symbolic_zeros=True)

# ---- Normalisers -----------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def normalised(call: Call, x: jax.Array) -> jax.Array:
    return run(call, (x,))[0]


def _normalised_forward(call: Call, x: jax.Array) -> Any:
    result = normalised(call, x)
    return result, result


def _normalised_backward(call: Call, result: jax.Array, upstream: jax.Array) -> Any:
    backward = Call(
        f"{call.function}_backward", ("grad_output", "result"), call.options, call.ndim, ("out",), call.way
    )
    return run(backward, (upstream, result))


normalised.defvjp(_normalised_forward, _normalised_backward)
