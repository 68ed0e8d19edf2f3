"""Divergences and distillation of rows of which each rank has some classes."""

import itertools
import re

import numpy as np
import pytest
from parallel.shards import aligned_cuts, random_case
from parallel.threads import on_threads, outcomes
from support import assert_same_bits

import crossent as xe
from crossent import parallel

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
    case = random_case(rng)
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


@pytest.mark.parametrize(("divergence", "beta"), DIVERGENCES)
@pytest.mark.parametrize("seed", range(16))
def test_distillation_has_the_bits_of_one_process(seed, divergence, beta):
    rng = np.random.default_rng(500 + seed)
    case = random_case(rng)
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


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("divergence", "beta"), DIVERGENCES)
@pytest.mark.parametrize("seed", range(6))
def test_other_shards_are_as_accurate(seed, divergence, beta, exact):
    """P3: both within a relative 1e-5 of divergences from 2e-9 on, in float64 within 1e-12 of those from 1e-18 on."""
    rng = np.random.default_rng(900 + seed)
    case = random_case(rng, classes=5000)
    teacher = teacher_of(rng, case)
    cuts = sorted([0, case.classes, *rng.integers(0, case.classes, 2).tolist()])
    options = {"axis": case.axis, "divergence": divergence, "beta": beta, "reduction": "none", "return_grad": True}

    def call(comm, begin, end):
        shards = case.part(case.logits, begin, end), case.part(teacher, begin, end)
        return parallel.kl_div_with_logits(*shards, comm, exact=exact, **options)

    loss, _, sent = over_ranks(case, cuts, call)
    wanted, _ = xe.kl_div_with_logits(case.logits, teacher, **options)
    rtol, least = (2e-5, 2e-9) if loss.dtype == np.float32 else (2e-12, 1e-18)
    np.testing.assert_array_equal(np.isnan(loss), np.isnan(wanted))
    large = wanted >= least
    np.testing.assert_allclose(loss[large], wanted[large], rtol=rtol)
    assert np.all((loss[~large] < 2 * least) | np.isnan(loss[~large]))
    assert sent[0] == ["allgather"] * 3 if exact else ["allgather", "allgather", "max", "sum", "sum"]


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
