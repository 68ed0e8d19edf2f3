"""The caller's floating-point environment, whatever it is, is as it was after a call, and changes no result.

Flags: those that were raised stay raised, and no other is. Rounding and flushing of subnormals, as another library may
have left them: results keep their bits. test_environment.py has chosen inputs; here hypothesis chooses.
"""

import numpy as np
import operations
import pytest
from contract.environments import ENVIRONMENTS, LIBM, X86, Changed
from hypothesis import given
from hypothesis import strategies as st
from operations import MEASURES, NORMALISERS, POINTWISE, kinds
from support import assert_same_bits

# FE_INVALID, FE_DIVBYZERO, FE_OVERFLOW, FE_UNDERFLOW, FE_INEXACT
EVERY_FLAG = 0x3D if X86 else 0x1F
SCALES = (1e-30, 1.0, 30.0, 1e30)  # subnormal and overflowing terms on the way
seeds = st.integers(0, 2**32)


def some_calls(seed, dtype, scale):
    """Functions without a loss, on logits, probabilities and an upstream gradient."""
    rng = np.random.default_rng(seed)
    x = (scale * operations.draws.some_logits(rng, np.float64)).astype(dtype)
    p, g = operations.draws.some_probabilities(rng, dtype), rng.normal(0, 1, x.shape).astype(dtype)
    arrays = {kinds.LOGITS: x, kinds.LOG_PROBABILITIES: x, kinds.PROBABILITIES: p, kinds.PER_ELEMENT: g,
              kinds.PER_ROW: g[:, 0], kinds.CLASS_INDICES: np.zeros(len(x), int)}

    def call(function):
        inputs = [arrays[kind][::-1] if name == "q" else arrays[kind] for name, kind in function.arrays.items()]
        options = {name: value for name, value in {"temperature": 0.3, "base": 2}.items() if name in function.options}
        return lambda: function.run(*inputs, **options)

    return {function.name: call(function) for function in (*NORMALISERS, *POINTWISE, *MEASURES)}


def loss_call(form, dtype, seed):
    case = list(form.cases)[-1]
    given_arrays, options = form.arguments(np.random.default_rng(seed), (dtype, dtype), case)
    function = form.function
    return lambda: function(*given_arrays, reduction="none", return_grad=True, **options)


def changed_flags(call, raised):
    """(flags that the call has raised, flags that it has cleared), having found just these raised.

    The interpreter now and then does arithmetic of its own, at a first call for example: what a call raises, it raises
    every time.
    """
    leaked, lost = EVERY_FLAG, 0
    for _ in range(3):
        LIBM.feclearexcept(EVERY_FLAG)
        LIBM.feraiseexcept(raised)
        before = LIBM.fetestexcept(EVERY_FLAG)  # x86 raises an inexact with an overflow
        call()
        after = LIBM.fetestexcept(EVERY_FLAG)
        leaked, lost = leaked & after & ~before, lost | before & ~after
    LIBM.feclearexcept(EVERY_FLAG)
    return leaked, lost


def test_flags_are_seen():
    """What a call raises or clears is found, and NumPy, which clears flags, is no such call as ours."""
    assert changed_flags(lambda: LIBM.feraiseexcept(EVERY_FLAG), 0) == (EVERY_FLAG, 0)
    assert changed_flags(lambda: LIBM.feclearexcept(EVERY_FLAG), EVERY_FLAG) == (0, EVERY_FLAG)
    assert changed_flags(lambda: None, EVERY_FLAG) == changed_flags(lambda: None, 0) == (0, 0)
    ones = np.ones(3)
    assert changed_flags(lambda: ones * ones, EVERY_FLAG)[1]


every_form = pytest.mark.parametrize("form", operations.FORMS, ids=repr)
dtypes = pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)


@every_form
@dtypes
@given(seed=seeds, raised=st.sampled_from((0, EVERY_FLAG, EVERY_FLAG & 0x15)))
def test_flags_of_losses(form, dtype, seed, raised):
    assert changed_flags(loss_call(form, dtype, seed), raised) == (0, 0)


@dtypes
@given(seed=seeds, raised=st.sampled_from((0, EVERY_FLAG)), scale=st.sampled_from(SCALES[:3]))
def test_flags_of_the_rest(dtype, seed, raised, scale):
    for name, call in some_calls(seed, dtype, scale).items():
        assert changed_flags(call, raised) == (0, 0), name


@every_form
@pytest.mark.parametrize("environment", ENVIRONMENTS)
@given(seed=seeds, dtype=st.sampled_from(operations.FLOATS))
def test_losses_in_another_environment(form, environment, seed, dtype):
    call = loss_call(form, dtype, seed)
    wanted = call()
    with Changed(*ENVIRONMENTS[environment]):
        got = call()
    for a, b in zip(got, wanted, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@given(seed=seeds, dtype=st.sampled_from(operations.FLOATS[1:]), scale=st.sampled_from(SCALES))
def test_the_rest_in_another_environment(environment, seed, dtype, scale):
    for call in some_calls(seed, dtype, scale).values():
        wanted = call()
        with Changed(*ENVIRONMENTS[environment]):
            got = call()
        assert_same_bits(got, wanted)
