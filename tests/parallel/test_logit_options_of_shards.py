"""A softcap, a bias of the classes and temperatures of the rows, where classes or rows are split: the bits of one
process, and states that do not belong together."""

import itertools
import pickle
import re

import numpy as np
import pytest
from parallel.rows import ALIGNED, FORMS, ROWS, Batch
from parallel.shards import OF_LOGITS, aligned_cuts, of_logits, transformed_case
from parallel.test_class_shards import states_and_gradient
from parallel.test_classes_over_ranks import over_ranks as cross_entropy_over_ranks
from parallel.test_divergences_over_ranks import DIVERGENCES, over_ranks, teacher_of
from parallel.test_rows_over_ranks import assert_one_loss
from parallel.threads import on_threads, outcomes
from support import assert_same_bits

import crossent as xe
from crossent import parallel
from crossent.parallel import DivergenceState, ShardState, StatisticsState
from crossent.parallel._state import pack, unpack

WHICH = pytest.mark.parametrize("which", OF_LOGITS)


def rows_of(case):
    return case.logits.shape[: case.axis] + case.logits.shape[case.axis + 1 :]


def with_teacher(which):
    """Of student, teacher or both."""
    return [{"student"}, {"teacher"}, {"student", "teacher"}] if which in ("softcap", "logit_bias") else [
        {"student"}, {"student", "teacher"}]


# ---- Bits ------------------------------------------------------------------------------------------------------------


@WHICH
@pytest.mark.parametrize("seed", range(16))
def test_states_have_the_bits_of_one_process(seed, which):
    rng = np.random.default_rng(seed)
    case = transformed_case(rng, which)
    wanted, wanted_gradient = case.expected()
    for parts in (1, 3, 7):
        _, loss, gradient = states_and_gradient(
            case, aligned_cuts(rng, case.classes, parts), lambda s: ShardState.from_bytes(s.to_bytes()))
        assert_same_bits(loss, wanted)
        assert_same_bits(gradient, wanted_gradient)


@WHICH
@pytest.mark.parametrize("seed", range(12))
def test_ranks_have_the_bits_of_one_process(seed, which):
    rng = np.random.default_rng(100 + seed)
    case = transformed_case(rng, which)
    wanted, wanted_gradient = case.expected()
    for ranks in (2, 5):
        loss, gradient, _ = cross_entropy_over_ranks(case, aligned_cuts(rng, case.classes, ranks))
        assert_same_bits(loss, wanted)
        assert_same_bits(gradient, wanted_gradient)


@WHICH
@pytest.mark.parametrize("seed", range(12))
def test_normalisers(seed, which):
    rng = np.random.default_rng(200 + seed)
    case = transformed_case(rng, which)
    of_logits = {name: x for name, x in case.options.items() if name in ("temperature", "softcap", "logit_bias")}
    ranges = list(itertools.pairwise(aligned_cuts(rng, case.classes, 4)))
    shards = [(case.part(case.logits, *ends), ends[0]) for ends in ranges]
    state = parallel.merge(*(
        ShardState.of_shard(x, None, begin, n_classes=case.classes, axis=case.axis, **of_logits)
        for x, begin in shards))
    for of_shard, of_all in ((state.softmax, xe.softmax), (state.log_softmax, xe.log_softmax)):
        parts = [of_shard(x, begin, axis=case.axis, **case.again) for x, begin in shards]
        assert_same_bits(np.concatenate(parts, case.axis), of_all(case.logits, case.axis, **of_logits))
    assert_same_bits(state.logsumexp(), xe.logsumexp(case.logits, case.axis, **of_logits))


@WHICH
@pytest.mark.parametrize("seed", range(12))
def test_statistics(seed, which):
    rng = np.random.default_rng(300 + seed)
    case = transformed_case(rng, which, with_entropy=False)
    of_logits = {name: x for name, x in case.options.items() if name in ("temperature", "softcap", "logit_bias")}
    target = case.target if case.target.dtype.kind == "i" else None
    k = min(3, case.classes)
    wanted = xe.row_statistics(case.logits, target, axis=case.axis, top_k=k, **of_logits)
    cuts = list(itertools.pairwise(aligned_cuts(rng, case.classes, 3)))
    place = {"axis": case.axis, "n_classes": case.classes}
    shards = [(case.part(case.logits, *ends), ends[0]) for ends in cuts]
    state = parallel.merge(*(ShardState.of_shard(x, target, a, **place, **of_logits) for x, a in shards))
    parts = [StatisticsState.of_shard(x, state, target, a, axis=case.axis, top_k=k, **case.again) for x, a in shards]
    found = [parallel.merge(*map(StatisticsState.from_bytes, (p.to_bytes() for p in parts))).statistics(state, target)]
    found += on_threads(3, lambda comm: parallel.row_statistics(
        shards[comm.rank][0], target, comm, axis=case.axis, top_k=k, **of_logits))
    for statistics in found:
        for one, other in zip(statistics, wanted, strict=True):
            assert one is other is None or assert_same_bits(one, other) is None


def distillation_case(rng, which, who):
    case = transformed_case(rng, which, with_entropy=False)
    teacher = teacher_of(rng, case)
    if "student" not in who:
        for name in ("softcap", "logit_bias"):
            case.options.pop(name, None)
    given = of_logits(rng, which, case.classes, rows_of(case)) if "teacher" in who else {}
    of_teacher = {f"teacher_{name}": x for name, x in given.items() if name != "temperature"}
    return case, teacher, of_teacher


@pytest.mark.parametrize(("which", "who"), [(which, who) for which in OF_LOGITS for who in with_teacher(which)])
@pytest.mark.parametrize("seed", range(9))
def test_distillation_over_ranks(seed, which, who):
    rng = np.random.default_rng(400 + seed)
    case, teacher, of_teacher = distillation_case(rng, which, who)
    divergence, beta = DIVERGENCES[seed % 3]
    options = case.options | case.reduction | of_teacher | {
        "axis": case.axis, "divergence": divergence, "beta": beta, "return_grad": True,
        "alpha": float(rng.choice([0, 0.3, 0.3, 1])), "scale_by_temperature": bool(rng.integers(2)),
    }
    wanted = xe.distillation_loss(case.logits, teacher, case.target, **options)
    of_divergence = {name: x for name, x in options.items()
                     if name not in ("alpha", "scale_by_temperature", "weight", "label_smoothing", "z_loss")}
    wanted_alone = xe.kl_div_with_logits(case.logits, teacher, **of_divergence)
    for ranks in (1, 3):
        cuts = aligned_cuts(rng, case.classes, ranks)

        def both(comm, begin, end):
            logits, target = case.shard(begin, end)
            return parallel.distillation_loss(logits, case.part(teacher, begin, end), target, comm, **options)

        def alone(comm, begin, end):
            shards = case.part(case.logits, begin, end), case.part(teacher, begin, end)
            return parallel.kl_div_with_logits(*shards, comm, **of_divergence)

        for call, (loss, gradient) in ((both, wanted), (alone, wanted_alone)):
            found, found_gradient, _ = over_ranks(case, cuts, call)
            assert_same_bits(found, loss)
            assert_same_bits(found_gradient, gradient)


@WHICH
@pytest.mark.parametrize("seed", range(9))
def test_distillation_in_steps(seed, which):
    rng = np.random.default_rng(500 + seed)
    case, teacher, of_teacher = distillation_case(rng, which, {"student", "teacher"})
    of_student = {name: case.options.pop(name) for name in ("softcap", "logit_bias") if name in case.options}
    temperature, axis = case.options.pop("temperature"), case.axis
    if which == "temperatures":  # the cross-entropy is at temperature 1, and in float64 all the same
        of_student["logit_bias"] = np.zeros(case.classes)
    biases = {name: x for name, x in (of_student | of_teacher).items() if "bias" in name}
    of_rows = {"temperature": temperature} if np.ndim(temperature) else {}
    divergence, beta = DIVERGENCES[seed % 3]
    shares = {"alpha": float(rng.choice([0.3, 1])), "scale_by_temperature": bool(rng.integers(2))}
    cuts = list(itertools.pairwise(aligned_cuts(rng, case.classes, 4)))
    place = {"n_classes": case.classes, "axis": axis}

    def merged(x, **options):
        return parallel.merge(*(ShardState.of_shard(case.part(x, a, b), None, a, **options, **place) for a, b in cuts))

    student = merged(case.logits, temperature=temperature, **of_student)
    other = merged(teacher, temperature=temperature,
                   **{name.removeprefix("teacher_"): x for name, x in of_teacher.items()})
    of_target = parallel.merge(*(
        ShardState.of_shard(*case.shard(a, b), a, **case.options, **of_student, **place) for a, b in cuts))
    how = {"axis": axis, "divergence": divergence, "beta": beta}
    parts = [DivergenceState.of_shard(case.part(case.logits, a, b), case.part(teacher, a, b), student, other, a, **how,
                                      **biases, **of_rows) for a, b in cuts]
    sums = parallel.merge(*(pickle.loads(pickle.dumps(DivergenceState.from_bytes(p.to_bytes()))) for p in parts))
    options = shares | case.reduction | of_rows | {
        "weight": case.options.get("weight"), "cross_entropy_state": of_target}
    wanted, wanted_gradient = xe.distillation_loss(
        case.logits, teacher, case.target, temperature=temperature, return_grad=True, **how, **shares,
        **case.options, **case.reduction, **of_student, **of_teacher)
    assert_same_bits(sums.loss(student, other, case.target, **options), wanted)
    gradients = [
        sums.gradient(case.part(case.logits, a, b), case.part(teacher, a, b), student, other, case.shard(a, b)[1], a,
                      axis=axis, **options, **biases) for a, b in cuts]
    assert_same_bits(np.concatenate(gradients, axis), wanted_gradient)


@pytest.mark.parametrize("bounds", ALIGNED, ids=str)
@pytest.mark.parametrize("which", ["all", "temperatures"])
def test_rows_over_ranks(bounds, which, dtype):
    """The temperatures are split with the rows, the bias is not."""
    rng = np.random.default_rng(0)
    for loss in (xe.cross_entropy, xe.kl_div_with_logits, xe.distillation_loss):
        batch = Batch(next(form for form in FORMS if form.function is loss), dtype=dtype)
        classes = batch.arrays[0].shape[1]
        batch.options |= of_logits(rng, which, classes, (ROWS,)) | {"temperature": rng.choice([0.5, 2, 3.7], ROWS)}
        assert_one_loss(batch, bounds)


# ---- What does not belong together -----------------------------------------------------------------------------------

LOGITS = np.zeros((2, 3000))
BIAS = np.linspace(-1, 1, 3000)


def shard(begin, end, *target, **options):
    return ShardState.of_shard(LOGITS[:, begin:end], *target, start=begin, n_classes=3000, **options)


@pytest.mark.parametrize(("one", "other", "text"), [
    ({}, {"softcap": 3.0}, "softcap is None for one and 3.0 for another"),
    ({"softcap": 2}, {"softcap": 3.0}, "softcap is 2.0 for one and 3.0 for another"),
    ({"logit_bias": BIAS}, {}, "they are of different logit biases"),
    ({"logit_bias": BIAS}, {"logit_bias": -BIAS}, "they are of different logit biases"),
    ({"temperature": [1.0, 1.0]}, {}, "they are of different temperatures of the rows"),
    ({"temperature": [1.0, 2.0]}, {"temperature": [2.0, 1.0]}, "they are of different temperatures of the rows"),
])
def test_states_of_other_options(one, other, text):
    with pytest.raises(ValueError, match=f"^the states do not belong together: {text}$"):
        parallel.merge(shard(0, 1024, **one), shard(1024, 3000, **other))


def test_equal_options_of_other_types():
    """A state depends on the numbers: a list of them, or float32, will do as well."""
    first = shard(0, 1024, logit_bias=[1] * 3000, temperature=np.float32([1, 2]), softcap=2)
    second = shard(1024, 3000, logit_bias=np.ones(3000, np.float32), temperature=[1.0, 2.0], softcap=np.float64(2))
    state = parallel.merge(first, second)
    softmax = state.softmax(LOGITS, temperature=(1, 2), logit_bias=np.ones(3000, np.float16))
    assert_same_bits(softmax, xe.softmax(LOGITS, logit_bias=np.ones(3000), temperature=[1.0, 2.0], softcap=2.0))


def test_logits_that_are_read_with_other_options():
    plain = shard(0, 3000, [1, 2])
    cooler = shard(0, 3000, [1, 2], temperature=2.0)
    biased = shard(0, 3000, [1, 2], logit_bias=BIAS)
    of_rows = shard(0, 3000, [1, 2], temperature=[1.0, 2.0])
    changed = "is not what the states were made with: expected the same in each step"
    for state, given, name in [
        (plain, {"logit_bias": BIAS}, "logit_bias"),
        (plain, {"temperature": 2.0}, "temperature"),
        (plain, {"temperature": [1.0, 1.0]}, "temperature"),
        (cooler, {"temperature": 1.0}, "temperature"),
        (biased, {}, "logit_bias"),
        (biased, {"logit_bias": -BIAS}, "logit_bias"),
        (of_rows, {}, "temperature"),
        (of_rows, {"temperature": 1.0}, "temperature"),
        (of_rows, {"temperature": [2.0, 1.0]}, "temperature"),
    ]:
        for call in (
            lambda state=state, given=given: state.gradient(LOGITS, [1, 2], **given),
            lambda state=state, given=given: state.softmax(LOGITS, **given),
            lambda state=state, given=given: state.log_softmax(LOGITS, **given),
            lambda state=state, given=given: StatisticsState.of_shard(LOGITS, state, [1, 2], **given),
            lambda state=state, given=given: DivergenceState.of_shard(
                LOGITS, LOGITS, state, state, teacher_logit_bias=given.get("logit_bias"), **given),
        ):
            with pytest.raises(ValueError, match=f"^{name} {changed}$"):
                call()
    cooler.gradient(LOGITS, [1, 2], temperature=2)
    for given, text in (({"logit_bias": BIAS[:5]}, r"logit_bias has shape \(5,\): expected \(3000,\)"),
                        ({"logit_bias": BIAS, "temperature": [0.0, 1.0]}, r"temperature\[0\] is 0.0: expected"),
                        ({"logit_bias": BIAS, "temperature": [1.0] * 3}, r"temperature has shape \(3,\): expected")):
        with pytest.raises(ValueError, match=text):
            biased.gradient(LOGITS, [1, 2], **given)


def test_student_and_teacher_that_do_not_fit():
    x = LOGITS.astype(np.float32)
    of = lambda *target, **options: ShardState.of_shard(x, *target, n_classes=3000, **options)
    plain, capped, of_rows = of(), of(softcap=2.0), of(temperature=[1.0, 2.0])
    zeros = np.zeros(3000)
    biased = of(logit_bias=zeros)
    sums = DivergenceState.of_shard(x, x, biased, capped, logit_bias=zeros)
    again = {"logit_bias": zeros}
    for call, text in [
        (lambda: DivergenceState.of_shard(x, x, plain, capped),
         "teacher_state was made with a softcap, .*, state without: make that with a logit_bias of zeros"),
        (lambda: DivergenceState.of_shard(x, x, capped, plain),
         "state was made with a softcap, .*, teacher_state without: make that with a logit_bias of zeros"),
        (lambda: DivergenceState.of_shard(x, x, of_rows, plain), "they have different temperatures of the rows"),
        (lambda: DivergenceState.of_shard(x, x, biased, biased, **again), "teacher_logit_bias is not what the states"),
        (lambda: sums.loss(biased, biased), "teacher_state is not what the states were made with"),
        (lambda: sums.loss(capped, capped), "softcap is 2.0 for one and None for another"),
        (lambda: sums.gradient(x, x, biased, capped), "logit_bias is not what the states were made with"),
        (lambda: parallel.merge(sums, DivergenceState.of_shard(x, x, biased, of(softcap=3.0), **again)),
         "the states are of different teachers"),
        (lambda: sums.loss(biased, capped, [1, 2], cross_entropy_state=of([1, 2])),
         "state was made with a softcap, .*, cross_entropy_state without: make that with a logit_bias of zeros"),
        (lambda: sums.loss(biased, capped, [1, 2], cross_entropy_state=of([1, 2], softcap=1.0)),
         "cross_entropy_state: expected one with the softcap and the bias of state"),
        (lambda: sums.loss(biased, capped, [1, 2], cross_entropy_state=of([1, 2], temperature=[1.0, 1.0])),
         "cross_entropy_state: expected the state of the logits with the target at temperature 1"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()


@pytest.mark.parametrize(("change", "error", "text"), [
    ({"softcap": 0.0}, ValueError, "softcap is 0.0: expected a finite number > 0"),
    ({"softcap": 1.0}, ValueError, "softcap is None for one and 1.0 for another|has the options"),
    ({"logit_bias": BIAS}, ValueError, "different logit biases|has the options"),
    ({"logit_bias": BIAS[:5]}, ValueError, r"logit_bias has shape \(5,\): expected \(3000,\)"),
    ({"logit_bias": np.full(3000, np.inf)}, ValueError, r"logit_bias\[0\] is inf: expected a finite number or -inf"),
    ({"temperature": [1.0, 2.0]}, ValueError, "different temperatures|has the options"),
    ({"temperature": [1.0, -2.0]}, ValueError, r"temperature\[1\] is -2.0: expected a finite number > 0"),
    ({"temperature": [1.0, 1.0, 1.0]}, ValueError, r"temperature has shape \(3,\): expected \(2,\)"),
])
@pytest.mark.parametrize("empty", [False, True])
def test_an_error_on_one_rank_is_an_error_on_all(change, error, text, empty):
    """Also on a rank without classes, whose logits the core does not see."""
    cuts = [0, 2048, 2048, 3000] if empty else [0, 1024, 2048, 3000]

    def call(function, change, *arrays):
        def work(comm):
            part = LOGITS[:, cuts[comm.rank] : cuts[comm.rank + 1]]
            return function(part, *[part if x is None else x for x in arrays], comm, n_classes=3000,
                            start=cuts[comm.rank], **change if comm.rank == 1 else {})

        results = outcomes(3, work)
        assert [type(result) for result in results] == [error] * 3, results
        assert any(re.search(text, str(result)) for result in results), results

    call(parallel.cross_entropy, change, [1, 2])
    call(parallel.row_statistics, change, [1, 2])
    call(parallel.distillation_loss, change, None, [1, 2])
    of_teacher = {name if name == "temperature" else f"teacher_{name}": x for name, x in change.items()}
    call(parallel.kl_div_with_logits, of_teacher, None)


@pytest.mark.parametrize("about", [{"softcap": -1.0}, {"softcap": "1"}, {"softcap": float("nan")}], ids=str)
def test_damaged_messages(about):
    facts, numbers = unpack(shard(0, 3000, softcap=1.0).to_bytes())
    facts["rows"] |= about
    with pytest.raises(ValueError, match="not a result of ShardState"):
        ShardState.from_bytes(pack(facts, bytes(numbers)))


def test_a_temperature_below_the_range_of_float32():
    """Which float32 logits have only where they are computed in float64."""
    x = np.float32([[0, 2e-10], [3e-10, 0]])
    options = {"temperature": 1e-10, "logit_bias": np.float64([0, 1e-11])}
    state = ShardState.of_shard(x, [0, 1], n_classes=2, **options)
    loss, gradient = xe.cross_entropy(x, [0, 1], return_grad=True, **options)
    assert_same_bits(state.loss([0, 1]), loss)
    assert_same_bits(state.gradient(x, [0, 1], logit_bias=options["logit_bias"]), gradient)
