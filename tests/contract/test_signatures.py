"""One order of arguments everywhere, annotations with real types, and a `dir` of the API alone."""

import ast
import importlib.resources
import inspect

import pytest

import crossent as xe
from crossent import _core, information

PROCESS = ("config", "get_num_threads", "num_threads", "set_num_threads")
TYPES = ("RowStatistics", "TemperatureFit")
# A public function and the name of the core function that it calls.
FUNCTIONS = {name: (getattr(xe, name), name) for name in xe.__all__ if name not in (*PROCESS, *TYPES, "information")}
FUNCTIONS |= {f"information.{name}": (getattr(information, name), name) for name in information.__all__}
FUNCTIONS["information.cross_entropy"] = (information.cross_entropy, "information_cross_entropy")


def parameters(function):
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_core_takes_the_arguments_in_the_public_order(name):
    function, core_name = FUNCTIONS[name]
    assert parameters(getattr(_core, core_name)) == parameters(function)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_argument_is_passed_in_its_place(name, monkeypatch):
    function, core_name = FUNCTIONS[name]
    given = {parameter: object() for parameter in parameters(function)}

    def refuse(*arguments):  # what is done with a result is no matter here
        raise LookupError(arguments)

    monkeypatch.setattr(_core, core_name, refuse)
    with pytest.raises(LookupError) as refused:
        function(**given)
    assert refused.value.args == (tuple(given.values()),)


def test_stubs_have_the_functions_of_the_core():
    source = importlib.resources.files("crossent").joinpath("_core.pyi").read_text()
    stubs = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    assert stubs == {name for name, value in vars(_core).items() if inspect.isbuiltin(value)}
    kinds = {p.kind for name in stubs for p in inspect.signature(getattr(_core, name)).parameters.values()}
    assert kinds == {inspect.Parameter.POSITIONAL_ONLY}


@pytest.mark.parametrize("name", (*FUNCTIONS, *PROCESS))
def test_annotations_are_real_types(name):
    function = FUNCTIONS[name][0] if name in FUNCTIONS else getattr(xe, name)
    signature = inspect.signature(function)
    annotations = [signature.return_annotation, *(p.annotation for p in signature.parameters.values())]
    assert inspect.Signature.empty not in annotations and "Any" not in str(signature)


@pytest.mark.parametrize("module", (xe, information), ids=lambda module: module.__name__)
def test_dir_is_the_api(module):
    assert sorted(name for name in dir(module) if not name.startswith("__")) == sorted(module.__all__)


def test_dir_has_the_version():
    assert "__version__" in dir(xe)
