"""Options say what they are in one place, the signature of the loss in NumPy; other clients take theirs from there."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from . import _validate
from ._distillation_loss import distillation_loss

F = TypeVar("F", bound=Callable[..., Any])

OF_GRADIENT = ("return_grad", "grad_out")
# Those that may be arrays: with a number for each row, and for each class.
OF_ROWS = ("sample_weight", "temperature")
OF_CLASSES = ("weight", "logit_bias")


@functools.cache
def defaults_of(loss: Callable[..., Any]) -> Mapping[str, Any]:
    """The options of a loss, in their order, with their defaults."""
    parameters = inspect.signature(loss).parameters.values()
    return MappingProxyType({p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY})


def for_core(loss: Callable[..., Any], options: Mapping[str, Any]) -> list[Any]:
    """The options as the functions of the core take them, by position, but for those of the gradient."""
    return [options.get(name, default) for name, default in defaults_of(loss).items() if name not in OF_GRADIENT]


_DEFAULTS = defaults_of(distillation_loss)


def refuse_options_of_target(options: Mapping[str, Any]) -> None:
    """Of a distillation without a target, which would ignore them in silence."""
    for name in ("weight", "ignore_index", "label_smoothing", "z_loss"):
        given, default = options[name], _DEFAULTS[name]
        if given is not default and (np.ndim(given) > 0 or given != default):
            _validate.refuse_without_target(name)


def takes_options_of(loss: Callable[..., Any], *without: str) -> Callable[[F], F]:
    """A decorator: the `**options` of a function are those of `loss`, but for some.

    The function gets all of them, with the defaults of `loss`; its signature names them after its own arguments.
    """
    options = {name: default for name, default in defaults_of(loss).items() if name not in without}
    of_loss = inspect.signature(loss).parameters

    def decorate(function: F) -> F:
        own = inspect.signature(function)
        *arguments, _ = own.parameters.values()
        known = {*options, *(p.name for p in arguments)}

        @functools.wraps(function)
        def call(*args: Any, **given: Any) -> Any:
            if unknown := given.keys() - known:
                raise TypeError(f"{function.__name__}() got an unexpected keyword argument {min(unknown)!r}")
            return function(*args, **(options | given))

        named = [*arguments, *(of_loss[name] for name in options)]
        call.__signature__ = own.replace(parameters=named)  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate
