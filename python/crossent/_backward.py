"""What the docstrings of all backward functions say: their arguments, results and errors follow from the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

SECTIONS = """\
Parameters
----------
grad_output : array_like
    ``g``, in the shape of the loss: a scalar but for ``reduction="none"``; any of the dtypes of `{first}`.
{arguments}
    As for `{loss}`.
out : ndarray, optional
    Receives the result: the shape and dtype of `{first}`, any strides. May be exactly an input of that shape and
    dtype. A `MemoryError` or Ctrl-C may leave it partly written.

Returns
-------
ndarray in the shape of `{first}`
    `out` if it was given; else a new array of the dtype and memory order of `{first}`.

Raises
------
{errors}
    As `{loss}`; ValueError also if `grad_output` has another shape than the loss.

References
"""


def documented(backward: F) -> F:
    """A decorator: these sections before the references of a backward function, whose docstring has what is its own."""
    if backward.__doc__ is None:  # of python -OO
        return backward
    code = backward.__code__  # inspect.signature takes 20 us
    _, *arguments, _ = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    errors = ["TypeError", "ValueError"]
    errors += ["IndexError"] if {"ignore_index", "classes"} & {*arguments} else []
    errors += ["numpy.exceptions.AxisError"] if "axis" in arguments else []
    sections = SECTIONS.format(
        first=arguments[0], arguments=", ".join(arguments), loss=backward.__name__.removesuffix("_backward"),
        errors=", ".join(errors))  # fmt: skip
    before, _, after = backward.__doc__.partition("References\n")
    margin = before[before.rindex("\n") + 1 :]  # none since Python 3.13
    backward.__doc__ = before + sections.replace("\n", f"\n{margin}") + after.removeprefix(margin)
    return backward
