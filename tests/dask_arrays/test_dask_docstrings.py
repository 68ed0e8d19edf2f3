"""The examples of the docstrings."""

import doctest

import pytest

pytest.importorskip("distributed", reason="an optional library: the session adapters has it")

import crossent.dask as xd

FUNCTIONS = [getattr(xd, name) for name in xd.__all__]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_docstrings(function):
    [examples] = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
    assert examples.examples
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples).failed == 0
