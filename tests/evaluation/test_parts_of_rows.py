"""A part of the rows of every format is read as the same rows of the whole are."""

from pathlib import Path

import numpy as np
import pytest
from evaluation.formats import LIBRARY, read_all, write
from support import assert_same_bits

from crossent.evaluation import compare, evaluate
from crossent.evaluation._compare_summary import summary as summary_of_two
from crossent.evaluation._evaluate import summary
from crossent.evaluation._inputs import open_rows, open_targets
from crossent.evaluation._logits_file import LogProbRows, ScoredRows
from crossent.evaluation._paired_statistics import Divergences
from crossent.evaluation._token_statistics import TokenStatistics

DATA = Path(__file__).parents[1] / "data" / "kld"
NAMES = ("x.npy", "fortran.npy", "x.npz", "compressed.npz", "x.safetensors", "x.h5")


def check_parts(rows):
    whole = read_all(rows)
    for first, stop in ((0, rows.count), (0, 5), (5, 12), (7, 7), (11, rows.count), (rows.count, rows.count)):
        part = rows.part(first, stop)
        assert_same_bits(read_all(part), whole[first:stop])
        middle = part.part(part.count // 3, part.count)
        assert_same_bits(read_all(middle), whole[first:stop][part.count // 3 :])


def draw(shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(21, 6), (3, 7, 6)])
@pytest.mark.parametrize("name", NAMES)
def test_formats(tmp_path, name, shape):
    if Path(name).suffix in LIBRARY:
        pytest.importorskip(LIBRARY[Path(name).suffix])
    x = draw(shape)
    if name == "fortran.npy":
        x = np.asfortranarray(x.reshape(-1, 6))
    write(tmp_path / name, x)
    check_parts(open_rows(tmp_path / name))
    check_parts(open_rows(tmp_path / name, vocab_size=4))


def test_large_archive(tmp_path):
    """What is skipped is read by piece."""
    x = draw((1100, 2048))
    np.savez(tmp_path / "x.npz", x)
    assert_same_bits(read_all(open_rows(tmp_path / "x.npz").part(1095, 1099)), x[1095:1099])


def test_arrays_and_shards(tmp_path):
    x = draw((30, 6))
    check_parts(open_rows(x))
    np.save(tmp_path / "shard1.npy", x[:6])
    np.save(tmp_path / "shard2.npy", x[6:6])
    np.savez(tmp_path / "shard3.npz", x[6:20])
    np.save(tmp_path / "shard4.npy", x[20:])
    rows = open_rows(str(tmp_path / "shard*"), vocab_size=5)
    check_parts(rows)
    names = [Path(part.name.partition(":")[0]).name for part in rows.part(6, 21).parts]
    assert names == ["shard3.npz", "shard4.npy"]


def test_files_of_llama():
    rows = LogProbRows(DATA / "ctx16-base.kld")
    check_parts(rows)
    check_parts(ScoredRows(open_rows(draw((rows.n_chunk * rows.n_ctx, 3))), rows.n_ctx))


def test_statistics_of_parts_are_those_of_the_whole():
    """Read by themselves, and put together, they give the same figures."""
    x, target = draw((50, 12)), np.arange(50) % 12
    target[20:24] = -100
    options = {"ignore_index": -100, "temperature": 1.3, "skip_nan": True}
    x[30] = np.nan
    rows = open_rows(x)
    whole = TokenStatistics(rows, open_targets(target, 50), **options)
    for first, stop in ((0, 7), (7, 7), (7, 32), (32, 50)):
        part = TokenStatistics(rows.part(first, stop), target[first:stop], **options)
        for _ in part.read(3):
            pass
        whole.keep(first, stop - first, part.arrays())
    assert whole.done == 50
    found = summary(whole, None, 15).as_dict()
    assert found == evaluate(x, target, temperature=1.3, skip_nan=True).as_dict()


def test_comparisons_of_parts():
    base, other = DATA / "ctx16-base.kld", np.load(DATA / "ctx16-other_logits.npy")
    inputs, options = (open_rows(base), open_rows(other)), {"ignore_index": None, "skip_nan": False}
    target = open_targets(base, inputs[0].count)
    whole = Divergences(*inputs, target, **options)
    for first, stop in ((0, 20), (20, whole.kl.size)):
        part = Divergences(*(rows.part(first, stop) for rows in inputs), target[first:stop], **options)
        for _ in part.read(7):
            pass
        whole.keep(first, stop - first, part.arrays())
    assert str(summary_of_two(whole, None, None, 5)) == str(compare(base, other, worst=5))


def test_messages_count_from_the_start():
    x, target = draw((4, 3)), np.array([0, 1, 7, 2])
    options = {"ignore_index": None, "temperature": 1.0, "skip_nan": False, "start": 100}
    with pytest.raises(IndexError, match=r"target\[102\] is 7"):
        TokenStatistics(open_rows(x), target, **options)
    x[3] = np.nan
    with pytest.raises(ValueError, match=r"logits\[103\] has a NaN"):
        list(TokenStatistics(open_rows(x), target % 3, **options).read())
    with pytest.raises(ValueError, match=r"other\[3\] has a NaN"):
        compare(np.ones((4, 3), np.float32), x)
