"""`compare` with `llama`: what llama-perplexity printed, number by number."""

import re
from pathlib import Path

import numpy as np
import pytest
from evaluation.formats import stored_by_llama

from crossent.evaluation import LlamaComparison, compare
from crossent.evaluation._inputs import open_rows
from crossent.evaluation._llama import LlamaStatistics, _quantiles, _running
from crossent.evaluation._statistics import quantile

DATA = Path(__file__).parents[1] / "data" / "kld"
NUMBER = re.compile(r"-?(?:nan|\d+\.\d+)")
FLAT = np.zeros((105, 600), np.float32)
# The base and the other of each table, and how many numbers it has.
CASES = {
    "ctx128-other-table": ("ctx128-base.kld", "ctx128-other_logits.npy", 143),
    "ctx128-q8_0-table": ("ctx128-base.kld", "ctx128-q8_0_logits.npy", 143),
    "ctx128-base-table": ("ctx128-base.kld", "ctx128-base_logits.npy", 143),
    "ctx16-table": ("ctx16-base.kld", "ctx16-other_logits.npy", 193),
    "flat-table": ("flat-base.kld", "ctx16-other_logits.npy", 193),
    "flat-self-table": ("flat-base.kld", FLAT, 193),
}
# What the tool has from the rounding of float32 squares, where nothing varies: lines, and which of their numbers.
UNCERTAINTIES = {1, 3, 5, 7, 9}
NOISE = {
    "ctx128-base-table": [(r" *\d+   ", {3}), (r"Mean (ln\()?PPL\(Q\)[/-]PPL\(base\)", {1})],
    "flat-table": [(r"Mean (PPL\(Q\)-)?PPL\(base\)", {1})],
    "flat-self-table": [("", UNCERTAINTIES), (r"Cor\(", {0})],
}


def is_noise(table, line, which):
    return any(re.match(pattern, line) and which in numbers for pattern, numbers in NOISE.get(table, ()))


def layout(line):
    """The line without its numbers, which may be of different length: the title, and what is between them."""
    title, colon, rest = line.rpartition(":")
    return title + colon + "".join(NUMBER.sub("", rest).split())


def numbers(line):
    """Without those in its title."""
    return NUMBER.findall(line.rpartition(":")[2])


def tables(name):
    """The lines of the tool from the head of the columns on, and ours."""
    base, other, _ = CASES[name]
    text = (DATA / f"{name}.txt").read_text(encoding="utf-8")
    ours = compare(DATA / base, DATA / other if isinstance(other, str) else other, llama=True)
    return text[text.index("chunk"):].rstrip().split("\n"), str(ours).split("\n")


@pytest.mark.parametrize("name", CASES)
def test_every_number(name):
    """Theirs are sums in float32: all may differ by 1 in the last digit, and some do."""
    theirs, ours = tables(name)
    compared = []
    for line, own in zip(theirs, ours, strict=True):
        assert len(line) == len(own) and layout(line) == layout(own)
        for which, (a, b) in enumerate(zip(numbers(line), numbers(own), strict=True)):
            compared.append(is_noise(name, line, which))
            digits = len(a.partition(".")[2])
            assert compared[-1] or abs(round((float(a) - float(b)) * 10**digits)) <= 1, (line, a, b)
    assert len(compared) == CASES[name][2]
    assert sum(compared) == {"ctx128-base-table": 13, "flat-table": 2, "flat-self-table": 85}.get(name, 0)


@pytest.mark.parametrize("table, base, other", [
    ("ctx128-other", "ctx128", "ctx128-other_logits.npy"),
    ("ctx128-q8_0", "ctx128", "ctx128-q8_0_logits.npy"),
    ("ctx128-base", "ctx128", "ctx128-base_logits.npy"),
    ("ctx16", "ctx16", "ctx16-other_logits.npy"),
    ("flat", "flat", "ctx16-other_logits.npy"),
])
def test_every_row(table, base, other):
    """Sums in float32, theirs over at most 600 classes, of terms that sum to about 1."""
    rows, others = open_rows(DATA / f"{base}-base.kld"), open_rows(DATA / other)
    statistics = LlamaStatistics(rows, others, rows.targets, ignore_index=None, skip_nan=False)
    for _ in statistics.read():
        pass
    theirs = np.load(DATA / f"{table}-rows.npy")
    assert np.abs(statistics.kl - theirs[:, 0]).max() < 600 * 2.0**-24
    delta_p = np.exp(statistics.other.log_prob) - np.exp(statistics.base.log_prob)
    assert np.abs(delta_p - theirs[:, 1]).max() < 600 * 2.0**-24


def test_the_divergence_may_be_negative():
    """As the tool's: the stored rows sum to no more than roughly 1. The test of compare has 0 and above."""
    result = compare(DATA / "ctx128-base.kld", DATA / "ctx128-base_logits.npy", llama=True)
    assert isinstance(result, LlamaComparison)
    assert result.kl_quantiles["min"] < -4e-5


def test_attributes_and_json():
    result = compare(DATA / "ctx128-base.kld", DATA / "ctx128-other_logits.npy", llama=True)
    found = result.as_dict()
    assert found["tokens"] == 630 and len(found["chunks"]) == 10
    assert found["chunks"][-1]["kl"]["value"] == result.chunks[-1].kl.value == pytest.approx(0.032848, abs=5e-7)


def test_few_rows_have_no_uncertainty(rng):
    """Not even where the losses are opposite, and their covariance would make an error of the ratio."""
    x = rng.random(9)
    found = _running(x, 1 - x, x, x, np.ones(9))
    assert {figure.error for figure in found if isinstance(figure, tuple)} == {0.0} and found.correlation == 0


def test_positions_of_quantiles_are_float32():
    ordered = np.arange(1_000_003.0)
    position = np.float32(0.999) * np.float32(1_000_002)
    found = _quantiles(ordered)
    assert found["99.9 %"] == float(position) != quantile(ordered, 0.999)
    assert found["median"] == 500_001 and quantile(ordered, 0.999) == pytest.approx(0.999 * 1_000_002, rel=1e-15)


def test_short_texts_have_no_closing_tables(tmp_path):
    logits = np.load(DATA / "ctx16-other_logits.npy")[:98]
    rng = np.random.default_rng(0)
    (tmp_path / "x.kld").write_bytes(stored_by_llama(logits, rng.integers(0, 600, (14, 16))))
    text = str(compare(tmp_path / "x.kld", logits, llama=True))
    assert len(text.split("\n")) == 15 and "=====" not in text


def test_rows_that_are_left_out():
    targets = np.load(DATA / "ctx16-targets.npy").copy()
    base, other = DATA / "ctx16-base.kld", np.load(DATA / "ctx16-other_logits.npy")
    targets[:7] = -100
    other[10] = np.nan
    result = compare(base, other, targets, llama=True, skip_nan=True)
    assert result.tokens == 97 and len(result.chunks) == 14
