"""What is refused, and when; positions are those among all rows."""

import numpy as np
import pytest

pytest.importorskip("dask.array", reason="an optional library: the session adapters has it")

import dask
import dask.array as da

import crossent as xe
import crossent.dask as xd
from crossent import evaluation


@pytest.fixture(autouse=True)
def in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def logits(rows=10, classes=4):
    return da.from_array(np.random.default_rng(0).normal(size=(rows, classes)), (3, 2))


def lazy(x, chunks=4):
    return da.from_array(np.asarray(x), chunks)


TARGET = np.arange(10) % 4
OUTSIDE = np.where(np.arange(10) == 7, 4, TARGET)


@pytest.mark.parametrize("call", [
    xd.row_statistics,
    xd.evaluate,
    lambda x, t, **options: xd.compare(x, x, t, **options),
])
def test_target_out_of_range(call):
    lazy_result = call(logits(), lazy(OUTSIDE), compute=False)  # nothing is known of values yet
    with pytest.raises(IndexError, match=r"^target\[7\] is 4, outside \[0, 4\) and not ignore_index \(-100\)$"):
        dask.compute(lazy_result)


def test_position_of_more_axes():
    x, target = np.zeros((6, 3, 5)), np.zeros((6, 5), int)
    target[4, 3] = 3
    with pytest.raises(IndexError, match=r"^target\[4, 3\] is 3"):
        xd.row_statistics(da.from_array(x, (2, 3, 2)), da.from_array(target, (3, 5)), axis=1)


def test_nan():
    x = logits().compute()
    x[8, 1] = np.nan
    with pytest.raises(ValueError, match=r"^logits\[8\] has a NaN or an infinite maximum: skip_nan leaves"):
        xd.evaluate(lazy(x, (3, 4)), lazy(TARGET))
    with pytest.raises(ValueError, match=r"^other\[8\] has a NaN"):
        xd.compare(logits(), lazy(x, (3, 4)))


@pytest.mark.parametrize("function, plain, arguments, options", [
    ("row_statistics", xe, (logits(), lazy(TARGET[:9])), {}),
    ("row_statistics", xe, (logits(), lazy(TARGET * 1.0)), {}),
    ("row_statistics", xe, (logits(), lazy(TARGET)), {"axis": 2}),
    ("row_statistics", xe, (logits(), lazy(TARGET)), {"top_k": 5}),
    ("row_statistics", xe, (logits(), lazy(TARGET)), {"n_classes": 0}),
    ("row_statistics", xe, (logits(), lazy(TARGET)), {"temperature": 0}),
    ("row_statistics", xe, (logits().astype(complex), lazy(TARGET)), {}),
    ("row_statistics", xe, (logits()[:, :0], lazy(TARGET)), {}),
    ("evaluate", evaluation, (logits(), lazy(TARGET[:9])), {}),
    ("evaluate", evaluation, (logits(), lazy(TARGET * 1.0)), {}),
    ("evaluate", evaluation, (logits().astype(int), lazy(TARGET)), {}),
    ("evaluate", evaluation, (logits()[0], lazy(TARGET)), {}),
    ("evaluate", evaluation, (logits(), lazy(TARGET)), {"bins": 0}),
    ("evaluate", evaluation, (logits(), lazy(TARGET)), {"blocks": [1, 2]}),
    ("evaluate", evaluation, (logits(), lazy(TARGET)), {"temperature": -1.0}),
    ("evaluate", evaluation, (logits(), lazy(TARGET)), {"temperature": np.ones(10)}),
    ("evaluate", evaluation, (logits(), lazy(TARGET)), {"softcap": 0.0}),
    ("evaluate", evaluation, (logits(), lazy(TARGET)), {"logit_bias": np.zeros(5)}),
    ("evaluate", evaluation, (logits(), lazy(TARGET)), {"logit_bias": [0.0, np.nan, 0.0, 0.0]}),
    ("evaluate", evaluation, (logits(), lazy(TARGET)), {"vocab_size": 5}),
    ("evaluate", evaluation, (None, lazy(TARGET)), {}),
    ("compare", evaluation, (logits(), logits(9)), {}),
    ("compare", evaluation, (logits(), logits(10, 5)), {}),
    ("compare", evaluation, (logits(), logits(), lazy(TARGET[:3])), {}),
    ("compare", evaluation, (logits(), logits()), {"base_softcap": np.inf}),
    ("compare", evaluation, (logits(), logits()), {"other_logit_bias": np.zeros(3)}),
    ("compare", evaluation, (logits(), logits()), {"worst": -1}),
    ("compare", evaluation, (logits(), logits()), {"llama": True}),
])
def test_messages_are_those_of_numpy(function, plain, arguments, options):
    """By the call: nothing is computed yet."""
    def raised(module, *given):
        with pytest.raises((TypeError, ValueError, np.exceptions.AxisError)) as error:
            getattr(module, function)(*given, **options, **({"compute": False} if module is xd else {}))
        return error.type, str(error.value)

    assert raised(xd, *arguments) == raised(plain, *dask.compute(*arguments))


def test_rows_at_a_time():
    with pytest.raises(ValueError, match="rows_at_a_time is 0"):
        xd.evaluate(np.zeros((3, 2)), np.array([0, 1, 1]), rows_at_a_time=0)


def test_unknown_chunks():
    """Of a selection by values, or of a data frame."""
    x = logits()
    some = x[x[:, 0] > 0]
    chosen = lazy(TARGET)[lazy(TARGET) > 1]
    for call in (lambda: xd.row_statistics(some), lambda: xd.evaluate(some, TARGET), lambda: xd.compare(some, x)):
        with pytest.raises(ValueError, match=r"(logits|base) has chunks of unknown sizes: expected known ones"):
            call()
    for call in (lambda: xd.row_statistics(x, chosen), lambda: xd.evaluate(x, chosen)):
        with pytest.raises(ValueError, match="target has chunks of unknown sizes"):
            call()
    with pytest.raises(ValueError, match="blocks has chunks of unknown sizes"):
        xd.evaluate(x, TARGET, blocks=chosen)
    some.compute_chunk_sizes()
    assert xd.evaluate(some, TARGET[:some.shape[0]]).tokens == some.shape[0]


@pytest.mark.parametrize("rows", [0, 10])
def test_no_row_is_left(rows):
    target = np.full(rows, -100)
    x = logits(rows)
    with pytest.raises(ValueError, match=f"^no row is left: {rows} are ignored, 0 have a NaN"):
        xd.evaluate(x, lazy(target))
    with pytest.raises(ValueError, match=f"^no row is left: {rows} are ignored, 0 have a NaN"):
        xd.compare(x, x, lazy(target))
    found = xd.row_statistics(x, lazy(target), top_k=2)
    assert found.top_k.shape == (rows, 2) and np.isnan(found.log_prob).all()
