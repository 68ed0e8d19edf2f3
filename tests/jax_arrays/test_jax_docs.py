"""The examples of docs/how-to/jax.md, of README.md and of the docstrings."""

import doctest
from pathlib import Path

import pytest
from readme import python_blocks, run

pytest.importorskip("jax", reason="JAX is not installed: the session `jax` has it")

import crossent.jax as xj

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "jax.md"
FUNCTIONS = [getattr(xj, name) for name in xj.__all__]


def test_page(way):
    examples = doctest.DocTestParser().get_doctest(PAGE.read_text(), {}, "jax.md", str(PAGE), 0)
    assert len(examples.examples) > 10
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples).failed == 0


def test_readme(tmp_path, monkeypatch):
    [code] = [code for others, code in python_blocks() if others == ("jax",)]
    names = run(code, tmp_path, monkeypatch)
    assert abs(names["loss"] - 1.0986123) < 1e-6
    assert names["grad"].shape == (4, 3)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_docstrings(function):
    [examples] = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
    assert examples.examples
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples).failed == 0
