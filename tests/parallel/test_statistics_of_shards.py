"""Statistics of rows whose classes are in shards: in steps and over ranks, they have the bits of one process."""

import itertools
import pickle

import numpy as np
import pytest
from parallel.shards import BLOCK, aligned_cuts
from parallel.statistics_calls import Rows, assert_same_statistics
from parallel.threads import on_threads, outcomes
from support import assert_same_bits

import crossent as xe
from crossent import parallel
from crossent.parallel import ShardState, StatisticsState


@pytest.mark.parametrize("seed", range(80))
def test_aligned_shards_have_the_bits_of_one_process(seed):
    rng = np.random.default_rng(seed)
    rows = Rows(rng)
    wanted = rows.expected()
    whole, _ = rows.in_steps([0, rows.classes])
    for parts in range(1, 8):
        statistics, found = rows.in_steps(aligned_cuts(rng, rows.classes, parts))
        assert statistics.exact
        assert_same_statistics(found, wanted)
        # The rounding errors of the sums, too, of which a result rarely depends.
        assert_same_bits(statistics.sums.total(), whole.sums.total())


@pytest.mark.parametrize("seed", range(12))
def test_every_rank_has_the_bits_of_one_process(seed):
    rng = np.random.default_rng(100 + seed)
    rows = Rows(rng)
    wanted, ranks = rows.expected(), int(rng.integers(1, 6))
    cuts = aligned_cuts(rng, rows.classes, ranks)

    def work(comm):
        places = {"start": cuts[comm.rank], "n_classes": rows.classes} if seed % 2 else {}
        return rows.over_ranks(comm, cuts, **places), [name for name, _ in comm.sent]

    for found, sent in on_threads(ranks, work):
        assert_same_statistics(found, wanted)
        assert sent == ["allgather"] * (2 if seed % 2 else 3)


@pytest.mark.parametrize("seed", range(12))
def test_parts_are_merged_in_any_order_and_grouping(seed):
    rng = np.random.default_rng(200 + seed)
    rows = Rows(rng, 9000)
    cuts = aligned_cuts(rng, rows.classes, 6)
    states = rows.states(cuts)
    parts = [StatisticsState.from_bytes(pickle.loads(pickle.dumps(p)).to_bytes())
             for p in rows.parts(states, cuts)]
    others = [*parts[:2], *parts[4:], parallel.merge(*parts[2:4])]
    rng.shuffle(others)
    merged = parallel.merge(*others)
    assert_same_statistics(merged.statistics(states, rows.target), rows.expected())


@pytest.mark.parametrize("seed", range(40))
def test_shards_that_are_not_aligned_are_as_accurate(seed):
    """Both are within 4 ULP of the exact values: within 8 of each other. Of logsumexp within 2, at the larger of the
    maximum over T and the logarithm of the sum: within 4. Counts and classes are the same."""
    rng = np.random.default_rng(300 + seed)
    rows = Rows(rng, int(rng.choice([5, 1500, 5000])))
    wanted = rows.expected()
    cuts = sorted([0, rows.classes, *rng.integers(1, rows.classes, 3).tolist()])
    statistics, found = rows.in_steps(cuts)
    assert not statistics.exact
    for name in ("rank", "argmax", "top_k"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name))
    eps = np.finfo(wanted.entropy.dtype).eps
    for name in ("log_prob", "max_log_prob", "entropy", "sum_of_squares", "top_k_log_probs"):
        if getattr(wanted, name) is not None:
            np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=8 * eps, atol=0)
    logsumexp, log_total = np.float64(wanted.logsumexp), -np.float64(wanted.max_log_prob)
    size = np.maximum(np.abs(logsumexp - log_total), log_total)
    known = ~np.isnan(logsumexp)
    assert np.array_equal(known, ~np.isnan(found.logsumexp))
    assert np.all((np.abs(found.logsumexp - logsumexp) <= 4 * eps * size)[known])


@pytest.mark.parametrize("value", [0.0, -np.inf])
def test_of_equal_logits_the_lower_class_comes_first(value):
    """Also if they are in different shards, and if the target's probability is 0."""
    x = np.full((4, 3 * BLOCK + 7), value, np.float32)
    x[:, 2 * BLOCK + 5] = x[:, 3 * BLOCK + 1] = 1
    cuts = [0, BLOCK, 2 * BLOCK, 3 * BLOCK, 3 * BLOCK + 7]
    target = [0, BLOCK + 3, 3 * BLOCK + 1, 3 * BLOCK + 6]
    s = on_threads(4, lambda comm: parallel.row_statistics(
        x[:, cuts[comm.rank] : cuts[comm.rank + 1]], target, comm, top_k=4))[2]
    assert s.argmax.tolist() == [2 * BLOCK + 5] * 4
    assert s.rank.tolist() == [2, BLOCK + 5, 1, 3 * BLOCK + 6]
    assert s.top_k.tolist() == [[2 * BLOCK + 5, 3 * BLOCK + 1, 0, 1]] * 4


def test_states_with_other_numbers_serve_as_well(rng):
    """Those of a loss with class probabilities and smoothing, say, which need not be made again."""
    x, q = rng.normal(0, 3, (2, 7, 3000))
    q = np.exp(q) / np.exp(q).sum(1, keepdims=True)
    cuts = [0, 1024, 3000]
    options = {"n_classes": 3000, "label_smoothing": 0.1, "weight": rng.random(3000)}
    ranges = list(itertools.pairwise(cuts))
    states = parallel.merge(*(ShardState.of_shard(x[:, a:b], q[:, a:b], a, **options) for a, b in ranges))
    parts = [StatisticsState.of_shard(x[:, a:b], states, start=a, top_k=2) for a, b in ranges]
    found = parallel.merge(*parts).statistics(states)
    assert_same_statistics(found, xe.row_statistics(x, top_k=2))


@pytest.mark.parametrize(("dtype", "of_branch"), [(np.float32, 32), (np.float64, 48)])
@pytest.mark.parametrize("top_k", [0, 10])
def test_bytes_on_the_wire(dtype, of_branch, top_k):
    """Of 8 blocks of classes on each of 2 ranks, which are one branch."""
    x, target, rows = np.zeros((50, 16 * BLOCK), dtype), np.zeros(50, int), 50
    places = {"n_classes": 16 * BLOCK, "top_k": top_k}
    states, statistics = on_threads(2, lambda comm: (parallel.row_statistics(
        x[:, : 8 * BLOCK], target, comm, start=8 * BLOCK * comm.rank, **places), comm.sent)[1])[1]
    for (name, size), numbers in ((states, of_branch + 8), (statistics, 32 + 8 + 16 * max(1, top_k))):
        assert name == "allgather"
        assert 0 < size - rows * numbers < 512  # what is sent of the call


LOGITS = np.zeros((3, 3000))
TARGET = [5, 2500, -100]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"target": [5, 3000, -100]}, IndexError, r"target\[1\] is 3000, outside \[0, 3000\)"),
        ({"target": [5.0, 1.0, 2.0]}, TypeError, "target has dtype float64: expected class indices"),
        ({"target": [5, 1]}, ValueError, r"target has shape \(2,\): expected \(3,\)"),
        ({"target": [5, 1, 2]}, ValueError, "different targets"),
        ({"target": None}, ValueError, "target is 'indices' for one and None for another"),
        ({"logits": LOGITS.astype(complex)}, TypeError, "logits has dtype complex128"),
        ({"logits": LOGITS.astype("f4")}, ValueError, "dtype is 'float64' for one and 'float32' for another"),
        ({"logits": LOGITS[:2]}, ValueError, r"target has shape \(3,\): expected \(2,\)"),
        ({"axis": 2}, np.exceptions.AxisError, "axis 2 is out of bounds"),
        ({"temperature": 0.0}, ValueError, "temperature is 0.0: expected"),
        ({"temperature": 2.0}, ValueError, "temperature is 1.0 for one and 2.0 for another"),
        ({"ignore_index": 2500}, IndexError, r"target\[2\] is -100, outside \[0, 3000\) and not ignore_index \(2500\)"),
        ({"top_k": 3001}, ValueError, r"top_k is 3001: expected an integer in \[0, 3000\]"),
        ({"top_k": 1.5}, TypeError, "top_k is 1.5"),
        ({"top_k": 2}, ValueError, r"has the options \[2\]: expected \[0\]"),
        ({"start": 1023}, ValueError, "the classes from 1023 to 1024 are in two states"),
        ({"start": -1}, ValueError, "start is -1"),
    ],
)
def test_an_error_on_one_rank_is_one_on_every_rank(change, error, text):
    cuts = [0, 1024, 1024, 3000]

    def work(comm):
        given = {"logits": LOGITS, "target": TARGET, "start": cuts[comm.rank]}
        if comm.rank == 2:
            given |= change
        logits, target = given.pop("logits")[:, cuts[comm.rank] : cuts[comm.rank + 1]], given.pop("target")
        return parallel.row_statistics(logits, target, comm, n_classes=3000, **given)

    for outcome in outcomes(3, work):
        assert isinstance(outcome, error)
        with pytest.raises(error, match=text):
            raise outcome


def test_bad_steps():
    ranges = [(0, 1024), (1024, 2048), (2048, 3000)]
    states = parallel.merge(*(ShardState.of_shard(LOGITS[:, a:b], TARGET, a, n_classes=3000) for a, b in ranges))
    first, second, third = (StatisticsState.of_shard(LOGITS[:, a:b], states, TARGET, a) for a, b in ranges)
    merge = parallel.merge
    without = parallel.merge(*(ShardState.of_shard(LOGITS[:, a:b], None, a, n_classes=3000) for a, b in ranges))
    for call, text in [
        (lambda: merge(first, third), "the classes from 1024 to 2048 are in no state"),
        (lambda: merge(first, second, second), "the classes from 1024 to 2048 are in two states"),
        (lambda: merge(first, StatisticsState.of_shard(LOGITS[:, 1024:], states, TARGET, 1024, top_k=2)),
         "top_k is 0 for one and 2 for another"),
        (lambda: merge(first, StatisticsState.of_shard(LOGITS[:, 1024:], without, None, 1024)),
         "target is 'indices' for one"),
        (lambda: merge(first, second).statistics(states, TARGET), "the classes from 2048 to 3000 are in no state"),
        (lambda: second.statistics(states, TARGET), "the classes from 0 to 1024 are in no state"),
        (lambda: merge(first, second, third).statistics(without), "target is None for one"),
        (lambda: merge(first, second, third).statistics(states), "target: expected class indices"),
        (lambda: merge(first, second, third).statistics(states, [5, 1, 1]), "target or weight is not what"),
        (lambda: StatisticsState.of_shard(LOGITS[:, :5], without, TARGET), "target: expected None"),
        (lambda: StatisticsState.of_shard(LOGITS[:2, :5], states, TARGET), "expected .*as the states"),
        (lambda: StatisticsState.of_shard(LOGITS[:, :5], states, TARGET, 2999), "expected classes within"),
        (lambda: StatisticsState.of_shard(LOGITS[:, :5], states, TARGET, top_k=-1), "top_k is -1"),
        (lambda: StatisticsState.of_shard(
            LOGITS[:, :5], ShardState.of_shard(LOGITS[:, :5], TARGET, n_classes=3000), TARGET),
         "the classes from 5 to 3000 are in no state"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()
    data = first.to_bytes()
    for bad in (b"", data[:-8], data[:-1], data + bytes(8), states.to_bytes(), data.replace(b'"ends"', b'"end"')):
        with pytest.raises(ValueError, match=r"not a result of StatisticsState.to_bytes"):
            StatisticsState.from_bytes(bad)
