"""softcap, bias, and a temperature for each row: the bits of NumPy's functions, derivatives, and errors."""

import functools
import re

import numpy as np
import pytest
from support import assert_same_bits

jax = pytest.importorskip("jax", reason="an optional library: the session adapters has it")
import jax.numpy as jnp  # noqa: E402

import crossent as xe  # noqa: E402
import crossent.jax as xj  # noqa: E402

N, C = 6, 5
TARGET = np.array([0, 4, -100, 2, 1, 1])
BIAS = np.float32([0.5, -1, 0.25, -np.inf, 0])  # without the class 3, which is no target
TEMPERATURES = np.linspace(0.5, 3, N)
STUDENT = {"temperature": TEMPERATURES, "softcap": 4.0, "logit_bias": BIAS}
BOTH = {**STUDENT, "teacher_softcap": 5.0, "teacher_logit_bias": BIAS + 1}
CASES = {
    "cross_entropy": ("cross_entropy", (TARGET,), {**STUDENT, "z_loss": 0.3}),
    "softcap alone": ("cross_entropy", (TARGET,), {"softcap": 4.0, "temperature": 2.0}),
    "bias alone": ("cross_entropy", (TARGET,), {"logit_bias": BIAS}),
    "one temperature in an array": ("cross_entropy", (TARGET,), {"temperature": np.float32([0.7])}),
    "kl_div_with_logits": ("kl_div_with_logits", (), BOTH),
    "js": ("kl_div_with_logits", (), {**BOTH, "divergence": "js", "beta": 0.3}),
    "teacher alone": ("kl_div_with_logits", (), {"teacher_softcap": 3.0}),
    "distillation_loss": ("distillation_loss", (TARGET,), BOTH),
    "distillation_loss without a target": ("distillation_loss", (), {**BOTH, "scale_by_temperature": False}),
}


@pytest.fixture(autouse=True)
def wide_numbers():
    with jax.enable_x64(True):
        yield


def split(options):
    """(arrays, the rest) of the options."""
    arrays = {name: value for name, value in options.items() if isinstance(value, np.ndarray)}
    return arrays, {name: value for name, value in options.items() if name not in arrays}


@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("case", CASES)
def test_losses(case, reduction, dtype, backend, rng):
    name, others, options = CASES[case]
    x, teacher = rng.normal(0, 3, (2, N, C)).astype(dtype)
    others = others if name == "cross_entropy" else (teacher, *others)
    expected = getattr(xe, name)(x, *others, **options, reduction=reduction, return_grad=True)
    arrays, options = split(options)

    @jax.jit
    def both(x, arrays):
        value = lambda x: getattr(xj, name)(x, *others, **arrays, **options, reduction=reduction)
        loss, backward = jax.vjp(value, x)
        return loss, backward(jnp.ones_like(loss))[0]

    loss, grad = both(x, arrays)
    assert_same_bits(loss, expected[0])
    assert_same_bits(grad, expected[1])


@pytest.mark.parametrize(
    "options", [{"temperature": 2.0}, {"logit_bias": BIAS}, {"temperature": TEMPERATURES}, STUDENT],
    ids=lambda o: "-".join(o))
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_normalisers(name, options, dtype, backend, rng):
    """The gradient beside JAX's own in float64. A float32 one has the rounding of the result and of two products; of
    the entries of a log_softmax in a sum of five terms."""
    x, g = rng.normal(0, 3, (2, N, C)).astype(dtype)
    if name == "log_softmax" and "logit_bias" in options:
        g[:, np.isneginf(BIAS)] = 0  # JAX's is NaN there
    result, backward = jax.vjp(lambda x: getattr(xj, name)(x, 1, **options), x)
    assert_same_bits(result, getattr(xe, name)(x, 1, **options))

    def composed(x):
        cap, temperature = options.get("softcap"), options.get("temperature", 1.0)
        z = x if cap is None else cap * jnp.tanh(x / cap)
        z = (z + options.get("logit_bias", 0.0)) / jnp.reshape(temperature, (-1, 1))
        return getattr(jax.nn, name)(z, 1)

    (wanted,) = jax.vjp(composed, x.astype(np.float64))[1](g.astype(np.float64))
    (gradient,) = backward(jnp.asarray(g))
    assert gradient.dtype == dtype
    np.testing.assert_allclose(gradient, wanted, rtol=0, atol=32 * np.finfo(dtype).eps * np.abs(wanted).max())


def test_composed_in_float64(backend, rng):
    """Loss and gradient of the formula in JAX's own functions: their rounding, and no more."""
    x = rng.normal(0, 3, (N, C))
    y = np.array([0, 4, 2, 2, 1, 1])

    def composed(x):
        z = (4 * jnp.tanh(x / 4) + BIAS) / TEMPERATURES[:, None]
        return -jnp.take_along_axis(jax.nn.log_softmax(z, 1), y[:, None], 1).mean()

    functions = functools.partial(xj.cross_entropy, target=y, **STUDENT), composed
    ours, theirs = (jax.value_and_grad(f)(x) for f in functions)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ["cross_entropy", "softmax"])
def test_vmap(name, backend, rng):
    x, t = rng.normal(0, 3, (3, N, C)).astype(np.float32), rng.uniform(0.5, 2, (3, N))
    b = rng.normal(0, 1, (3, C)).astype(np.float32)

    def call(module, x, t, b):
        options = {"temperature": t, "logit_bias": b, "softcap": 3.0}
        return module.softmax(x, **options) if name == "softmax" else module.cross_entropy(x, TARGET, **options)

    ours = jax.vmap(functools.partial(call, xj))(x, t, b)
    assert_same_bits(ours, np.stack([call(xe, *each) for each in zip(x, t, b, strict=True)]))
    shared = jax.vmap(functools.partial(call, xj), (0, None, None))(x, t[0], b[0])
    assert_same_bits(shared, np.stack([call(xe, each, t[0], b[0]) for each in x]))
    gradient = jax.grad(lambda x, t, b: call(xj, x, t, b).sum())
    assert_same_bits(jax.vmap(gradient)(x, t, b), np.stack([gradient(*each) for each in zip(x, t, b, strict=True)]))


@pytest.mark.parametrize("options", [
    {"temperature": np.ones(N - 1)}, {"temperature": np.ones((N, C))}, {"temperature": -1.0}, {"temperature": "1"},
    {"logit_bias": np.ones(C + 1)}, {"logit_bias": 1.0}, {"softcap": 0.0}, {"softcap": "4"}, {"softcap": np.inf},
])
@pytest.mark.parametrize("name", ["cross_entropy", "log_softmax"])
def test_refused_when_traced(name, options):
    messages = []
    for module in (xe, xj):
        arguments = (np.zeros((N, C), np.float32), *((TARGET,) if name == "cross_entropy" else ()))
        with pytest.raises((TypeError, ValueError)) as raised:
            getattr(module, name)(*arguments, **options)
        messages.append((raised.type, str(raised.value)))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("options", [
    {"temperature": np.float32([1, 0, 1, 1, 1, 1])}, {"temperature": np.array([1, 1, np.nan, 1, 1, 1])},
    {"temperature": np.array([-1.5])}, {"logit_bias": np.float32([0, 0, np.inf, 0, 0])},
    {"logit_bias": np.array([np.nan, 0, 0, 0, 0])},
])
@pytest.mark.parametrize("name", ["cross_entropy", "softmax"])
def test_refused_when_it_runs(name, options, backend):
    x = np.zeros((N, C), np.float32)
    arguments = (x, TARGET) if name == "cross_entropy" else (x,)
    with pytest.raises(ValueError, match=next(iter(options))) as raised:
        getattr(xe, name)(*arguments, **options)
    computed = jax.jit(lambda options: getattr(xj, name)(*arguments, **options))
    with pytest.raises(jax.errors.JaxRuntimeError, match=re.escape(str(raised.value))):
        jax.block_until_ready(computed(options))


@pytest.mark.parametrize(("option", "value"), [("temperature", TEMPERATURES), ("logit_bias", BIAS)])
@pytest.mark.parametrize("name", ["cross_entropy", "softmax"])
def test_no_gradient_of_options(name, option, value):
    x = np.zeros((N, C), np.float32)
    arguments = (x, TARGET) if name == "cross_entropy" else (x,)
    with pytest.raises(TypeError, match=f"{name} has no gradient with respect to {option}: expected jax.lax.stop"):
        jax.grad(lambda v: getattr(xj, name)(*arguments, **{option: v}).sum())(value)
