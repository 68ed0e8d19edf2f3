"""Divergences and distillation of rows of which each rank has some classes."""

import itertools
import pickle
import re

import numpy as np
import pytest
from parallel.shards import aligned_cuts, random_case
from parallel.threads import on_threads, outcomes
from support import assert_same_bits

import crossent as xe
from crossent import parallel
from crossent.parallel import DivergenceState, ShardState

DIVERGENCES = [("forward", 0.5), ("reverse", 0.5), ("js", 0.3)]


def teacher_of(rng, case):
    """Like the student, equal to it in some rows, of any dtype."""
    noise = rng.choice([1e-4, 1, 20]) * rng.standard_normal(case.logits.shape)
    noise *= rng.random(case.logits.shape) < rng.choice([0.0, 1.0], p=[0.1, 0.9])
    with np.errstate(over="ignore", invalid="ignore"):
        teacher = (case.logits.astype(np.float64) + noise).astype(rng.choice([np.float32, np.float64, np.float16]))
    return np.where(np.isposinf(teacher), np.finfo(teacher.dtype).max, teacher)


def over_ranks(case, cuts, call):
    """`call(comm, begin, end)` on all ranks."""
    ranges = list(itertools.pairwise(cuts))
    results = on_threads(len(ranges), lambda comm: (*call(comm, *ranges[comm.rank]), comm.sent))
    losses, gradients, sent = zip(*results, strict=True)
    for loss in losses[1:]:
        assert_same_bits(loss, losses[0])
    return losses[0], np.concatenate(gradients, case.axis), [[name for name, _ in of_rank] for of_rank in sent]


@pytest.mark.parametrize(("divergence", "beta"), DIVERGENCES)
@pytest.mark.parametrize("seed", range(12))
def test_divergences_have_the_bits_of_one_process(seed, divergence, beta):
    rng = np.random.default_rng(seed)
    case = random_case(rng, with_entropy=False)
    teacher = teacher_of(rng, case)
    options = {
        "axis": case.axis, "temperature": case.options["temperature"], "divergence": divergence, "beta": beta,
        "sample_weight": case.reduction.get("sample_weight"), "reduction": case.reduction["reduction"],
        "return_grad": True,
    }
    wanted, wanted_gradient = xe.kl_div_with_logits(case.logits, teacher, **options)
    for ranks in (1, 2, 5):
        def call(comm, begin, end):
            shards = case.part(case.logits, begin, end), case.part(teacher, begin, end)
            return parallel.kl_div_with_logits(*shards, comm, **options)

        loss, gradient, sent = over_ranks(case, aligned_cuts(rng, case.classes, ranks), call)
        assert_same_bits(loss, wanted)
        assert_same_bits(gradient, wanted_gradient)
        assert sent == [["allgather"] * 3] * ranks


@pytest.mark.parametrize(("dtype", "temperature"), [
    (np.float32, 1.0), (np.float64, 1.0), (np.float64, 1e-300), (np.float64, 5e-324)])
def test_tiny_temperatures_and_masked_classes(dtype, temperature):
    """1/T is out of range; a class that one row masks underflows in the other."""
    rng = np.random.default_rng(1)
    logits, teacher = rng.normal(0, 3, (2, 6, 2500)).astype(dtype)
    logits[0, 5] = teacher[1, 2000] = -np.inf
    teacher[0, 5] = logits[1, 2000] = -2000
    target = logits.argmax(axis=1) - np.arange(6) % 2
    options = {"temperature": temperature, "reduction": "none", "return_grad": True}
    of_divergence = {**options, "scale_by_temperature": False}
    calls = [lambda x, z, comm: parallel.cross_entropy(x, target, comm, **options, label_smoothing=0.1)]
    wanted = [xe.cross_entropy(logits, target, **options, label_smoothing=0.1)]
    for kind, beta in DIVERGENCES:
        how = {"divergence": kind, "beta": beta}
        wanted += [xe.kl_div_with_logits(logits, teacher, **options, **how),
                   xe.distillation_loss(logits, teacher, target, **of_divergence, **how)]
        calls += [lambda x, z, comm, how=how: parallel.kl_div_with_logits(x, z, comm, **options, **how),
                  lambda x, z, comm, how=how: parallel.distillation_loss(x, z, target, comm, **of_divergence, **how)]
    assert np.isinf(wanted[1][0][0]) and np.isinf(wanted[3][0][1])
    cuts = [0, 1024, 2500]
    for call, (loss, grad) in zip(calls, wanted, strict=True):
        def on_rank(comm, call=call):
            part = slice(cuts[comm.rank], cuts[comm.rank + 1])
            return call(np.ascontiguousarray(logits[:, part]), np.ascontiguousarray(teacher[:, part]), comm)

        found = on_threads(2, on_rank)
        assert_same_bits(found[0][0], loss)
        assert_same_bits(np.concatenate([g for _, g in found], axis=1), grad)


@pytest.mark.parametrize(("divergence", "beta"), DIVERGENCES)
@pytest.mark.parametrize("seed", range(16))
def test_distillation_has_the_bits_of_one_process(seed, divergence, beta):
    rng = np.random.default_rng(500 + seed)
    case = random_case(rng, with_entropy=False)
    teacher = teacher_of(rng, case)
    options = case.options | case.reduction | {
        "axis": case.axis, "divergence": divergence, "beta": beta, "return_grad": True,
        "alpha": float(rng.choice([0, 0.3, 1])), "scale_by_temperature": bool(rng.integers(2)),
    }
    wanted, wanted_gradient = xe.distillation_loss(case.logits, teacher, case.target, **options)
    for ranks in (1, 3):
        def call(comm, begin, end):
            logits, target = case.shard(begin, end)
            return parallel.distillation_loss(logits, case.part(teacher, begin, end), target, comm, **options)

        loss, gradient, _ = over_ranks(case, aligned_cuts(rng, case.classes, ranks), call)
        assert_same_bits(loss, wanted)
        assert_same_bits(gradient, wanted_gradient)


@pytest.mark.parametrize(("divergence", "beta"), DIVERGENCES)
@pytest.mark.parametrize("seed", range(6))
def test_other_shards_are_as_accurate(seed, divergence, beta):
    """P3: both within a relative 1e-5 of divergences from 2e-9 on, in float64 within 1e-12 of those from 1e-18 on."""
    rng = np.random.default_rng(900 + seed)
    case = random_case(rng, classes=5000, with_entropy=False)
    teacher = teacher_of(rng, case)
    cuts = sorted([0, case.classes, *rng.integers(0, case.classes, 2).tolist()])
    options = {"axis": case.axis, "divergence": divergence, "beta": beta, "reduction": "none", "return_grad": True}

    def call(comm, begin, end):
        shards = case.part(case.logits, begin, end), case.part(teacher, begin, end)
        return parallel.kl_div_with_logits(*shards, comm, **options)

    loss, _, sent = over_ranks(case, cuts, call)
    wanted, _ = xe.kl_div_with_logits(case.logits, teacher, **options)
    rtol, least = (2e-5, 2e-9) if loss.dtype == np.float32 else (2e-12, 1e-18)
    np.testing.assert_array_equal(np.isnan(loss), np.isnan(wanted))
    large = wanted >= least
    np.testing.assert_allclose(loss[large], wanted[large], rtol=rtol)
    assert np.all((loss[~large] < 2 * least) | np.isnan(loss[~large]))
    assert sent[0] == ["allgather"] * 3


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"teacher": np.zeros((3, 7))}, ValueError, "teacher_logits has shape"),
        ({"teacher": "x"}, TypeError, "teacher_logits has dtype"),
        ({"divergence": "other"}, ValueError, "divergence is 'other'"),
        ({"divergence": "reverse"}, ValueError, "has the options"),
        ({"beta": 1.5}, ValueError, "beta is 1.5"),
        ({"alpha": 0.5}, ValueError, "alpha is 0.5 without a target|has the options"),
        ({"weight": np.ones(2048)}, ValueError, "weight was given without a target"),
        ({"z_loss": 1.0}, ValueError, "z_loss was given without a target"),
    ],
)
def test_errors_reach_all_ranks(rank, change, error, text):
    logits = np.zeros((3, 2048))

    def work(comm):
        part = logits[:, 1024 * comm.rank :][:, :1024]
        call = {"teacher": part} | (change if comm.rank == rank else {})
        return parallel.distillation_loss(part, call.pop("teacher"), None, comm, **call)

    results = outcomes(2, work)
    assert [type(result) for result in results] == [error] * 2, results
    assert any(re.search(text, str(result)) for result in results), results


@pytest.mark.parametrize("seed", range(40))
def test_steps_have_the_bits_of_one_process(seed):
    rng = np.random.default_rng(1300 + seed)
    case = random_case(rng, with_entropy=False)
    teacher = teacher_of(rng, case).astype(case.logits.dtype)
    temperature, axis = case.options.pop("temperature"), case.axis
    divergence, beta = DIVERGENCES[seed % 3]
    alpha = float(rng.choice([0.3, 1]))
    shares = {"alpha": alpha, "scale_by_temperature": bool(rng.integers(2))}
    cuts = list(itertools.pairwise(aligned_cuts(rng, case.classes, 4)))
    place = {"n_classes": case.classes, "axis": axis}

    def merged(x):
        parts = (ShardState.of_shard(case.part(x, a, b), None, a, temperature=temperature, **place) for a, b in cuts)
        return parallel.merge(*parts)

    student, of_teacher = merged(case.logits), merged(teacher)
    of_target = parallel.merge(*(ShardState.of_shard(*case.shard(a, b), a, **case.options, **place) for a, b in cuts))
    parts = [DivergenceState.of_shard(case.part(case.logits, a, b), case.part(teacher, a, b), student, of_teacher, a,
                                         axis=axis, divergence=divergence, beta=beta) for a, b in cuts]
    rng.shuffle(parts)
    stored = [pickle.loads(pickle.dumps(DivergenceState.from_bytes(p.to_bytes()))) for p in parts]
    sums = parallel.merge(*stored)
    if alpha < 1 and temperature == 1:
        student, more = of_target, {}
        sums = DivergenceState(of_target.rows, divergence, beta, sums.sums)
    else:
        more = {"cross_entropy_state": of_target}
    options = shares | case.reduction | {"weight": case.options.get("weight")} | more
    wanted, wanted_gradient = xe.distillation_loss(
        case.logits, teacher, case.target, axis=axis, temperature=temperature, divergence=divergence, beta=beta,
        return_grad=True, **shares, **case.options, **case.reduction)
    assert_same_bits(sums.loss(student, of_teacher, case.target, **options), wanted)
    gradients = []
    for a, b in cuts:
        (logits, target), of_shard = case.shard(a, b), case.part(teacher, a, b)
        gradients.append(sums.gradient(logits, of_shard, student, of_teacher, target, a, axis=axis, **options))
    assert_same_bits(np.concatenate(gradients, axis), wanted_gradient)


def test_steps_that_do_not_fit():
    x = np.zeros((2, 1500))
    first, second = ({"n_classes": 1500}, {"n_classes": 1500, "temperature": 2.0})
    plain, cooler = ShardState.of_shard(x, **first), ShardState.of_shard(x, **second)
    smoothed = ShardState.of_shard(x, [1, 2], label_smoothing=0.1, **first)
    half = ShardState.of_shard(x[:, :1024], **first)
    sums = DivergenceState.of_shard(x, x, plain, plain)
    reverse = DivergenceState.of_shard(x, x, plain, plain, divergence="reverse")
    for call, text in [
        (lambda: DivergenceState.of_shard(x, x, plain, cooler), "do not fit: temperature is 1.0 and 2.0"),
        (lambda: DivergenceState.of_shard(x, x, plain, ShardState.of_shard(x.astype("f4"), **first)),
         "teacher_state is of float32, state of float64"),
        (lambda: DivergenceState.of_shard(x, x[:1], plain, plain), "teacher_logits has shape"),
        (lambda: DivergenceState.of_shard(x[:, :1024], x[:, :1024], half, half), "1024 to 1500 are in no state"),
        (lambda: parallel.merge(), "no states were given"),
        (lambda: parallel.merge(sums, sums), "are in two states"),
        (lambda: parallel.merge(sums, reverse), "of different divergences"),
        (lambda: DivergenceState.from_bytes(sums.to_bytes()[:-1]), "not a result of DivergenceState.to_bytes"),
        (lambda: sums.loss(smoothed, plain), "do not belong together"),
        (lambda: sums.loss(plain, smoothed), "teacher_state was made with a target"),
        (lambda: sums.loss(plain, plain, alpha=0.5), "alpha is 0.5"),
        (lambda: sums.loss(plain, plain, [1, 2], alpha=0), "alpha is 0"),
        (lambda: sums.loss(plain, plain, [1, 2]), "cross_entropy_state: expected"),
        (lambda: sums.loss(plain, plain, [1, 1], cross_entropy_state=smoothed), "target or weight is not what"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()


def test_the_state_of_a_cross_entropy_with_an_entropy_is_refused(rng):
    x, teacher = rng.normal(size=(2, 3, 9))
    state, of_teacher = (ShardState.of_shard(z, None, n_classes=9) for z in (x, teacher))
    own = ShardState.of_shard(x, [0, 1, 2], n_classes=9, entropy_weight=0.5)
    divergence = DivergenceState.of_shard(x, teacher, state, of_teacher)
    with pytest.raises(ValueError, match="made with an entropy_weight"):
        divergence.loss(state, of_teacher, [0, 1, 2], cross_entropy_state=own)
