"""Ordinary arguments pass in the bindings, all others by way of Python: the same results, the same errors, no leaks."""

import sys

import numpy as np
import pytest
from contract.bad_calls import (
    FORWARD,
    INFORMATION,
    OF_INDICES,
    OF_PROBABILITIES,
    VALID,
    WITH_OUTPUT,
    P,
    buffer_of,
    loss_functions,
    result_shape,
)
from contract.odd_calls import NAMES, VARIANTS, Derived, Wrapped, arguments_of, results
from support import assert_same_bits

from crossent import _core

ARRAYS = [(name, argument) for name in NAMES for argument, value in arguments_of(name).items()
          if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_same_results(name, argument, variant):
    arguments = arguments_of(name)
    odd = {**arguments, argument: VARIANTS[variant](arguments[argument])}
    for got, wanted in zip(results(name, **odd), results(name, **arguments), strict=True):
        assert type(got) is type(wanted)
        assert_same_bits(got, wanted)


@pytest.mark.parametrize("variant", ["derived", "wrapped"])
@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_same_errors(name, argument, variant):
    """Bad shapes and bad values, whether the bindings or Python see them first."""
    arguments = arguments_of(name)
    good = arguments[argument]
    bad = [good[:1], good[..., :1], good[None], np.zeros((0, *good.shape[1:]), good.dtype), good > 0, good.astype("c8")]
    for value in (-1, 7) if good.dtype.kind == "i" else (-1.0, np.nan, np.inf, 1e308):
        bad.append(good.copy())
        bad[-1][-1] = value
    refused = 0
    for array in bad:
        wanted = results(name, **{**arguments, argument: array})
        got = results(name, **{**arguments, argument: VARIANTS[variant](array)})
        if isinstance(wanted[0], type):
            refused += 1
            assert got == wanted
        else:
            for g, w in zip(got, wanted, strict=True):
                assert_same_bits(g, w)
    assert refused


@pytest.mark.parametrize("code", "bhilqBHILQ")
def test_every_integer_dtype(code):
    for name in (name for name in FORWARD if name in OF_INDICES):
        wanted = results(name, **VALID[name])
        for dtype in (np.dtype(code), np.dtype(code).newbyteorder("S")):
            target = VALID[name]["target"].astype(dtype)
            for got, value in zip(results(name, **{**VALID[name], "target": target}), wanted, strict=True):
                assert_same_bits(got, value)


@pytest.mark.parametrize(("name", "argument", "values"), [
    ("softmax", "temperature", (2, 2.0, np.float32(2), np.int8(2), np.array(2))),
    ("softmax", "axis", (-1, 1, np.int64(1), np.array(-1), True)),
    ("logsumexp", "keepdims", (True, 1, np.True_)),
    ("cross_entropy", "axis", (None, 1, -1, np.uint8(1))),
    ("cross_entropy", "ignore_index", (2, np.int8(2), np.uint64(2), np.array(2))),
    ("cross_entropy", "label_smoothing", (0.25, np.float16(0.25), np.array(0.25))),
    ("cross_entropy", "label_smoothing", (1, 1.0, np.int64(1))),
    ("cross_entropy", "denominator", (4, 4.0, np.float64(4), np.array(4))),
    ("cross_entropy", "sample_weight", (2.0, 2, np.float32(2), np.full(1, 2.0), np.full(2, 2.0), [2.0, 2.0])),
    ("cross_entropy_backward", "grad_output", (3.0, 3, np.float32(3), np.array(3.0), np.array(3.0, ">f4"))),
    ("binary_cross_entropy", "log_floor", (-1, -1.0, np.float32(-1))),
    ("binary_cross_entropy", "log_floor", (None, -np.inf, np.float32("-inf"))),
    ("kl_div_with_logits", "reduction", ("mean", "batchmean", "".join(["me", "an"]))),
    ("kl_div", "log_target", (False, 0, None, np.False_)),
    ("distillation_loss", "alpha", (None, 0.5, np.float32(0.5))),
    ("information.entropy", "base", (2, 2.0, np.int64(2)))])
def test_same_results_of_other_spellings(name, argument, values):
    wanted = results(name, **{**VALID[name], argument: values[0]})
    for value in values[1:]:
        for got, first in zip(results(name, **{**VALID[name], argument: value}), wanted, strict=True):
            assert_same_bits(got, first)


class Flag(int):
    pass


@pytest.mark.parametrize(("argument", "bad", "kind"), [
    ("axis", 2**70, np.exceptions.AxisError), ("axis", -(2**70), np.exceptions.AxisError), ("axis", None, None),
    ("temperature", 2**70, TypeError), ("temperature", 10**400, TypeError), ("temperature", 5e-324, None),
    ("temperature", Flag(2), None), ("temperature", True, TypeError), ("temperature", None, TypeError),
    ("log_floor", -(2**70), TypeError), ("log_floor", 2**70, TypeError), ("log_floor", False, TypeError)])
def test_numbers_beyond_64_bits_and_of_other_types(argument, bad, kind):
    name = "binary_cross_entropy" if argument == "log_floor" else "softmax"
    outcome = results(name, **{**VALID[name], argument: bad})
    assert outcome[0] is kind if kind else isinstance(outcome[0], np.ndarray)


@pytest.mark.parametrize(("value", "kind"), [
    (2**63, ValueError), (-(2**63) - 1, ValueError), (-(2**63), None), (True, TypeError)])
def test_ignore_index_beyond_64_bits(value, kind):
    outcome = results("cross_entropy", **VALID["cross_entropy"], ignore_index=value)
    assert (outcome[0] is kind) if kind else outcome[0] > 0


def test_denominator_is_not_for_batchmean():
    for name in loss_functions(lambda loss: "batchmean" in loss.reductions):
        got = results(name, **VALID[name], reduction="batchmean", denominator=2.0)
        assert got[0] is ValueError
        assert "denominator" in got[1]
        assert "'batchmean'" in got[1]


@pytest.mark.parametrize("value", [-1e-300, np.nan, np.inf, -np.inf])
def test_values_of_both_distributions_of_information(value):
    for name in (name for name in INFORMATION if "p" in VALID[name]):
        for argument in VALID[name]:
            bad = P.copy()
            bad[1, 2] = value
            for variant in (np.asarray, lambda a: a.view(Derived), np.ndarray.tolist):
                got = results(name, **{**VALID[name], argument: variant(bad)})
                assert got[0] is ValueError
                assert got[1].startswith(f"{argument}[1, 2] is {value}")


def test_ignore_index_is_not_for_probabilities():
    for name in (*OF_PROBABILITIES, "information.perplexity"):
        for target in (P, P.view(Derived), P.astype("f4"), P.tolist()):
            for ignore_index in (0, -1, None):
                got = results(name, **{**VALID[name], "target": target, "ignore_index": ignore_index})
                assert got[0] is ValueError
                assert "ignore_index" in got[1]


# ---- References ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_reference_is_kept_or_lost(name):
    """In calls that succeed, by either way, and in calls that fail."""
    arguments = {key: np.array(value) if isinstance(value, np.ndarray) else value
                 for key, value in arguments_of(name).items()}
    first = next(key for key in arguments if key != "grad_output")
    x = arguments[first]
    calls = [arguments, {**arguments, first: x.view(Derived)}, {**arguments, first: Wrapped(x)},
             {**arguments, first: x.astype(object)}, {**arguments, first: x[:, :0]}, {**arguments, first: x + np.nan}]
    if name in WITH_OUTPUT:
        out = np.zeros(result_shape(name))
        calls += [{**arguments, buffer_of(name)[0]: out}, {**arguments, buffer_of(name)[0]: out[:1]}]
    watched = [*filter(lambda value: isinstance(value, np.ndarray), arguments.values()), x.dtype, np.dtype(np.float32),
               _core.thread_limits.get()]

    def counts():
        for call in calls:
            results(name, **call)
        return [sys.getrefcount(value) for value in watched]

    counts()
    before = counts()
    for _ in range(50):
        after = counts()
    assert after == before
