"""Rows of several ranks, here threads: loss and gradient of one process, two collectives, an error everywhere."""

import numpy as np
import operations
import pytest
from parallel.rows import ALIGNED, FORMS, ROWS, UNALIGNED, Batch, cross_entropy_batch, distillation_batch
from parallel.threads import on_threads, outcomes
from support import assert_same_bits

import crossent as xe
from crossent import parallel

CASES = [(form, case) for form in FORMS for case in form.cases]


def over_ranks(batch, bounds, with_start=False, **how):
    """(loss, gradient) of each rank, one of which has each part of the rows."""
    parts = batch.parts(bounds)

    def work(comm):
        start, arrays, options = parts[comm.rank]
        result = parallel.over_rows(batch.loss, comm, *arrays, start=start if with_start else None, return_grad=True,
                                    **options, **how)
        assert [name for name, _ in comm.sent] == ["allgather"] * 2
        return result

    return on_threads(len(parts), work)


def assert_one_loss(batch, bounds, **how):
    loss, gradient = batch.whole(return_grad=True, **how)
    for with_start in (False, True):
        results = over_ranks(batch, bounds, with_start, **how)
        for found, _ in results:
            assert_same_bits(found, loss)
        assert_same_bits(np.concatenate([part for _, part in results]), gradient)


@pytest.mark.parametrize(("form", "case"), CASES, ids=lambda x: str(x))
def test_every_case_of_every_loss(form, case, dtype):
    batch = Batch(form, case, dtype)
    assert_one_loss(batch, ALIGNED[3])
    assert_one_loss(batch, ALIGNED[1], reduction="sum")


@pytest.mark.parametrize("bounds", ALIGNED, ids=str)
def test_any_number_of_ranks(bounds):
    for form in FORMS:
        assert_one_loss(Batch(form), bounds)
        assert_one_loss(Batch(form), bounds, denominator=7.5)


@pytest.mark.parametrize("dtype", operations.FLOATS[:2], ids=str)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_half_dtypes(form, dtype):
    assert_one_loss(Batch(form, dtype=dtype), ALIGNED[3])


@pytest.mark.parametrize("options", [{}, {"weight": np.arange(5)}, {"sample_weight": -np.ones(ROWS)}], ids=str)
@pytest.mark.parametrize("ignored", [(0, 1024), (0, 5000), (5000, 5000)], ids=str)
def test_ignored_rows_and_negative_denominators(options, ignored):
    """The mean of no row is NaN and has no gradient, on all ranks."""
    batch = cross_entropy_batch(ignored, **options)
    for bounds in ALIGNED:
        assert_one_loss(batch, bounds)


def test_two_denominators():
    """The divergence of a distillation is divided by the number of rows, its cross-entropy by their class weights."""
    batch = distillation_batch(weight=np.array([0.0, 0.0, 0.0, 0.0, 3.0]), alpha=0.3, ignore_index=0)
    batch.arrays[2][:3072] = 1  # of weight 0
    assert_one_loss(batch, ALIGNED[4])
    first, *_ = batch.sums(ALIGNED[4])
    assert first.denominators == (1024.0, 0.0)


@pytest.mark.parametrize("bounds", UNALIGNED, ids=str)
def test_unaligned_rows(bounds):
    """Without weights the denominators are numbers of rows, which are exact: so is every gradient. The losses of ranks
    are the same; test_row_sums.py has how far they may be from that of one process, in float64."""
    batch = cross_entropy_batch()
    loss, gradient = batch.whole(return_grad=True)
    results = over_ranks(batch, bounds)
    assert_same_bits(np.concatenate([part for _, part in results]), gradient)
    assert len({found.tobytes() for found, _ in results}) == 1
    assert abs(results[0][0] - loss) <= np.spacing(loss)  # both rounded from float64 numbers some 2^-53 apart


def test_what_is_sent():
    """16 bytes for each 1,024 rows and term, and some hundred bytes."""
    batch = cross_entropy_batch()
    parts = batch.parts(ALIGNED[3])

    def work(comm):
        _, arrays, options = parts[comm.rank]
        parallel.over_rows(batch.loss, comm, *arrays, **options)
        return [size for _, size in comm.sent]

    for (start, (logits, _), _), (weights, sums) in zip(parts, on_threads(len(parts), work), strict=True):
        assert weights <= 200 + 16 * -(-len(logits) // 1024), start
        assert sums <= 400, start


def test_gradient_in_place():
    batch = cross_entropy_batch()
    _, wanted = batch.whole(return_grad=True)
    parts = batch.parts(ALIGNED[1])

    def work(comm):
        _, (logits, target), _ = parts[comm.rank]
        _, gradient = parallel.over_rows(batch.loss, comm, logits, target, return_grad=True, grad_out=logits)
        assert gradient is logits

    on_threads(len(parts), work)
    assert_same_bits(batch.arrays[0], wanted)


def test_without_gradient():
    batch = cross_entropy_batch()
    [loss] = on_threads(1, lambda comm: parallel.over_rows(batch.loss, comm, *batch.arrays))
    assert_same_bits(loss, batch.whole())


def test_ranks_in_another_order_than_their_rows():
    batch = cross_entropy_batch()
    parts = batch.parts(ALIGNED[4])[::-1]

    def work(comm):
        start, arrays, _ = parts[comm.rank]
        return parallel.over_rows(batch.loss, comm, *arrays, start=start)

    assert_same_bits(on_threads(len(parts), work)[0], batch.whole())


# ---- denominator -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["i1", "u4", "i8"])
@pytest.mark.parametrize("options", [
    {}, {"ignore_index": 2}, {"ignore_index": None}, {"weight": np.array([0.1, 0.2, 0.3, 0.4, 1e-9])},
    {"weight": [1, 0, 0, 2, 1]}, {"sample_weight": -0.1}, {"weight": np.float32([0.1, 0.2, 0.3, 0.4, 0.5])},
], ids=str)
def test_denominator(options, dtype):
    """That of a mean on one process, whatever the integers of the target."""
    batch = cross_entropy_batch()
    target = batch.arrays[1].astype(dtype)
    of_dtype = np.result_type(np.float32, *(np.asarray(options[name]).dtype for name in options if "weight" in name))
    log_probs = np.zeros((ROWS, 5), of_dtype)
    [wanted] = parallel.RowSums.of_rows(xe.nll_loss, log_probs, target, **options).denominators
    for bounds in ALIGNED:
        def work(comm, bounds=bounds):
            found = parallel.denominator(target[bounds[comm.rank]:bounds[comm.rank + 1]], comm, **options)
            assert [name for name, _ in comm.sent] == ["allgather"]
            return found
        assert on_threads(len(bounds) - 1, work) == [wanted] * (len(bounds) - 1)


def test_denominator_is_that_of_a_loss():
    batch = cross_entropy_batch(weight=np.float32([0.1, 0.2, 0.3, 0.4, 0.5]), ignore_index=3)
    _, gradient = batch.whole(return_grad=True)

    def work(comm):
        (logits, target), options = batch.part(*((0, 2048), (2048, 5000))[comm.rank])
        total = parallel.denominator(target, comm, **options)
        return xe.cross_entropy(logits, target, denominator=total, return_grad=True, **options)[1]

    assert_same_bits(np.concatenate(on_threads(2, work)), gradient)


def test_denominator_of_one_number_and_of_no_rows():
    assert on_threads(3, lambda comm: parallel.denominator(comm.rank, comm)) == [3.0] * 3
    assert on_threads(2, lambda comm: parallel.denominator(np.zeros(0, int), comm)) == [0.0] * 2


# ---- Errors ----------------------------------------------------------------------------------------------------------


def bad_call(comm, bad, **options):
    """Every rank has 1,024 rows; rank 1 has something else as well."""
    arrays = {"logits": np.zeros((1024, 3), np.float32), "target": np.zeros(1024, int), "loss": xe.cross_entropy}
    call = arrays | ({**options, **bad} if comm.rank == 1 else options)
    return parallel.over_rows(call.pop("loss"), comm, call.pop("logits"), call.pop("target"), **call)


@pytest.mark.parametrize(("error", "text", "bad"), [
    (IndexError, "target[0] is 3, outside [0, 3) and not ignore_index (-100)", {"target": np.full(1024, 3)}),
    (ValueError, "target has shape (7,): expected (1024,)", {"target": np.zeros(7, int)}),
    (ValueError, "weight[1] is nan: expected a finite number in [0, 3.40282e+38]", {"weight": [1, np.nan, 1]}),
    (TypeError, "temperature is '1': expected a number", {"temperature": "1"}),
    (TypeError, "got an unexpected keyword argument 'smoothing'", {"smoothing": 1}),
    (ValueError, "reduction is 'none': expected one of 'mean', 'sum'", {"reduction": "none"}),
    (ValueError, "denominator is -1.0: expected a finite number > 0", {"denominator": -1.0}),
    (ValueError, "grad_out was given without return_grad: expected return_grad=True", {"grad_out": []}),
    (ValueError, "start is -1: expected the number of rows before these, >= 0", {"start": -1}),
    (np.exceptions.AxisError, "axis 5 is out of bounds for array of dimension 2", {"axis": 5}),
], ids=lambda x: x if isinstance(x, str) else "")
def test_an_error_on_one_rank_is_one_on_all(error, text, bad):
    first, second, third = outcomes(3, lambda comm: bad_call(comm, bad))
    assert [type(first), type(second), type(third)] == [error] * 3
    assert text in str(second)
    assert str(first) == str(third) == f"rank 1: {second}"


@pytest.mark.parametrize(("text", "bad"), [
    ("cross_entropy of float64, terms (1.0,), denominators of the rows", {"logits": np.zeros((1024, 3))}),
    ("nll_loss of float32, terms (1.0,), denominators of the rows", {"loss": xe.nll_loss}),
    ("cross_entropy of float32, terms (1.0,), denominators (1.0,)", {"reduction": "sum"}),
    ("cross_entropy of float32, terms (1.0,), denominators (2.0,)", {"denominator": 2}),
], ids=["dtype", "loss", "reduction", "denominator"])
def test_ranks_that_compute_different_losses(text, bad):
    for error in outcomes(3, lambda comm: bad_call(comm, bad)):
        assert type(error) is ValueError
        wanted = "cross_entropy of float32, terms (1.0,), denominators of the rows"
        assert str(error) == f"rank 1 computes {text}: expected {wanted}, as rank 0 does"


@pytest.mark.parametrize(("text", "options", "bad"), [
    ("start was given on some of the ranks: expected it on all of them or on none", {}, {"start": 1024}),
    ("the rows from 0 to 1024 are in two parts", {"start": 0}, {}),
    ("the rows from 1024 to 2048 are in no part", {"start": 0}, {"start": 2048}),
], ids=lambda x: x if isinstance(x, str) else "")
def test_rows_that_do_not_fit_together(text, options, bad):
    for error in outcomes(2 if "no part" in text else 3, lambda comm: bad_call(comm, bad, **options)):
        assert type(error) is ValueError
        assert str(error) == text


def test_an_error_while_the_losses_are_computed(monkeypatch):
    """What is only found in the second pass, as memory that there is not, ends the other ranks too."""
    def losses(call, *_):
        if call.arguments[0].shape[1] == 4:
            raise MemoryError("no memory")
        return computed(call, *_)

    from crossent.parallel._row_sums import LossCall
    computed = LossCall.losses
    monkeypatch.setattr(LossCall, "losses", losses)
    results = outcomes(3, lambda comm: bad_call(comm, {"logits": np.zeros((1024, 4), np.float32)}))
    assert [(type(error), str(error)) for error in results] == [
        (MemoryError, "rank 1: no memory"), (MemoryError, "no memory"), (MemoryError, "rank 1: no memory")]


@pytest.mark.parametrize(("error", "bad"), [
    (IndexError, {"target": np.full(1024, 3)}),
    (TypeError, {"grad_out": np.zeros((1024, 3))}),
    (ValueError, {"grad_out": np.zeros((1024, 4), np.float32)}),
], ids=("target", "dtype", "shape"))
def test_nothing_is_written_before_an_error(error, bad):
    kept = np.full((1024, 3), 7, np.float32)
    results = outcomes(3, lambda comm: bad_call(comm, bad, return_grad=True, grad_out=kept if comm.rank == 0 else None))
    assert [type(result) for result in results] == [error] * 3
    assert (kept == 7).all()


def test_bad_targets_of_denominator():
    def work(comm):
        return parallel.denominator([0, 5] if comm.rank else [0, 1], comm, weight=[1.0, 2.0])

    first, second = outcomes(2, work)
    assert type(first) is type(second) is IndexError
    assert str(second) == "target[1] is 5, outside [0, 2) and not ignore_index (-100)"


@pytest.mark.parametrize(("error", "text", "target", "options"), [
    (IndexError, r"target\[0\] is -1, outside \[0, ", [-1], {}),
    (TypeError, "target has dtype float64: expected class indices", [0.5], {}),
    (ValueError, r"weight has shape \(2, 1\): expected \(2,\)", [0], {"weight": [[1.0], [2.0]]}),
    (ValueError, r"weight\[0\] is -1.0: expected a finite number", [0], {"weight": [-1.0]}),
    (TypeError, "weight has dtype <U1", [0], {"weight": ["a"]}),
    (ValueError, r"sample_weight has shape \(3,\): expected \(2,\)", [0, 0], {"sample_weight": [1.0, 2.0, 3.0]}),
], ids=lambda x: "")
def test_bad_arguments_of_denominator(error, text, target, options):
    [found] = outcomes(1, lambda comm: parallel.denominator(target, comm, **options))
    with pytest.raises(error, match=text):
        raise found
