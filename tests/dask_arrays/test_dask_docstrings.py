"""The examples of the docstrings."""

import pytest
from support import assert_examples_run

pytest.importorskip("distributed", reason="an optional library: the session adapters has it")

import crossent.dask as xd

FUNCTIONS = [getattr(xd, name) for name in xd.__all__]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_docstrings(function):
    assert_examples_run(function, function.__name__)
