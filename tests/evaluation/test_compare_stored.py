"""`compare` of log-probabilities in 16 bits: how near the figures are to those of the logits that were stored."""

from pathlib import Path

import exact_comparison as exact
import numpy as np
import pytest
from evaluation.formats import read_all, stored_by_llama

from crossent.evaluation import compare
from crossent.evaluation._compare import matched
from crossent.evaluation._inputs import open_rows
from crossent.evaluation._logits_file import LogProbRows, ScoredRows
from crossent.evaluation._paired_statistics import Divergences

DATA = Path(__file__).parents[1] / "data" / "kld"
BASE = DATA / "ctx128-base.kld"
LOGITS = {name: DATA / f"ctx128-{name}_logits.npy" for name in ("base", "other", "q8_0")}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The file of each model, as the tool writes it."""
    folder = tmp_path_factory.mktemp("stored")
    tokens = LogProbRows(BASE).tokens
    for name, path in LOGITS.items():
        (folder / f"{name}.kld").write_bytes(stored_by_llama(np.load(path), tokens))
    return {name: folder / f"{name}.kld" for name in LOGITS}


def test_the_files_are_as_the_tool_writes_them(stored):
    assert stored["base"].read_bytes() == BASE.read_bytes()


def divergences(base, other):
    statistics = Divergences(*matched(open_rows(base), open_rows(other)), None, ignore_index=None, skip_nan=False)
    for _ in statistics.read():
        pass
    return {"kl": statistics.kl, "reverse_kl": statistics.reverse_kl, "js": statistics.js}


# The bounds are twice what is in docs/how-to/evaluation.md: relative error of the mean, largest error of a row.
@pytest.mark.parametrize("name, relative, of_a_row", [("other", 7e-5, 1.4e-4), ("q8_0", 5e-5, 9e-6)])
@pytest.mark.parametrize("which", ["base", "other", "both"])
def test_near_the_divergence_of_the_logits(stored, name, relative, of_a_row, which):
    logits = {side: np.load(LOGITS[side]) for side in ("base", name)}
    found = divergences(stored["base"] if which != "other" else LOGITS["base"],
                        stored[name] if which != "base" else LOGITS[name])
    wanted = exact.rows(logits["base"], logits[name])
    for kind, x in found.items():
        assert x.min() > 0
        assert abs(x.mean(dtype=np.float64) / wanted[kind].mean() - 1) < relative, kind
        assert np.abs(x - wanted[kind]).max() < of_a_row, kind


def test_of_itself(stored):
    """Exactly 0; against the logits that it was made of, what half a step of a code makes, squared."""
    for found in divergences(BASE, BASE).values():
        assert not found.any()
    step = 16 / 65535
    for pair in ((BASE, LOGITS["base"]), (LOGITS["base"], BASE)):
        for found in divergences(*pair).values():
            assert found.min() >= 0 and 0 < found.max() < (step / 2) ** 2 / 2


def test_what_the_base_clips_and_the_other_likes_counts(tmp_path):
    """A class that the base has at most e^-16 of, and the other most of: the divergence is that of e^-16."""
    x = np.array([[20.0, 0.0, 0.0, 3.0]] * 2, np.float32)
    q = np.array([[0.0, 9.0, 0.0, 0.0]] * 2, np.float32)
    (tmp_path / "base.kld").write_bytes(stored_by_llama(x, np.zeros((1, 5), int)))
    found = divergences(tmp_path / "base.kld", q)
    clipped = np.maximum(x, x.max() - 16)
    wanted = exact.rows(clipped, q)
    for kind in found:  # the two classes that the base clips are as in the other where that is less
        assert found[kind] == pytest.approx(wanted[kind].astype(float), rel=1e-4)
        assert (found[kind] <= exact.rows(x, q)[kind]).all()


def test_what_both_clip_is_left_out(tmp_path):
    """Of 100,000 classes nearly all are clipped: as stored they are 1 % of the probability, in truth nothing."""
    logits = np.zeros((2, 100_000), np.float32)
    pair = [logits + np.pad(np.array(x, np.float32), (0, 99_997)) for x in ([40, 40, 39], [40, 39.5, 39.5])]
    for name, x in zip("ab", pair, strict=True):
        (tmp_path / f"{name}.kld").write_bytes(stored_by_llama(x, np.zeros((1, 5), int)))
    found, wanted = divergences(tmp_path / "a.kld", tmp_path / "b.kld"), exact.rows(*pair)
    for kind in found:  # half a step is 1.2e-4, and a divergence of 0.1 changes by less than that
        assert found[kind] == pytest.approx(wanted[kind].astype(float), rel=2e-3)


def test_log_probabilities_are_as_stored():
    result = compare(BASE, LOGITS["q8_0"])
    rows = open_rows(BASE)
    b = read_all(rows, 100).astype(np.float64)[np.arange(rows.count), rows.targets]
    q = exact.log_probs(np.load(LOGITS["q8_0"]))[np.arange(rows.count), rows.targets]
    assert np.log(result.base_perplexity) == pytest.approx(-b.mean(), rel=1e-6)
    assert result.delta_p == pytest.approx(float((np.exp(q) - np.exp(b)).mean()), abs=1e-7)


def test_stored_mass(stored):
    result = compare(BASE, LOGITS["other"])
    exact_mass = np.exp(read_all(open_rows(BASE), 100).astype(np.float64)).sum(axis=1)
    found = result.base_mass
    assert found == pytest.approx((exact_mass.mean(), exact_mass.min(), exact_mass.max()), abs=2e-6)
    assert result.other_mass is None and compare(LOGITS["base"], stored["other"]).other_mass is not None
    assert "base_mass (0.99995" in str(result)


def test_targets_are_in_the_file():
    assert repr(compare(BASE, LOGITS["other"])) == repr(compare(BASE, LOGITS["other"], DATA / "ctx128-targets.npy"))
    assert compare(LOGITS["base"], BASE).base_perplexity is None


def all_positions(logits, n_ctx):
    """Rows of every position of each chunk; where the tool has none, numbers that would be seen."""
    scored = n_ctx - 1 - n_ctx // 2
    rows = np.full((len(logits) // scored, n_ctx, logits.shape[1]), np.nan, logits.dtype)
    rows[:, n_ctx // 2:-1] = logits.reshape(-1, scored, logits.shape[1])
    return rows


@pytest.mark.parametrize("size", [1, 62, 63, 64, 700])
def test_the_second_half_of_each_window_is_found(size):
    logits = np.load(LOGITS["other"])
    rows = ScoredRows(open_rows(all_positions(logits, 128)), 128)
    assert np.array_equal(read_all(rows, size), logits)


@pytest.mark.parametrize("n_ctx", [3, 4, 5, 8])
def test_windows_of_every_length(rng, n_ctx):
    logits = rng.normal(size=(4 * (n_ctx - 1 - n_ctx // 2), 3))
    rows = ScoredRows(open_rows(all_positions(logits, n_ctx)), n_ctx)
    for size in range(1, 6):
        assert np.array_equal(read_all(rows, size), logits)


@pytest.mark.parametrize("llama", [False, True])
def test_rows_of_all_positions(llama):
    logits = np.load(LOGITS["other"])
    whole = repr(compare(BASE, logits, llama=llama))
    assert repr(compare(BASE, all_positions(logits, 128), llama=llama)) == whole
