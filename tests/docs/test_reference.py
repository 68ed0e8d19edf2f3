"""The reference has every public function and class, as `__all__` of each public module says."""

import ast
import re

import pytest
from code_blocks import ROOT

PACKAGE, REFERENCE = ROOT / "python" / "crossent", ROOT / "docs" / "reference"
ADAPTERS = {path.parent.stem if path.stem == "__init__" else path.stem: path
            for path in (*PACKAGE.glob("[a-z]*.py"), *PACKAGE.glob("[a-z]*/__init__.py"))}
MODULES = {"crossent": PACKAGE / "__init__.py"} | ADAPTERS


def public_names(source):
    [names] = [node.value for node in ast.parse(source.read_text()).body
               if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
    return set(ast.literal_eval(names))


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name(module):
    page = (REFERENCE / f"{module}.rst").read_text()
    listed = re.findall(r"^   (\w+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted(public_names(MODULES[module]) - ADAPTERS.keys())


def test_every_module():
    index = (REFERENCE / "index.rst").read_text()
    assert {*re.findall(r"^   ([\w-]+)$", index, re.MULTILINE)} == {*MODULES, "command-line"}


def test_every_command():
    from crossent import __main__ as command

    page = (REFERENCE / "command-line.rst").read_text()
    [commands] = [action.choices for action in command.make_parser()._actions if action.dest == "command"]
    assert {*re.findall(r"^.. program-output:: crossent (\w+) --help$", page, re.MULTILINE)} == {*commands}
