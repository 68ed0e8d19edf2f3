import numpy as np
import pytest


@pytest.fixture
def files(rng, tmp_path, monkeypatch):
    """A folder with logits.npy, targets.npy and documents.npy, where a command runs; the first two as arrays."""
    monkeypatch.chdir(tmp_path)
    logits, target = rng.normal(0, 2, (500, 11)).astype(np.float32), rng.integers(0, 11, 500)
    logits[np.arange(500), target] += 2
    target[10:20] = -100
    np.save("logits.npy", logits)
    np.save("targets.npy", target)
    np.save("documents.npy", np.arange(500) // 33)
    return logits, target
