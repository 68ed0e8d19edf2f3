"""The code of docs/how-to/boosting.md runs as printed."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "boosting.md").read_text()


def test_page():
    pytest.importorskip("lightgbm", reason="an optional library: the session boosting has it")
    pytest.importorskip("xgboost", reason="an optional library: the session boosting has it")
    names = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    for code in blocks:
        exec(compile(code, "docs/how-to/boosting.md", "exec"), names)
    assert names["p"].shape == (600, 3) and names["hess"].shape == (600, 3)
