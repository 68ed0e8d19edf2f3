"""`calls.py`, which type checkers read, says the truth, and about every option."""

import ast
import inspect
import runpy
import typing
from pathlib import Path

import numpy as np
import pytest
from operations import FITS, FUNCTIONS

CALLS = Path(__file__).with_name("calls.py")
LOSSES = [name for name, function in FUNCTIONS.items() if "return_grad" in function.signature]


def holds(value, annotation):
    """Whether a value is of one of the types in `calls.py`: an array, a number, which has Any in it, or a pair."""
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple:
        return type(value) is tuple and len(value) == len(parts) and all(map(holds, value, parts))
    return isinstance(value, np.floating if typing.Any in parts and np.float64 in parts else np.ndarray)


def test_results_are_of_the_types(monkeypatch):
    checked = []

    def assert_type(value, annotation):
        assert holds(value, annotation), f"{value!r} is no {annotation}"
        checked.append(value)

    monkeypatch.setattr(typing, "assert_type", assert_type)
    runpy.run_path(str(CALLS))
    assert len(checked) > 4 * len(LOSSES)


@pytest.mark.parametrize("name", [*LOSSES, *(function.name for function in FITS)])
def test_every_option_is_used(name):
    """So that an option which the overloads of a loss do not know is an error of the type checkers."""
    calls = (node for node in ast.walk(ast.parse(CALLS.read_text())) if isinstance(node, ast.Call))
    used = {keyword.arg for call in calls if ast.unparse(call.func) == f"xe.{name}" for keyword in call.keywords}
    parameters = inspect.signature(FUNCTIONS[name].run).parameters.values()
    assert {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY} <= used
