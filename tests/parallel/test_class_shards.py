"""States of shards of the classes: the loss and the gradient have the bits of one process."""

import itertools
import pickle
from fractions import Fraction

import numpy as np
import pytest
from parallel.shards import BLOCK, aligned_cuts, random_case
from support import assert_same_bits

import crossent as xe
from crossent import parallel
from crossent.parallel import ShardState
from crossent.parallel._state import Node, merge_siblings, root, subtrees


def states_and_gradient(case, cuts, through=lambda states: states):
    ranges = list(itertools.pairwise(cuts))
    parts = [
        ShardState.of_shard(*case.shard(begin, end), begin, n_classes=case.classes, axis=case.axis, **case.options)
        for begin, end in ranges
    ]
    states = parallel.merge(*(through(part) for part in parts))
    weight = {"weight": case.options.get("weight")}
    gradients = [
        states.gradient(logits, target, begin, axis=case.axis, **weight, **case.again, **case.reduction)
        for (logits, target), (begin, _) in ((case.shard(*r), r) for r in ranges)
    ]
    indices = case.target if case.target.dtype.kind in "iu" else None
    return states, states.loss(indices, **weight, **case.reduction), np.concatenate(gradients, case.axis)


@pytest.mark.parametrize("seed", range(60))
def test_aligned_shards_have_the_bits_of_one_process(seed):
    rng = np.random.default_rng(seed)
    case = random_case(rng)
    wanted, wanted_gradient = case.expected()
    for parts in (1, 2, 3, 7):
        states, loss, gradient = states_and_gradient(case, aligned_cuts(rng, case.classes, parts))
        assert states.exact
        assert_same_bits(loss, wanted)
        assert_same_bits(gradient, wanted_gradient)


def at_odd_addresses(value):
    """What arrives where the arrays of a pickle are sent beside it."""
    buffers = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[memoryview(b"odd" + buffer.raw())[3:] for buffer in buffers])


@pytest.mark.parametrize("seed", range(4))
def test_states_at_odd_addresses(seed):
    rng = np.random.default_rng(500 + seed)
    case = random_case(rng, classes=5000)
    wanted, wanted_gradient = case.expected()
    _, loss, gradient = states_and_gradient(case, aligned_cuts(rng, case.classes, 3), at_odd_addresses)
    assert_same_bits(loss, wanted)
    assert_same_bits(gradient, wanted_gradient)


@pytest.mark.parametrize("seed", range(20))
def test_states_are_merged_in_any_order_and_grouping(seed):
    rng = np.random.default_rng(1000 + seed)
    case = random_case(rng, classes=9000)
    wanted, _ = case.expected()
    cuts = aligned_cuts(rng, case.classes, 6)
    parts = [ShardState.of_shard(*case.shard(begin, end), begin, n_classes=case.classes, axis=case.axis, **case.options)
             for begin, end in itertools.pairwise(cuts)]
    middle = parallel.merge(*parts[2:4])
    others = [*parts[:2], *parts[4:], middle]
    rng.shuffle(others)
    through_bytes = [ShardState.from_bytes(p.to_bytes()) for p in others]
    states = parallel.merge(*(pickle.loads(pickle.dumps(p)) for p in through_bytes))
    indices = case.target if case.target.dtype.kind in "iu" else None
    loss = states.loss(indices, weight=case.options.get("weight"), **case.reduction)
    assert_same_bits(loss, wanted)


@pytest.mark.parametrize("seed", range(30))
def test_shards_that_are_not_aligned_are_as_accurate(seed):
    """Both are within 4 ULP of the exact value (P1), at the larger term of a gradient: within 8 of each other."""
    rng = np.random.default_rng(2000 + seed)
    case = random_case(rng, classes=int(rng.choice([5, 1500, 5000])))
    case.reduction["reduction"] = "none"
    case.reduction["z_loss"] = 0.0
    cuts = sorted([0, case.classes, *rng.integers(0, case.classes, 3).tolist()])
    states, loss, gradient = states_and_gradient(case, cuts)
    wanted, wanted_gradient = case.expected()
    assert not states.exact
    eps = np.finfo(loss.dtype).eps
    np.testing.assert_allclose(loss, wanted, rtol=8 * eps, atol=0)
    probabilities = xe.softmax(case.logits / np.asarray(case.options["temperature"], case.logits.dtype), case.axis)
    assert not np.any(np.isnan(gradient) != np.isnan(wanted_gradient))
    # A p of a class: the row's A is at most the sum of its weights, or of all |gradient| of the row where it is larger.
    size = np.abs(wanted_gradient) + np.nan_to_num(probabilities) * np.nansum(
        np.abs(wanted_gradient.astype(np.float64)), axis=case.axis, keepdims=True)
    bound = 8 * np.finfo(gradient.dtype).eps * size.astype(np.float64) + np.finfo(gradient.dtype).smallest_subnormal
    both = np.isfinite(wanted_gradient)
    difference = np.abs(gradient[both].astype(np.float64) - wanted_gradient[both].astype(np.float64))
    assert np.all(difference <= bound[both])


def test_a_confident_row_keeps_its_digits():
    """True class far above all others, in another shard: 1 - p is never a difference."""
    logits = np.zeros((1, 4096), np.float32)
    logits[0, 3000] = 40
    case_options = {"n_classes": 4096}
    parts = [ShardState.of_shard(logits[:, i : i + 1024], [3000], i, **case_options) for i in range(0, 4096, 1024)]
    loss = parallel.merge(*parts).loss([3000])
    assert loss == np.float32(np.log1p(4095 * np.exp(-40.0)))


def test_smoothing_is_over_all_classes():
    """Megatron-LM smooths over the classes of the rank alone (Megatron-LM#737), which is another loss on each rank."""
    rng = np.random.default_rng(3)
    classes, ranks, smoothing = 4096, 4, 0.2
    logits, target = rng.normal(0, 4, (5, classes)), rng.integers(0, classes, 5)
    logits[:, :1024] += 2  # frequent tokens come first in most vocabularies
    exact = logits - logits.max(1, keepdims=True)
    log_p = exact - np.log(np.exp(exact).sum(1, keepdims=True))
    nll = -log_p[np.arange(5), target]
    oracle = np.mean((1 - smoothing) * nll - smoothing * log_p.mean(1))
    parts = [ShardState.of_shard(x, target, start, n_classes=classes, label_smoothing=smoothing)
             for start, x in zip(range(0, classes, 1024), np.split(logits, ranks, axis=1), strict=True)]
    np.testing.assert_allclose(parallel.merge(*parts).loss(target), oracle, rtol=1e-13)
    # Its formula, on the first rank: alpha K/(K - 1) with K and the mean of log p of the rank.
    of_rank = smoothing * 1024 / 1023
    megatron = np.mean((1 - of_rank) * nll - of_rank * log_p[:, :1024].mean(1))
    assert abs(megatron / oracle - 1) > 1e-4


def test_the_tree_of_every_split():
    """Any split of up to 24 blocks: each block once, in order, along the tree of all of them."""
    def tree(begin, end):
        if end - begin == 1:
            return begin
        half = 1 << (end - begin - 1).bit_length() - 1
        return tree(begin, begin + half), tree(begin + half, end)

    for blocks in range(1, 25):
        for first in range(blocks + 1):
            for second in range(first, blocks + 1):
                nodes = [Node(i, j, tree(i, j)) for begin, end in ((0, first), (first, second), (second, blocks))
                         for i, j in subtrees(begin, end)]
                assert root(merge_siblings(nodes, lambda a, b: (a, b)), lambda a, b: (a, b)) == tree(0, blocks)


@pytest.mark.parametrize("classes", [1, 1000, 1024, 5000, 128_256])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 200])
def test_shard_range(classes, size):
    ranges = [parallel.shard_range(classes, rank, size) for rank in range(size)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == classes
    assert all(stop == start for (_, stop), (start, _) in itertools.pairwise(ranges))
    assert all(start % BLOCK == 0 or start == stop for start, stop in ranges)
    counts = [Fraction(-(-stop // BLOCK) - start // BLOCK) for start, stop in ranges]
    assert max(counts) - min(counts) <= 1 or classes < BLOCK * size


LOGITS = np.zeros((2, 3000))
SHARDS = [ShardState.of_shard(LOGITS[:, i : min(i + 1024, 3000)], [1, 2], i, n_classes=3000) for i in (0, 1024, 2048)]


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ([], "no states were given"),
        ([SHARDS[0], SHARDS[2]], "the classes from 1024 to 2048 are in no state"),
        ([SHARDS[0], SHARDS[1], SHARDS[1]], "the classes from 1024 to 2048 are in two states"),
        ([SHARDS[0], ShardState.of_shard(LOGITS[:, 1024:], [1, 3], 1024, n_classes=3000)], "different targets"),
        ([SHARDS[0], ShardState.of_shard(LOGITS[:, 1024:], [1, 2], 1024, n_classes=3000, temperature=2.0)],
         "temperature is 1.0 for one and 2.0 for another"),
        ([SHARDS[0], ShardState.of_shard(LOGITS[:, 1024:], [1, 2], 1024, n_classes=3001)], "n_classes is 3000"),
        ([SHARDS[0], ShardState.of_shard(LOGITS[:, 1024:].astype("f4"), [1, 2], 1024, n_classes=3000)],
         "dtype is 'float64' for one and 'float32' for another"),
    ],
)
def test_states_that_do_not_belong_together(states, text):
    with pytest.raises(ValueError, match=text):
        parallel.merge(*states)


ROW_SUMS = parallel.RowSums.of_rows(xe.nll_loss, LOGITS, [1, 2])


@pytest.mark.parametrize("states", [[1], [SHARDS[0], 1], [SHARDS[0], ROW_SUMS]])
def test_values_of_other_types(states):
    with pytest.raises(TypeError, match="expected states of one type"):
        parallel.merge(*states)


def test_bad_steps():
    states = parallel.merge(*SHARDS)
    for call, text in [
        (lambda: SHARDS[1].loss([1, 2]), "the classes from 0 to 1024 are in no state"),
        (lambda: parallel.merge(*SHARDS[:2]).loss([1, 2]), "the classes from 2048 to 3000 are in no state"),
        (lambda: states.loss([1, 1]), "target or weight is not what"),
        (lambda: states.loss([1, 2], weight=np.ones(3000)), "target or weight is not what"),
        (lambda: states.loss(), "expected class indices"),
        (lambda: states.gradient(LOGITS[:1, :5], [1, 2]), "expected .*as the states"),
        (lambda: states.gradient(LOGITS[:, :5], [1, 2], 2999), "expected classes within"),
        (lambda: ShardState.of_shard(LOGITS, [1, 2], -1, n_classes=9000), "start is -1"),
        (lambda: ShardState.of_shard(LOGITS, [1, 2], n_classes=0), "n_classes is 0"),
        (lambda: ShardState.of_shard(LOGITS, n_classes=3000, temperature=1e-300, axis=1)._totals(), None),
        (lambda: ShardState.of_shard(LOGITS.astype("f4"), n_classes=3000, temperature=1e-20), "at least 2\\^-32"),
        (lambda: ShardState.from_bytes(states.to_bytes()[:-1]), "not a result of ShardState.to_bytes"),
        (lambda: ShardState.from_bytes(b""), "not a result of ShardState.to_bytes"),
    ]:
        if text is None:
            call()
        else:
            with pytest.raises(ValueError, match=text):
                call()
    with pytest.raises(IndexError, match=r"target\[1\] is 3000"):
        ShardState.of_shard(LOGITS[:, :1024], [1, 3000], n_classes=3000)


@pytest.mark.parametrize("seed", range(20))
def test_normalisers(seed):
    rng = np.random.default_rng(3000 + seed)
    case = random_case(rng)
    cuts, temperature = aligned_cuts(rng, case.classes, 4), case.options["temperature"]
    shards = [(begin, case.part(case.logits, begin, end)) for begin, end in itertools.pairwise(cuts)]

    def merged(**options):
        options |= {"n_classes": case.classes, "axis": case.axis}
        return parallel.merge(*(ShardState.of_shard(x, None, begin, **options) for begin, x in shards))

    states = merged(temperature=temperature)
    for of_shard, of_all in ((states.softmax, xe.softmax), (states.log_softmax, xe.log_softmax)):
        parts = [of_shard(x, begin, axis=case.axis) for begin, x in shards]
        wanted = of_all(case.logits, case.axis, temperature=temperature)
        assert_same_bits(np.concatenate(parts, case.axis), wanted)
    assert_same_bits(states.logsumexp(), xe.logsumexp(case.logits, case.axis, temperature=temperature))


def test_gradients_in_place_and_upstream():
    rng = np.random.default_rng(8)
    case = random_case(rng, classes=3000)
    case.reduction["reduction"] = "none"
    states, _, _ = states_and_gradient(case, [0, 1024, 3000])
    g = rng.normal(size=states.rows.shape)
    wanted = xe.cross_entropy_backward(g, case.logits, case.target, axis=case.axis, **case.options, **case.reduction)
    logits, target = case.shard(1024, 3000)
    logits = logits.copy(order="K")
    out = states.gradient(logits, target, 1024, axis=case.axis, weight=case.options.get("weight"), grad_output=g,
                          out=logits, **case.reduction)
    assert out is logits
    assert_same_bits(out, case.part(wanted, 1024, 3000))
