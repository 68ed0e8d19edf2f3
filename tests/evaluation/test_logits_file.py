"""Files of llama-perplexity: decoded, against the logits that the tool had when it wrote them."""

from pathlib import Path

import numpy as np
import pytest
from evaluation.formats import kld_bytes, read_all
from support import assert_same_bits

from crossent.evaluation._inputs import open_rows, open_targets
from crossent.evaluation._logits_file import LOG_PROB_CUT, LogProbRows

DATA = Path(__file__).parents[1] / "data" / "kld"


def exact_log_probs(logits):
    x = logits.astype(np.float64)
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def test_codes_are_within_half_a_step_of_the_logits():
    rows = open_rows(DATA / "ctx128-base.kld")
    assert (rows.count, rows.classes, rows.n_ctx, rows.n_chunk) == (630, 600, 128, 10)
    stored = read_all(rows, 50)
    logits = np.load(DATA / "ctx128-base_logits.npy")
    exact = exact_log_probs(logits)
    cut = np.maximum(exact, exact.max(axis=1, keepdims=True) + LOG_PROB_CUT)
    largest = stored.max(axis=1, keepdims=True).astype(np.float64)
    step = (largest - stored.min(axis=1, keepdims=True)) / 65535
    # Half a step; what float32 makes of low, of scale * code and of their sum, each below 32 with an error of at most
    # 2^-20; and of the sum of 600 exponentials in the tool, 600 * 2^-24.
    assert np.abs(stored - cut).max() <= (step / 2 + 3 * 2.0**-20 + 600 * 2.0**-24).max()
    assert (np.abs(stored - cut) > step / 4).any()
    # Rows that are cut have classes at the floor, which are 16 below the largest.
    assert (exact < cut).any(axis=1).mean() > 0.8


def test_targets_are_those_of_the_tool():
    for name in ("ctx128", "ctx16"):
        wanted = np.load(DATA / f"{name}-targets.npy")
        rows = LogProbRows(DATA / f"{name}-base.kld")
        assert_same_bits(rows.targets, wanted.astype(np.int64))
        for given in (rows, DATA / f"{name}-base.kld"):
            assert_same_bits(open_targets(given, rows.count), wanted.astype(np.int64))


def test_the_divergence_of_the_tool():
    """The tool's own numbers for each row: sums in float32 over at most 600 classes, of terms that sum to about 1."""
    b = read_all(open_rows(DATA / "ctx16-base.kld")).astype(np.float64)
    q = exact_log_probs(np.load(DATA / "ctx16-other_logits.npy"))
    kld = np.where(b > LOG_PROB_CUT, np.exp(b) * (b - q), 0).sum(axis=1)
    theirs = np.load(DATA / "ctx16-rows.npy")[:, 0]
    assert np.abs(kld - theirs).max() < 600 * 2.0**-24
    assert kld.min() > 1e-3


def test_a_scale_of_0():
    stored = read_all(open_rows(DATA / "flat-base.kld"), 10)
    assert np.unique(stored).size == 1
    np.testing.assert_allclose(stored, -np.log(600), rtol=2.0**-22)


@pytest.mark.parametrize("n_ctx", [3, 4, 5, 6, 7])
@pytest.mark.parametrize("classes", [1, 2, 5, 6])
@pytest.mark.parametrize("suffix", [".kld", ".bin", ""])
def test_every_size(tmp_path, n_ctx, classes, suffix):
    """With and without the code that fills a row up, and whatever the file is called."""
    content, tokens, scale, low, codes = kld_bytes(n_ctx, classes)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    rows = open_rows(path)
    assert rows.is_stored_log_probs
    assert_same_bits(rows.tokens, tokens)
    wanted = [t[k + 1] for t in tokens for k in range(n_ctx // 2, n_ctx - 1)]
    assert rows.targets.tolist() == wanted
    assert_same_bits(read_all(rows, 2), scale[:, None] * codes.astype(np.float32) + low[:, None])


def test_shards(tmp_path):
    a, b = open_rows(DATA / "ctx16-base.kld"), open_rows(DATA / "flat-base.kld")
    both = open_rows([DATA / "ctx16-base.kld", DATA / "flat-base.kld"])
    assert both.is_stored_log_probs
    assert_same_bits(read_all(both, 30), np.concatenate([read_all(a), read_all(b)]))
    paths = [DATA / "ctx16-base.kld", DATA / "flat-base.kld"]
    assert_same_bits(open_targets(paths, both.count), np.concatenate([a.targets, b.targets]))
    with pytest.raises(ValueError, match="all or none to be stored log-probabilities"):
        open_rows([DATA / "ctx16-base.kld", DATA / "ctx16-other_logits.npy"])
