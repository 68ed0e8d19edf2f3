"""What an import says where scikit-learn is not installed."""

from support import run_python


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
