"""The code of README.md runs as printed, and what it names exists. Its commands install packages, or are .ci/run."""

import re
from pathlib import Path

import numpy as np
from code_blocks import ROOT, blocks

import crossent as xe

TEXT = (ROOT / "README.md").read_text()


def test_block():
    [block] = [block for block in blocks(ROOT / "README.md") if block.region.lexemes["arguments"] == "python"]
    block.evaluate()
    names = block.namespace
    losses = xe.cross_entropy(names["logits"], names["target"], reduction="none")
    [printed] = re.findall(r'reduction="none"\) +# \[(.*)\]', TEXT)
    np.testing.assert_allclose(losses, [float(v) for v in printed.split(",")], rtol=1e-6)
    assert names["loss"] == np.float32(losses.mean())


def test_loss_of_the_first_screen():
    assert str(xe.cross_entropy(np.float32([17, 0]), 0)) in TEXT


def test_paths():
    """Files and folders that the README names in its commands."""
    paths = re.findall(r"[`\s]((?:bench|cpp|docs|python|tests)/[\w./-]*\w)", TEXT)
    assert [path for path in paths if not (ROOT / Path(path)).exists()] == []
    assert paths
