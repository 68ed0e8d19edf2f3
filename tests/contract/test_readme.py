"""The code of README.md runs as printed, and no page has a link or names a file that leads nowhere.

Its recipes for other libraries are in their sessions (tests/peers/test_recipes.py, tests/jax_arrays/test_jax_docs.py).
"""

import re
from pathlib import Path

import numpy as np
import pytest
from readme import ROOT, TEXT, python_blocks, run

import crossent as xe

ALONE = [code for others, code in python_blocks() if not others]
PAGES = sorted(path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md"))


def test_there_are_blocks():
    assert len(ALONE) == 2
    assert {others for others, _ in python_blocks()} == {(), ("torch",), ("xgboost",), ("scipy",), ("jax",)}


def test_first_block(tmp_path, monkeypatch):
    names = run(ALONE[0], tmp_path, monkeypatch)
    [printed] = re.findall(r'reduction="none"\) +# \[(.*)\]', ALONE[0])
    losses = xe.cross_entropy(names["logits"], names["target"], reduction="none")
    np.testing.assert_allclose(losses, [float(v) for v in printed.split(",")], rtol=1e-6)
    assert names["loss"] == np.float32(losses.mean())


def test_memory_maps(tmp_path, monkeypatch):
    names = run(ALONE[1], tmp_path, monkeypatch)
    assert isinstance(names["old"], np.memmap)
    assert xe.kl_div_with_logits(names["new"], names["old"]) > 0


def test_loss_of_the_first_screen():
    assert str(xe.cross_entropy(np.float32([17, 0]), 0)) in TEXT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    broken = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert broken == []


def test_paths():
    """Files and folders that the README names in its commands."""
    paths = re.findall(r"[`\s]((?:bench|cpp|docs|python|tests)/[\w./-]*\w)", TEXT)
    assert [path for path in paths if not (ROOT / Path(path)).exists()] == []
    assert paths
