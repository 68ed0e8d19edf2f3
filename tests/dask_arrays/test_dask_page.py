"""The examples of docs/how-to/dask.md and of the docstrings."""

import doctest
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="an optional library: the session `dask` has it")

import crossent.dask as xd

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "dask.md"
FUNCTIONS = [getattr(xd, name) for name in xd.__all__]


def test_page():
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 15
    assert result.failed == 0


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_docstrings(function):
    [examples] = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
    assert examples.examples
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples).failed == 0
