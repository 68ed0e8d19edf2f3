"""Every figure of `compare` against its definition in extended precision; layouts, threads and memory."""

import math
import tracemalloc
from pathlib import Path

import exact_comparison as exact
import ml_dtypes
import numpy as np
import pytest
from test_evaluate import RELATIVE

import crossent as xe
from crossent.evaluation import _paired_statistics, compare, evaluate

DATA = Path(__file__).parents[1] / "data" / "kld"
# Promised of divergences, where they are not tiny; those of the rows below are not.
DIVERGENCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}


def draw(rng, rows=700, classes=37, dtype=np.float64):
    """Logits, others near them, and targets that both know something of; every ninth row is ignored."""
    target = rng.integers(0, classes, rows)
    base = rng.normal(0, 3, (rows, classes))
    base[np.arange(rows), target] += 3
    other = base + rng.normal(0, 0.3, base.shape)
    target[4::9] = -100
    return base.astype(dtype), other.astype(dtype), target


def check_divergences(result, base, other, blocks, tolerance):
    """Returns the largest relative difference of a mean."""
    worst = 0.0
    for name, x in exact.rows(base, other).items():
        x = x.astype(np.longdouble)
        assert abs(getattr(result, name) - x.mean()) <= tolerance * x.mean(), name
        worst = max(worst, float(abs(getattr(result, name) / x.mean() - 1)))
        # As in the tests of evaluate: numbers x (1 + e) have deviations that are off by e x and by the mean of that.
        error = 2 * tolerance * np.sqrt((x**2).mean()) / math.sqrt(x.size - 1) + 1e-14
        by_token, by_block = exact.errors(x, blocks)
        assert abs(result.standard_errors[name] - by_token) <= error, name
        together = np.unique(blocks, return_counts=True)[1].max()
        assert abs(result.block_standard_errors[name] - by_block) <= 2 * together * error, name
    return worst


def check(result, base, other, target, blocks, precision):
    """All figures of rows that count. Returns the largest relative difference of a mean that is not near 0."""
    worst = check_divergences(result, base, other, blocks, DIVERGENCE[precision])
    relative = RELATIVE[precision]
    numbers = exact.rows_with_target(base, other, target)
    values, by_token, by_block = exact.perplexities(numbers["base_loss"], numbers["other_loss"], blocks)
    for name in ("base_accuracy", "other_accuracy", "right_to_wrong", "wrong_to_right"):
        assert getattr(result, name) == pytest.approx(float(numbers[name].mean()), rel=1e-15)
        errors = exact.errors(numbers[name], blocks)
        found = result.standard_errors[name], result.block_standard_errors[name]
        assert found == pytest.approx([float(x) for x in errors], rel=1e-12)
    assert result.flips == {name: int(numbers[name].sum()) for name in ("right_to_wrong", "wrong_to_right")}
    # Losses are off by `relative` of themselves. They are added to at most twice their sum, multiplied by a perplexity,
    # and, in the errors, divided by an error of the ratio that is a fraction of theirs.
    loss = float(numbers["base_loss"].mean() + numbers["other_loss"].mean())
    scale = max(1.0, *(float(values[name]) for name in ("base_perplexity", "other_perplexity")))
    for name, value in values.items():
        assert abs(getattr(result, name) - value) <= 4 * relative * loss * scale + 1e-13, name
        if name not in ("log_perplexity_ratio", "perplexity_difference"):  # what is left of two numbers
            worst = max(worst, float(abs(getattr(result, name) / value - 1)))
    largest = float(max(numbers["base_loss"].max(), numbers["other_loss"].max()))
    for found, wanted in ((result.standard_errors, by_token), (result.block_standard_errors, by_block)):
        for name, value in wanted.items():
            assert abs(found[name] - value) <= 4 * relative * largest * scale + 1e-13, name
    # A probability is off by |log p| p relative, at most a third of it.
    delta_p = numbers["delta_p"]
    assert abs(result.delta_p - delta_p.mean()) <= relative
    assert abs(result.rms_delta_p - np.sqrt((delta_p**2).mean())) <= relative
    wanted = [float(error / 2 / result.rms_delta_p) for error in exact.errors(delta_p**2, blocks)]
    found = [errors["rms_delta_p"] for errors in (result.standard_errors, result.block_standard_errors)]
    assert found == pytest.approx(wanted, rel=1e-4)
    kl = exact.rows(base, other)["kl"]
    for name, level in exact.LEVELS.items():
        wanted = exact.quantile(kl, level)
        assert abs(result.kl_quantiles[name] - wanted) <= DIVERGENCE[precision] * wanted, name
        assert abs(result.delta_p_quantiles[name] - exact.quantile(delta_p, level)) <= relative, name
    return worst


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda d: d.__name__)
def test_every_figure(rng, dtype):
    base, other, target = draw(rng, dtype=dtype)
    result = compare(base, other, target, blocks=50)
    assert (result.tokens, result.ignored, result.nan_rows, result.blocks, result.classes) == (622, 78, 0, 14, 37)
    assert min(result.flips.values()) > 5
    counted = target != -100
    precision = np.dtype(dtype) if np.dtype(dtype) in RELATIVE else np.dtype(np.float32)
    rows = base[counted], other[counted], target[counted]
    worst = check(result, *rows, (np.arange(700) // 50)[counted], precision)
    assert worst < (1e-13 if dtype is np.float64 else 1e-6)


@pytest.mark.parametrize("name", ["other", "q8_0"])
def test_every_figure_of_a_language_model(name):
    base, other = (np.load(DATA / f"ctx128-{x}_logits.npy") for x in ("base", name))
    target = np.load(DATA / "ctx128-targets.npy")
    result = compare(base, other, target, blocks=63)
    assert check(result, base, other, target, np.arange(630) // 63, np.dtype(np.float32)) < 1e-6


def test_buckets(rng):
    base, other, target = draw(rng)
    result = compare(base, other, target, blocks=50)
    kl = exact.rows(base, other)["kl"]
    confidence = np.exp(exact.log_probs(base)).max(axis=1)
    position = np.arange(700) % 50
    counted = target != -100
    ids = np.arange(700) // 50
    members = [(b, (confidence > b.lower) & (confidence <= b.upper)) for b in result.kl_by_confidence]
    members += [(b, (position >= b.lower) & (position <= b.upper)) for b in result.kl_by_position]
    for bucket, member in members:
        x = kl[member & counted]
        assert (bucket.tokens, bucket.kl) == (x.size, pytest.approx(float(x.mean()), rel=1e-12))
        errors = [float(e) for e in exact.errors(x, ids[member & counted])]
        assert (bucket.standard_error, bucket.block_standard_error) == pytest.approx(errors, rel=1e-9)
    assert len(result.kl_by_position) == 16 and result.kl_by_position[0].lower == 0
    for buckets in (result.kl_by_confidence, result.kl_by_position):
        assert sum(bucket.tokens for bucket in buckets) == 622
    starts = [bucket.lower for bucket in result.kl_by_position]
    assert starts[1:] == [bucket.upper + 1 for bucket in result.kl_by_position[:-1]]
    assert compare(base, other, target, blocks=ids).kl_by_position is None
    assert [b.upper for b in compare(base, other, target, blocks=3).kl_by_position] == [0, 1, 2]


def test_worst_tokens(rng):
    base, other, target = draw(rng)
    result = compare(base, other, target, worst=7)
    kl = np.where(target == -100, -1, exact.rows(base, other)["kl"])
    order = np.argsort(-kl)[:7]
    p, q = np.exp(exact.log_probs(base)), np.exp(exact.log_probs(other))
    assert [token.position for token in result.worst] == order.tolist()
    for token, row in zip(result.worst, order, strict=True):
        assert (token.target, token.base_argmax, token.other_argmax) == (target[row], p[row].argmax(), q[row].argmax())
        found = token.kl, token.base_probability, token.other_probability, token.base_confidence, token.other_confidence
        wanted = kl[row], p[row, target[row]], q[row, target[row]], p[row].max(), q[row].max()
        assert found == pytest.approx([float(x) for x in wanted], rel=1e-12)
    assert compare(base, other, target, worst=0).worst == ()


def test_perplexities_are_those_of_evaluate(rng):
    base, other, target = draw(rng, dtype=np.float32)
    result = compare(base, other, target, blocks=50)
    for name, logits in (("base", base), ("other", other)):
        single = evaluate(logits, target, blocks=50)
        assert getattr(result, f"{name}_perplexity") == single.perplexity
        assert getattr(result, f"{name}_accuracy") == single.accuracy
        assert result.standard_errors[f"{name}_perplexity"] == single.standard_errors["perplexity"]
        assert result.block_standard_errors[f"{name}_perplexity"] == single.block_standard_errors["perplexity"]


def test_error_of_the_correlation_is_its_spread(rng):
    """Of 4,000 samples of 400 pairs: the spread of so many numbers is known within 1.1 %."""
    from crossent.evaluation._compare_summary import correlation_of

    found = []
    for _ in range(4000):
        x, z = rng.normal(size=(2, 400))
        found.append(correlation_of(x, 0.8 * x + 0.6 * z, None))
    spread = np.std([mean.value for mean in found])
    assert np.mean([mean.standard_error for mean in found]) == pytest.approx(spread, rel=0.05)
    assert np.mean([mean.value for mean in found]) == pytest.approx(0.8, abs=0.002)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda d: d.__name__)
def test_of_itself_all_is_exactly_0(rng, dtype):
    base, _, target = draw(rng, dtype=dtype)
    result = compare(base, base.copy(), target, blocks=50)
    for name in ("kl", "reverse_kl", "js", "delta_p", "rms_delta_p", "log_perplexity_ratio", "perplexity_difference"):
        assert getattr(result, name) == 0.0 == result.standard_errors[name] == result.block_standard_errors[name], name
    assert result.perplexity_ratio == result.top1_agreement == result.top5_agreement == result.top10_agreement == 1
    assert result.correlation == pytest.approx(1, rel=1e-15)
    assert {*result.kl_quantiles.values(), *result.delta_p_quantiles.values()} == {0.0}


def test_divergences_are_never_negative(rng):
    base, _, _ = draw(rng, rows=3000, dtype=np.float32)
    for size in (1e-7, 1e-6, 1e-5, 1e-3):
        other = base * (1 + size * rng.normal(size=base.shape)).astype(np.float32)
        assert compare(base, other).kl_quantiles["min"] >= 0


def test_without_targets(rng):
    base, other, _ = draw(rng)
    result = compare(base, other, blocks=50)
    check_divergences(result, base, other, np.arange(700) // 50, 1e-12)
    assert result.tokens == 700 and result.ignored == 0
    assert result.base_perplexity is result.delta_p is result.flips is result.delta_p_quantiles is None
    assert result.worst[0].target is result.worst[0].base_probability is None
    assert "perplexity" not in str(result) and "delta_p" not in str(result)
    assert set(result.standard_errors) == {*exact.rows(base, other)}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_same_bits_however_it_is_cut(rng, dtype, monkeypatch):
    base, other, target = draw(rng, rows=333, classes=101, dtype=dtype)
    other[17, 3] = np.nan
    arguments = {"blocks": 16, "skip_nan": True}
    whole = repr(compare(base, other, target, **arguments))
    for threads in (1, 2):
        with xe.num_threads(threads):
            for rows_at_a_time in (1, 7, 100, 333, 10_000):
                assert repr(compare(base, other, target, rows_at_a_time=rows_at_a_time, **arguments)) == whole
    for size in (1, 300, 1000, 30_000):
        monkeypatch.setattr(_paired_statistics, "COMPUTED_AT_ONCE", size)
        assert repr(compare(base, other, target, **arguments)) == whole


def test_layouts_files_and_padding_give_the_same(rng, tmp_path):
    base, other, target = draw(rng, dtype=np.float32)
    whole = repr(compare(base, other, target))
    for name, x in (("base-1", base[:300]), ("base-2", base[300:]), ("other", other), ("targets", target)):
        np.save(tmp_path / f"{name}.npy", x)
    assert repr(compare(tmp_path / "base-*.npy", tmp_path / "other.npy", tmp_path / "targets.npy")) == whole
    assert repr(compare([base[:10], base[10:]], np.asfortranarray(other), target.reshape(7, 100))) == whole
    wide = [np.concatenate([x, np.full((len(x), 3), 100, np.float32)], axis=1) for x in (base, other)]
    assert repr(compare(*wide, target, vocab_size=base.shape[1])) == whole


def test_dtypes_may_differ(rng):
    base, other, target = draw(rng)
    half = other.astype(np.float16)
    result = compare(base, half, target)
    counted = target != -100
    kl = exact.rows(base[counted], half[counted])["kl"]
    assert result.kl == pytest.approx(float(kl.mean()), rel=1e-5)


def test_memory_does_not_grow_with_the_classes(rng, tmp_path):
    """Of NumPy's memory at the peak: blocks of ten rows, and some numbers of each of the 2,000 rows."""
    target = rng.integers(0, 4000, 2000)
    for name in ("base.npy", "other.npy"):
        np.save(tmp_path / name, rng.normal(size=(2000, 4000)).astype(np.float32))  # 32 MB
    tracemalloc.start()
    try:
        compare(tmp_path / "base.npy", tmp_path / "other.npy", target, blocks=50, rows_at_a_time=10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * 4 * 10 * 4000 * 4 + 400 * 2000 + 300_000  # the last: modules that are imported
