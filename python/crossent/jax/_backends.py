"""The two backends, which call the core: through XLA's foreign function interface, or through a call of Python.

Both do the same: they look for operands by name, and run a call on each example of a batch that `jax.vmap` made. Then
the rules by which JAX differentiates: in the first argument, once, by reverse mode.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

import crossent

from .. import _threads
from .._arrays import arithmetic, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._types import Array


Backend = Literal["ffi", "callback"]
Arrays = tuple[jax.Array, ...]
Type = tuple[tuple[int, ...], np.dtype[Any]]  # shape and dtype

POSITIONAL = ("grad_output", "logits", "x", "result", "teacher_logits", "target")
REDUCTIONS = ("none", "mean", "sum")
DIVERGENCES = ("forward", "reverse", "js")


@dataclass(frozen=True)
class Call:
    """A call of a function of crossent, but for its arrays.

    `options` are those of the function in NumPy, checked; `ndim` is that of the first operand; `results` are some of
    "loss", "grad" and "out".
    """

    function: str
    operands: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]
    ndim: int
    results: tuple[str, ...]
    backend: Backend

    def returning(self, *results: str) -> Call:
        return replace(self, results=results)

    def option(self, name: str) -> Any:
        return dict(self.options).get(name)

    def result_types(self, first: Any) -> tuple[Type, ...]:
        axis, shape = self.option("axis"), tuple(first.shape)
        like_first = (shape, np.dtype(first.dtype))
        if self.option("reduction") != "none":
            shape = ()
        elif axis is not None:
            shape = rows_of(shape, axis)
        loss = (shape, arithmetic(like_first[1]))
        return tuple(loss if name == "loss" else like_first for name in self.results)


@functools.partial(jax.jit, static_argnums=0)
def run(call: Call, operands: Arrays) -> Arrays:
    return tuple(_call.bind(*operands, call=call, results=call.result_types(operands[0])))


# ---- XLA -------------------------------------------------------------------------------------------------------------


def _interface() -> tuple[int, ...]:
    """The version of the foreign function interface of the installed XLA, as its header says it."""
    header = Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h").read_text()
    return tuple(int(n) for n in re.findall(r"^#define XLA_FFI_API_M(?:AJOR|INOR) (\d+)$", header, re.MULTILINE))


def _register() -> bool:
    """Whether the extension module for XLA was built, for the interface of this XLA.

    Another one XLA would refuse only when it starts, and then no computation runs.
    """
    try:
        from . import _xla

        if _xla.interface != _interface():
            return False
    except (ImportError, OSError):
        return False
    for name, handler in _xla.functions.items():
        jax.ffi.register_ffi_target(f"crossent_{name}", handler, platform="cpu")
    _threads.add_core(_xla.set_num_threads)
    return True


AVAILABLE: tuple[Backend, ...] = ("ffi", "callback") if _register() else ("callback",)
chosen = AVAILABLE[0]


def _attributes(call: Call, operands: Any) -> dict[str, Any]:
    """What the handlers in cpp/jax/losses.cpp read."""
    options = dict(call.options)
    if "reduction" in options:
        options["reduction"] = REDUCTIONS.index(options["reduction"])
        options["denominator"] = options["denominator"] or 0.0
    for name in ("softcap", "teacher_softcap"):
        if name in options:
            options[name] = options[name] or 0.0
    if "temperature" in call.operands:
        options["temperature"] = 1.0
    if "divergence" in options:
        options["divergence"] = DIVERGENCES.index(options["divergence"])
    if "ignore_index" in options:
        options["has_ignore_index"] = options["ignore_index"] is not None
        options["ignore_index"] = options["ignore_index"] or 0
        dtypes = {name: np.dtype(x.dtype) for name, x in zip(call.operands, operands, strict=True)}
        options["by_index"] = "target" in dtypes and dtypes["target"].kind in "iu"
    numbers = {int: np.int64, float: np.float64, bool: np.bool_}
    attributes = {name: numbers[type(value)](value) for name, value in options.items()}
    names = {"operands": " ".join(call.operands), "results": " ".join(call.results)}
    return {**attributes, **names, "ndim": np.int64(call.ndim)}


# ---- Python ----------------------------------------------------------------------------------------------------------


def _call_from_python(call: Call, *operands: Array) -> tuple[Any, ...]:
    axes = operands[0].ndim - call.ndim
    if axes == 0:
        return _compute(call, operands)
    examples = np.broadcast_shapes(*(x.shape[:axes] for x in operands))
    spread = [np.broadcast_to(x, examples + x.shape[axes:]) for x in operands]
    one = spread[0][(0,) * axes] if 0 not in examples else np.empty(spread[0].shape[axes:], spread[0].dtype)
    results = tuple(np.empty(examples + shape, dtype) for shape, dtype in call.result_types(one))
    for example in np.ndindex(examples):
        for result, value in zip(results, _compute(call, [x[example] for x in spread]), strict=True):
            result[example] = value
    return results


def _compute(call: Call, arrays: Sequence[Array]) -> tuple[Any, ...]:
    """The results for one example."""
    named = dict(zip(call.operands, arrays, strict=True))
    positional = [named.pop(name) for name in POSITIONAL if name in named]
    options = {**dict(call.options), **named}
    if call.results == ("grad",):
        return (getattr(crossent, f"{call.function}_backward")(*positional, **options),)
    if call.results == ("loss", "grad"):
        return getattr(crossent, call.function)(*positional, **options, return_grad=True)  # type: ignore[no-any-return]
    return (getattr(crossent, call.function)(*positional, **options),)


# ---- The primitive ---------------------------------------------------------------------------------------------------

# Its operands, and with them the results, have an axis of examples in front for each `jax.vmap` around the call.
_call = jax.extend.core.Primitive("crossent")
_call.multiple_results = True


def _result_types(*operands: Any, call: Call, results: tuple[Type, ...]) -> Any:
    """As the first operand but for shape and dtype; one of another shape is not spread over the axes of a mesh."""
    first = operands[0]
    types = []
    for shape, dtype in results:
        whole = NamedSharding(first.sharding.mesh, PartitionSpec(*(None for _ in shape)))
        sharding = first.sharding if shape == first.shape else whole
        types.append(first.update(shape=shape, dtype=dtype, weak_type=False, sharding=sharding))
    return types


def _add_examples(operands: Any, axes: Any, *, call: Call, results: tuple[Type, ...]) -> Any:
    count = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)
    operands = [
        jnp.expand_dims(x, 0) if axis is None else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(operands, axes, strict=True)
    ]
    results = tuple(((count, *shape), dtype) for shape, dtype in results)
    return _call.bind(*operands, call=call, results=results), [0] * len(results)


def _lower(context: Any, *operands: Any, call: Call, results: tuple[Type, ...]) -> Any:
    if call.backend == "ffi":
        attributes = _attributes(call, context.avals_in)
        return jax.ffi.ffi_lowering(f"crossent_{call.function}")(context, *operands, **attributes)
    # As jax.pure_callback, which first puts the operands on a device. Where no thread is left to copy them, as with one
    # processor, it waits for ever (https://github.com/jax-ml/jax/issues/24255).
    python = functools.partial(_call_from_python, call)
    lowered, _, _ = mlir.emit_python_callback(
        context, python, None, operands, context.avals_in, context.avals_out, has_side_effect=False
    )
    return lowered


def _refuse_platform(context: Any, *operands: Any, call: Call, results: tuple[Type, ...]) -> Any:
    platforms = ", ".join(context.module_context.platforms)
    raise NotImplementedError(f"crossent.jax on {platforms}: expected arrays on a CPU device")


def _refuse_derivative(operands: Any, tangents: Any, *, call: Call, results: tuple[Type, ...]) -> Any:
    raise NotImplementedError("crossent.jax has first derivatives only, by reverse mode (jax.grad, jax.vjp)")


_call.def_abstract_eval(_result_types)
batching.primitive_batchers[_call] = _add_examples
mlir.register_lowering(_call, _refuse_platform)
mlir.register_lowering(_call, _lower, platform="cpu")
ad.primitive_jvps[_call] = _refuse_derivative


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


def _refuse_gradients(call: Call, others: Any) -> None:
    for name, other in zip(call.operands[1:], others, strict=True):
        if other.perturbed:
            raise TypeError(
                f"{call.function} has no gradient with respect to {name}: expected jax.lax.stop_gradient({name})"
            )


def _loss_forward(call: Call, x: Any, others: Any) -> Any:
    _refuse_gradients(call, others)
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
    backward = Call(call.function, (*call.operands, "grad_output"), call.options, call.ndim, ("grad",), call.backend)
    return run(backward, (*saved, upstream))[0], None


loss.defvjp(_loss_forward, _loss_backward, symbolic_zeros=True)

# ---- Normalisers -----------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def normalised(call: Call, x: jax.Array, others: Arrays) -> jax.Array:
    return run(call, (x, *others))[0]


def _normalised_forward(call: Call, x: Any, others: Any) -> Any:
    _refuse_gradients(call, others)
    result = run(call, (x.value, *(other.value for other in others)))[0]
    of_rows = next((t.value for name, t in zip(call.operands[1:], others, strict=True) if name == "temperature"), None)
    return result, (result, None if call.option("softcap") is None else x.value, of_rows)


def _normalised_backward(call: Call, saved: Any, upstream: Any) -> Any:
    result, x, temperatures = saved
    if isinstance(upstream, SymbolicZero):
        return jnp.zeros_like(result), None
    dtype = result.dtype
    through_more = x is not None or temperatures is not None
    if through_more:
        result = result.astype(arithmetic(np.dtype(dtype)))  # so that a half is rounded once
    options = {"axis": call.option("axis"), "temperature": call.option("temperature") or 1.0}
    backward = Call(f"{call.function}_backward", ("grad_output", "result"), tuple(options.items()), call.ndim, ("out",),
                    call.backend)  # fmt: skip
    (gradient,) = run(backward, (upstream, result))
    if through_more:
        gradient = (gradient * _slope(call, x, temperatures, result)).astype(dtype)
    return gradient, None


def _slope(call: Call, x: jax.Array | None, temperatures: jax.Array | None, like: jax.Array) -> jax.Array:
    """The derivative of the transformed logits at x, but for a temperature that is a number.

    That of the softcap, 1 - tanh(u)^2, is 4 sigmoid(2u) sigmoid(-2u), where nothing cancels.
    """
    slope = jnp.ones((), like.dtype)
    if x is not None:
        u = x.astype(like.dtype) * (2 / call.option("softcap"))
        slope = 4 * jax.nn.sigmoid(u) * jax.nn.sigmoid(-u)
    if temperatures is not None:
        axis = call.option("axis")
        of_rows = jnp.broadcast_to(temperatures, rows_of(like.shape, axis)).astype(like.dtype)
        slope = slope / jnp.expand_dims(of_rows, axis)
    return slope


normalised.defvjp(_normalised_forward, _normalised_backward, symbolic_zeros=True)
