"""The code blocks of README.md and of docs/, and how each kind runs.

A fence says what a block is: `python`, plain or a doctest, which shares its names with the page; `sh`; `console`, whose
commands begin with `$` and print what follows them. Comments of Sybil, which readers do not see, set the scene of a
page (`<!-- invisible-code-block: python`) or say why a block cannot run (`<!-- skip: next "it needs a GPU" -->`).
"""

import ast
import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
COUNTS = Counter()  # of this run of pytest
ADAPTERS = ("jax", "lightgbm", "optax", "torch", "xgboost")  # what the session docs has not


def missing(tree):
    """Modules that a block imports and that are not installed."""
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return [name for name in sorted({name.split(".")[0] for name in names}) if find_spec(name) is None]


def check_installed(source):
    for name in missing(ast.parse(source)):
        reason = f"{name} is not installed: the session {'adapters' if name in ADAPTERS else 'docs'} has it"
        if os.environ.get("CROSSENT_PAGES") == "all":
            pytest.fail(reason)
        pytest.skip(reason)


def run_python(example):
    """A doctest; or plain code, which prints what follows its `print(..)  # `, if that is said of one of them."""
    source = str(example.parsed)
    if source.lstrip().startswith(">>>"):
        run_doctest(example, source)
        return
    check_installed(source)
    printed = io.StringIO()
    code = compile("\n" * (example.line + example.parsed.line_offset) + source, example.path, "exec")
    with contextlib.redirect_stdout(printed):
        exec(code, example.namespace)
    expected = re.findall(r"^print\(.*\) +# (.*)$", source, re.MULTILINE)
    assert not expected or printed.getvalue().splitlines() == expected


def run_doctest(example, source):
    test = doctest.DocTestParser().get_doctest(source, {}, Path(example.path).name, example.path, example.line)
    check_installed("".join(part.source for part in test.examples))
    test.globs = example.namespace
    report = io.StringIO()
    result = doctest.DocTestRunner().run(test, out=report.write, clear_globs=False)
    assert result.attempted
    assert not result.failed, report.getvalue()


def run_shell(example):
    shell(example.parsed)


def run_console(example):
    """Each command, and that it prints what the page says."""
    parts = re.split(r"^\$ (.*)\n", str(example.parsed), flags=re.MULTILINE)
    assert parts[0] == ""
    for command, expected in zip(parts[1::2], parts[2::2], strict=True):
        printed = shell(command)
        assert [line.rstrip() for line in printed.splitlines()] == expected.splitlines(), command


def shell(commands):
    """What the commands print, in a terminal of 80 columns, where `crossent` and `python` are those of the tests."""
    assert not re.search(r"\b(pip|apt-get) ", commands), "to be marked: skip: next"
    functions = f'python() {{ "{sys.executable}" "$@"; }}; crossent() {{ python -m crossent "$@"; }}\n'
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", functions + commands],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "80"},
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def counted(language, run):
    def evaluate(example):
        run(example)
        if Path(example.path).is_relative_to(ROOT):
            seen = example.document.text[example.start] == "`"
            COUNTS[f"run: {language}{'' if seen else ', invisible'}"] += 1

    return CodeBlockParser(language, evaluate)


RUN = {"python": run_python, "sh": run_shell, "console": run_console}
PARSERS = [counted(language, run) for language, run in RUN.items()]


def blocks(page):
    """In their order, with the comments of Sybil."""
    return Sybil([*PARSERS, SkipParser()]).parse(page).examples()
