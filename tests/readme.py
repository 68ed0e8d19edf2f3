"""README.md as the tests see it: its Python blocks, and what they import."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
ALWAYS_INSTALLED = {"crossent", "numpy"}


def python_blocks():
    """(what it imports beside NumPy and crossent, code) of each block."""
    for code in re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE):
        imports = re.findall(r"^(?:import|from) (.*)$", code, re.MULTILINE)
        names = {part.split()[0].split(".")[0] for line in imports for part in line.split(" import ")[0].split(",")}
        yield tuple(sorted(names - ALWAYS_INSTALLED)), code


def run(code, folder, monkeypatch):
    """The names that a block leaves behind."""
    monkeypatch.chdir(folder)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    return names
