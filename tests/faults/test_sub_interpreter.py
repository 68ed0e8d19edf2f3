"""An import in a sub-interpreter is refused. (pybind11 would wait for ever for the GIL that the two share.)"""

import sysconfig

import pytest
from support import run_python


@pytest.mark.parametrize("before", ["", "import crossent"])
def test_a_sub_interpreter_is_refused(before):
    out = run_python(f"""
{before}
inside = '''
try:
    import crossent
except ImportError as error:
    print(error, flush=True)
'''
try:
    import _interpreters
    _interpreters.run_string(_interpreters.create("legacy"), inside)
except ImportError:  # before Python 3.13
    import _xxsubinterpreters
    _xxsubinterpreters.run_string(_xxsubinterpreters.create(isolated=False), inside)
import crossent
print(crossent.logsumexp([0.0, 0.0]))
""").stdout
    refused = "crossent cannot be imported in a sub-interpreter: expected the main one of the process"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):  # Python is first
        refused = "module crossent._core does not support loading in subinterpreters"
    assert out == f"{refused}\n0.6931471805599453\n"


def test_a_sub_interpreter_with_a_gil_of_its_own_is_refused():
    """From Python 3.13 on, by Python itself or by NumPy; before, the interpreter is as the one above."""
    out = run_python("""
import crossent
inside = '''
try:
    import crossent
except ImportError:
    print("refused", flush=True)
'''
try:
    import _interpreters
    _interpreters.run_string(_interpreters.create("isolated"), inside)
except ImportError:  # before Python 3.13
    import _xxsubinterpreters
    _xxsubinterpreters.run_string(_xxsubinterpreters.create(isolated=True), inside)
print(crossent.logsumexp([0.0, 0.0]))
""").stdout
    assert out == "refused\n0.6931471805599453\n"
