"""The examples of docs/how-to/scikit-learn.md and docs/how-to/scipy.md, and an import without scikit-learn."""

import doctest
from pathlib import Path

import pytest
from support import run_python

pytest.importorskip("sklearn", minversion="1.6", reason="the extra [sklearn] is not installed")

DOCS = Path(__file__).parents[2] / "docs" / "how-to"


@pytest.mark.parametrize("page", ["scikit-learn.md", "scipy.md"])
def test_examples_run(page):
    result = doctest.testfile(str(DOCS / page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 5
    assert result.failed == 0


def test_it_says_which_extra_is_missing():
    script = """
import sys
sys.modules["sklearn"] = None
import crossent
assert "scipy" not in sys.modules
try:
    import crossent.sklearn
except ImportError as error:
    print(error)
"""
    assert "pip install 'crossent[sklearn]'" in run_python(script).stdout
