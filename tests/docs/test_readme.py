"""The Python code of README.md runs as printed, each block by itself. Its commands are .ci/run, or install packages."""

import re
from pathlib import Path

import numpy as np
import pytest
from code_blocks import ROOT, blocks

import crossent as xe

TEXT = (ROOT / "README.md").read_text()


def first_block(names):
    losses = xe.cross_entropy(names["logits"], names["target"], reduction="none")
    [printed] = re.findall(r'reduction="none"\) +# \[(.*)\]', TEXT)
    np.testing.assert_allclose(losses, [float(v) for v in printed.split(",")], rtol=1e-6)
    assert names["loss"] == np.float32(losses.mean())


def torch(names):
    x, y, model, torch, loss = (names[name] for name in ("x", "y", "model", "torch", "loss"))
    expected = torch.nn.functional.cross_entropy(model(x), y).detach()
    assert expected <= loss < np.log(4) + 0.1  # before the last step: not below
    np.testing.assert_allclose(float(expected), float(loss.detach()), rtol=0.01)


def xgboost(names):
    margins = names["booster"].predict(names["xgb"].DMatrix(names["x"]), output_margin=True)
    assert margins.shape == (500, 3)
    assert xe.cross_entropy(margins, names["y"]) < 0.1


def scipy(names):
    assert names["fit"].success
    assert np.abs(names["fit"].jac).max() < 1e-4


def memory_maps(names):
    assert isinstance(names["old"], np.memmap)
    assert xe.kl_div_with_logits(names["new"], names["old"]) > 0


def jax(names):
    assert abs(names["loss"] - 1.0986123) < 1e-6
    assert names["grad"].shape == (4, 3)


AFTER = (first_block, torch, xgboost, scipy, memory_maps, jax)  # of each block, what is true then


def python_blocks():
    return [block for block in blocks(ROOT / "README.md") if block.region.lexemes["arguments"] == "python"]


def test_there_are_blocks():
    assert len(python_blocks()) == len(AFTER)


@pytest.mark.parametrize("index", range(len(AFTER)), ids=[check.__name__ for check in AFTER])
def test_block(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = python_blocks()[index]
    block.evaluate()
    AFTER[index](block.namespace)


def test_loss_of_the_first_screen():
    assert str(xe.cross_entropy(np.float32([17, 0]), 0)) in TEXT


def test_paths():
    """Files and folders that the README names in its commands."""
    paths = re.findall(r"[`\s]((?:bench|cpp|docs|python|tests)/[\w./-]*\w)", TEXT)
    assert [path for path in paths if not (ROOT / Path(path)).exists()] == []
    assert paths
