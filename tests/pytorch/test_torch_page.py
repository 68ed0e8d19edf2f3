"""The examples of docs/how-to/pytorch.md run as printed, and print what they say."""

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "pytorch.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", BLOCKS)
def test_examples(code, capsys):
    exec(compile(code, "docs/how-to/pytorch.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\) +# (.*)$", code, re.MULTILINE)


def test_there_are_examples():
    assert len(BLOCKS) == 3
