"""The examples of the docstrings."""

import doctest

import pytest

pytest.importorskip("jax", reason="an optional library: the session adapters has it")

import crossent.jax as xj

FUNCTIONS = [getattr(xj, name) for name in xj.__all__]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_docstrings(function):
    [examples] = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
    assert examples.examples
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples).failed == 0
