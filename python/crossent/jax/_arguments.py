"""Arguments of a call, checked by shape and dtype: their values are not known before the computation runs.

What is not ordinary goes to the checks of crossent._validate, in place of the array one that has its shape and dtype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _arrays, _numbers, _validate
from .._arrays import arithmetic, as_array, floating_dtype, like, rows_of
from .._options import refuse_options_of_target
from . import _backends
from ._backends import Call, loss

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from numpy.typing import ArrayLike

    Arrays: TypeAlias = ArrayLike | jax.Array


WEIGHTS = ("weight", "pos_weight", "sample_weight")
BIASES = ("logit_bias", "teacher_logit_bias")


def floating(name: str, given: Any) -> jax.Array:
    """`given` as an array of a floating dtype; integers and bool get the default one of JAX."""
    x = jnp.asarray(given if isinstance(given, jax.Array) else as_array(name, given))
    if x.dtype.kind in "biu":
        return x.astype(float)
    if floating_dtype(np.dtype(x.dtype)) is None:
        _arrays.floating(name, like(x))
    return x


def numbers_of_classes(name: str, given: Any, classes: int) -> jax.Array:
    """`given` in the shape (C,)."""
    x = floating(name, given)
    if x.shape != (classes,):
        _validate.refuse_shape(name, x.shape, (classes,))
    return x


def temperatures(given: Any, rows: tuple[int, ...]) -> float | jax.Array:
    """A temperature as one number, or as one of each row, which the core broadcasts."""
    if (given.ndim if isinstance(given, jax.Array) else np.ndim(given)) == 0:
        return _numbers.positive("temperature", given)
    t = floating("temperature", given)
    if t.shape != rows:
        _validate.spread("temperature", like(t), rows)
    return t


class Arguments:
    """The arguments of a loss: `arrays` in their order, and `options` as the function in NumPy takes them.

    `given`: all options; `loss` checks those that the arrays did not need.
    """

    def __init__(self, function: str, logits: Any, given: Mapping[str, Any]) -> None:
        self.function, self.given = function, given
        self.x = floating("logits", logits)
        self.shape = self.rows = tuple(self.x.shape)
        self.dtype = np.dtype(self.x.dtype)
        self.arrays = {"logits": self.x}
        self.options: dict[str, Any] = {}
        if "axis" in given:
            self.options["axis"] = _validate.loss_axis("logits", self.shape, given["axis"])
            self.rows = rows_of(self.shape, self.options["axis"])

    # ---- Arrays ----------------------------------------------------------------------------------------------------

    def teacher(self, given: Any) -> None:
        z = floating("teacher_logits", given)
        if z.shape != self.shape:
            _validate.refuse_shape("teacher_logits", z.shape, self.shape)
        self.arrays["teacher_logits"] = z

    def class_target(self, given: Any) -> None:
        ignore_index = self.given["ignore_index"]
        self.options["ignore_index"] = _validate.ignored_class(ignore_index)
        y = self._not_wrapped(given)
        if y.dtype.kind in "iu":
            if y.shape != self.rows:
                y = y.reshape(_validate.class_indices(like(y), self.shape, self.rows).shape)
        elif y.shape != self.shape or ignore_index != -100 or floating_dtype(np.dtype(y.dtype)) is None:
            _validate.class_target(like(y), self.shape, self.rows, self.options["ignore_index"])
        self.arrays["target"] = y

    def _not_wrapped(self, target: Any) -> jax.Array:
        """`target` as an array of JAX, which may have half of the width of NumPy's: 2**32 would become class 0."""
        if isinstance(target, jax.Array):
            return target
        wide = as_array("target", target)
        y = jnp.asarray(wide)
        if wide.dtype.kind in "iu" and (changed := wide.astype(y.dtype) != wide).any():
            at, classes = int(changed.argmax()), self.shape[self.options["axis"]]
            ignored = self.options["ignore_index"]
            _validate.refuse_class("target", wide.shape, at, str(wide.flat[at]), classes, ignored)
        return y

    def binary_target(self, given: Any) -> None:
        y = jnp.asarray(given if isinstance(given, jax.Array) else as_array("target", given))
        if y.dtype.kind in "biu":
            y = y.astype(arithmetic(self.dtype))
        y = floating("target", y)
        if y.shape != self.shape:
            _validate.refuse_shape("target", y.shape, self.shape)
        self.arrays["target"] = y

    def class_weights(self, given: Any) -> None:
        w = numbers_of_classes("weight", given, self.shape[self.options["axis"]])
        self.arrays["weight"] = w.astype(arithmetic(self.dtype))

    def weights(self, name: str, given: Any) -> None:
        """Of rows or elements: broadcast by the core."""
        w = floating(name, given)
        if w.shape != self.rows:
            _validate.spread(name, like(w), self.rows)
        self.arrays[name] = w.astype(arithmetic(self.dtype)) if name == "sample_weight" else w

    # ---- Options ---------------------------------------------------------------------------------------------------

    def loss(self) -> jax.Array:
        """The loss, after the checks of the options."""
        for name, value in self.given.items():
            if name in WEIGHTS and value is not None:
                of_classes = name == "weight" and "axis" in self.options
                self.class_weights(value) if of_classes else self.weights(name, value)
            elif name in BIASES and value is not None:
                self.arrays[name] = numbers_of_classes(name, value, self.shape[self.options["axis"]])
            elif name == "temperature":
                place_temperature(value, self.rows, self.arrays, self.options)
            elif name in _numbers.OPTIONS:
                self.options[name] = _numbers.OPTIONS[name](name, value)
        if "divergence" in self.given:
            self._divergence(self.given["divergence"])
        if "alpha" in self.given:
            self._shares(self.given["alpha"])
        self._reduction(self.given["reduction"], self.given["denominator"])
        x, *others = self.arrays.values()
        return loss(_call(self.function, tuple(self.arrays), self.options, x.ndim, ("loss",)), x, tuple(others))

    def _divergence(self, divergence: str) -> None:
        if divergence not in _backends.DIVERGENCES:
            _numbers.refuse_name("divergence", divergence, _backends.DIVERGENCES)
        self.options["divergence"] = divergence
        if divergence == "js" and not 0 < self.options["beta"] < 1:
            _numbers.refuse_beta(self.options["beta"])

    def _shares(self, alpha: float | None) -> None:
        """Of the two terms of a distillation."""
        with_target = "target" in self.arrays
        share = (0.5 if with_target else 1.0) if alpha is None else _numbers.fraction("alpha", alpha)
        self.options["alpha"] = share
        if with_target:
            return
        if share != 1:
            _numbers.refuse_alpha(share)
        refuse_options_of_target(self.given)
        self.options["ignore_index"] = -100

    def _reduction(self, reduction: str, denominator: float | None) -> None:
        known = (*_backends.REDUCTIONS, "batchmean") if self.function == "kl_div_with_logits" else _backends.REDUCTIONS
        if reduction not in known:
            _numbers.refuse_name("reduction", reduction, known)
        if denominator is not None:
            if reduction != "mean":
                _numbers.refuse_denominator(reduction)
            denominator = _numbers.positive("denominator", denominator)
        self.options["reduction"] = "mean" if reduction == "batchmean" else reduction
        self.options["denominator"] = denominator


def place_temperature(
    given: Any, rows: tuple[int, ...], arrays: dict[str, jax.Array], options: dict[str, Any]
) -> None:
    temperature = temperatures(given, rows)
    (arrays if isinstance(temperature, jax.Array) else options)["temperature"] = temperature


def normaliser(
    function: str, x: Any, axis: int, temperature: Any, softcap: Any, logit_bias: Any, dtype: Any
) -> tuple[Call, jax.Array, tuple[jax.Array, ...]]:
    x = floating("x", x)
    # A half is a float32, and so are the numbers that it is computed in.
    x = x.astype(_validate.result_dtype(np.dtype(x.dtype), dtype, None))
    shape, arrays = tuple(x.shape), {"x": x}
    options: dict[str, Any] = {"axis": (axis := _validate.class_axis("x", shape, axis))}
    place_temperature(temperature, rows_of(shape, axis), arrays, options)
    options["softcap"] = _numbers.OPTIONS["softcap"]("softcap", softcap)
    if logit_bias is not None:
        arrays["logit_bias"] = numbers_of_classes("logit_bias", logit_bias, shape[axis])
    _, *others = arrays.values()
    return _call(function, tuple(arrays), options, x.ndim, ("out",)), x, tuple(others)


def _call(
    function: str, operands: tuple[str, ...], options: dict[str, Any], ndim: int, results: tuple[str, ...]
) -> Call:
    return Call(function, operands, tuple(options.items()), ndim, results, _backends.chosen)
