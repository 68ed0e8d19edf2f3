"""The examples of the docstrings."""

import pytest
from support import assert_examples_run

pytest.importorskip("jax", reason="an optional library: the session adapters has it")

import crossent.jax as xj

FUNCTIONS = [getattr(xj, name) for name in xj.__all__]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_docstrings(function):
    assert_examples_run(function, function.__name__)
