"""The recipes of README.md for other libraries, as printed."""

import numpy as np
from readme import python_blocks, run

import crossent as xe

RECIPES = {others: code for others, code in python_blocks() if others}


def test_torch(tmp_path, monkeypatch):
    names = run(RECIPES["torch",], tmp_path, monkeypatch)
    x, y, model, torch, loss = (names[name] for name in ("x", "y", "model", "torch", "loss"))
    expected = torch.nn.functional.cross_entropy(model(x), y).detach()
    assert expected <= loss < np.log(4) + 0.1  # before the last step: not below
    np.testing.assert_allclose(float(expected), float(loss), rtol=0.01)


def test_xgboost(tmp_path, monkeypatch):
    names = run(RECIPES["xgboost",], tmp_path, monkeypatch)
    margins = names["booster"].predict(names["xgb"].DMatrix(names["x"]), output_margin=True)
    assert margins.shape == (500, 3)
    assert xe.cross_entropy(margins, names["y"]) < 0.1


def test_scipy(tmp_path, monkeypatch):
    names = run(RECIPES["scipy",], tmp_path, monkeypatch)
    assert names["fit"].success
    assert np.abs(names["fit"].jac).max() < 1e-4
