"""The normalisers over several axes, or none: they become one axis, the last, and the core does the rest.

Axes that lie in memory as one axis would, as adjacent ones of a contiguous array do, are read and written where they
are. Others are copied.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, _validate
from ._arrays import arithmetic, floating

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._types import Array, Scalar


def softmax(x: object, axis: object, *others: object) -> Array:
    return _normalised(_core.softmax, x, axis, *others)


def log_softmax(x: object, axis: object, *others: object) -> Array:
    return _normalised(_core.log_softmax, x, axis, *others)


# logit_options: temperature, softcap, logit_bias.
def _normalised(core: Callable[..., Array], given: object, axis: object, *others: object) -> Array:
    *logit_options, dtype, out = others
    x = floating("x", given)
    axes = Axes("x", x, axis)
    of_result = _validate.result_dtype(x.dtype, dtype, out)
    return axes.filled(
        out, {"x": given}, lambda to: core(axes.merged(x), -1, *logit_options, of_result, to), of_result)


def softmax_backward(grad_output: object, probs: object, axis: object, temperature: object, out: object) -> Array:
    return _normalised_backward(_core.softmax_backward, "probs", grad_output, probs, axis, temperature, out)


def log_softmax_backward(
    grad_output: object, log_probs: object, axis: object, temperature: object, out: object
) -> Array:
    return _normalised_backward(_core.log_softmax_backward, "log_probs", grad_output, log_probs, axis, temperature, out)


def _normalised_backward(
    core: Callable[..., Array], name: str, upstream: object, given: object, axis: object, temperature: object,
    out: object,
) -> Array:
    y = floating(name, given)
    axes = Axes(name, y, axis)
    g = floating("grad_output", upstream)
    _validate.same_shape("grad_output", g, y.shape)
    return axes.filled(
        out, {name: given, "grad_output": upstream},
        lambda to: core(axes.merged(g), axes.merged(y), -1, temperature, to), y.dtype)


def logsumexp(given: object, axis: object, *others: object) -> Scalar | Array:
    *logit_options, keepdims, out = others
    x = floating("x", given)
    axes = Axes("x", x, axis, may_be_empty=True)
    shape, dtype = axes.reduced_shape(bool(keepdims)), arithmetic(x.dtype)
    result = np.empty(shape, dtype) if out is None else _validate.output("out", out, shape, dtype, {"x": given})
    _core.logsumexp(axes.merged(x), -1, *logit_options, False, result.reshape(axes.rows))
    return _returned(result, out)  # type: ignore[no-any-return]


def logsumexp_backward(upstream: object, given: object, axis: object, *others: object) -> Array:
    *logit_options, keepdims, out = others
    x = floating("x", given)
    axes = Axes("x", x, axis, may_be_empty=True)
    g = floating("grad_output", upstream)
    _validate.same_shape("grad_output", g, axes.reduced_shape(bool(keepdims)))
    # With an axis of length 1: where there is one class, `out` may be this array.
    g = g.reshape(*axes.rows, 1)
    return axes.filled(
        out, {"x": given, "grad_output": upstream},
        lambda to: _core.logsumexp_backward(g, axes.merged(x), -1, *logit_options, True, to), x.dtype)


def _returned(result: Array, out: object) -> Any:
    """What a caller gets: `out`, or a scalar in place of a 0-d array."""
    return result[()] if out is None else out


class Axes:
    """The class axes of `x`, and its other axes, whose lengths are `rows`."""

    def __init__(self, name: str, x: Array, axis: Any, may_be_empty: bool = False) -> None:
        self.x = x
        self.classes = _class_axes(x.ndim, axis)
        self.others = tuple(a for a in range(x.ndim) if a not in self.classes)
        self.rows = tuple(x.shape[a] for a in self.others)
        self.count = math.prod([x.shape[a] for a in self.classes])  # no generator: torch.compile has none
        if self.count == 0 and 0 not in self.rows and not may_be_empty:
            raise ValueError(f"{name} has shape {x.shape}: expected at least one class along the axes {self.classes}")

    def reduced_shape(self, keepdims: bool) -> tuple[int, ...]:
        if not keepdims:
            return self.rows
        return tuple(1 if a in self.classes else n for a, n in enumerate(self.x.shape))

    def moved(self, x: Array) -> Array:
        return x.transpose(*self.others, *self.classes)

    def merged(self, x: Array) -> Array:
        """(*rows, classes): a view where the axes lie as one, else a copy."""
        return self.moved(x).reshape(*self.rows, self.count)

    def filled(
        self, out: object, inputs: dict[str, Any], compute: Callable[[Array], object], dtype: np.dtype[Any]
    ) -> Array:
        """`out`, or a new array like `x` of the dtype, with what `compute` writes in the shape of `merged`."""
        x = self.x
        result = np.empty_like(x, dtype) if out is None else _validate.output("out", out, x.shape, dtype, inputs)
        to = self.merged(result)
        compute(to)
        if not np.may_share_memory(to, result):
            moved = self.moved(result)
            moved[...] = to.reshape(moved.shape)
        return _returned(result, out)  # type: ignore[no-any-return]


def _class_axes(ndim: int, axis: Any) -> tuple[int, ...]:
    """The axes in `axis`, counted from 0, in their order in the array. A number has the axes 0 and -1, and none."""
    if axis is None:
        return tuple(range(ndim))
    try:
        given = [operator.index(a) for a in (axis if isinstance(axis, tuple) else (axis,))]
    except TypeError:
        raise TypeError(f"axis is {axis!r}: expected an int, a tuple of ints or None") from None
    for a in given:
        if not -max(ndim, 1) <= a < max(ndim, 1):
            raise np.exceptions.AxisError(a, ndim)
    if ndim == 0:
        return ()
    axes = sorted(a % ndim for a in given)
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis is {axis!r}: expected every axis once")
    return tuple(axes)
