"""Losses, gradients and normalisers on JAX arrays have the bits of those on NumPy arrays."""

import inspect
import os

import numpy as np
import operations
import pytest
from operations.functions import FLOATS
from support import assert_same_bits

jax = pytest.importorskip("jax", reason="an optional library: the session adapters has it")
import jax.numpy as jnp  # noqa: E402

import crossent as xe  # noqa: E402
import crossent.jax as xj  # noqa: E402

LONG = os.environ.get("CROSSENT_JAX") == "long"
FORMS = [form for form in operations.FORMS if hasattr(xj, form.loss.name)]
CASES = [(form, case) for form in FORMS for case in form.cases if LONG or case in ("plain", list(form.cases)[-1])]
PAIRS = None if LONG else [(np.dtype(np.float32),) * 2, (operations.FLOATS[1],) * 2]
cases = pytest.mark.parametrize(
    ("form", "case", "pair"),
    [pytest.param(form, case, pair, id=f"{form.name}-{case}-{pair[0]}-{pair[1]}")
     for form, case in CASES for pair in PAIRS or form.pairs])


@pytest.fixture(autouse=True)
def wide_numbers():
    with jax.enable_x64(True):
        yield


def split(options):
    """(arrays, the rest) of the options."""
    arrays = {name: value for name, value in options.items() if isinstance(value, np.ndarray)}
    return arrays, {name: value for name, value in options.items() if name not in arrays}


@cases
def test_losses(form, case, pair, backend, rng):
    arrays, options = form.arguments(rng, pair, case)
    weights, options = split(options)
    function = getattr(xj, form.loss.name)
    for reduction in form.reductions if LONG else ("none", "mean"):
        call = {"reduction": reduction, **options}
        x, *others = arrays
        loss, grad = form.function(*arrays, **weights, **call, return_grad=True)
        upstream = rng.choice(np.array([-2.5, -1, 0.375, 3], loss.dtype), loss.shape)
        through = form.backward(upstream, *arrays, **weights, **call)

        @jax.jit
        def every_way(x, others, weights, upstream, call=call):
            value = lambda x: function(x, *others, **weights, **call)
            loss, backward = jax.vjp(value, x)
            return value(x), loss, backward(jnp.ones_like(loss))[0], backward(upstream)[0]

        value, with_gradient, ones, result = every_way(x, others, weights, upstream)
        assert_same_bits(value, loss)
        assert_same_bits(with_gradient, loss)
        assert_same_bits(ones, grad)
        if reduction == "none" or grad.dtype.itemsize == 2:
            assert_same_bits(result, through)
        else:  # a product by XLA, which flushes what is not normal
            np.testing.assert_allclose(result, grad * upstream, rtol=0, atol=np.finfo(grad.dtype).smallest_normal)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_normalisers(name, axis, dtype, backend, rng):
    x = rng.normal(0, 4, (5, 7, 6)).astype(dtype)
    g = rng.normal(0, 1, x.shape).astype(dtype)
    result, backward = jax.vjp(lambda x: getattr(xj, name)(x, axis, temperature=1.5), x)
    expected = getattr(xe, name)(x, axis, temperature=1.5)
    assert_same_bits(result, expected)
    assert_same_bits(backward(jnp.asarray(g))[0], getattr(xe, f"{name}_backward")(g, expected, axis, temperature=1.5))


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("indices", [True, False])
def test_class_axis(axis, indices, backend, rng):
    x = rng.normal(0, 4, (5, 7, 6)).astype(np.float32)
    at = 1 if axis is None else axis
    y = rng.integers(0, 5, np.delete(x.shape, at)) if indices else xe.softmax(rng.normal(size=x.shape), axis=at)
    v = rng.uniform(0, 2, 7 if axis == -1 else 6).astype(np.float32)  # broadcast over the rows
    w = rng.uniform(0, 2, x.shape[at])
    loss, grad = jax.value_and_grad(xj.cross_entropy)(x, y, axis=axis, weight=w, sample_weight=v)
    expected = xe.cross_entropy(x, y, axis=axis, weight=w, sample_weight=v, return_grad=True)
    assert_same_bits(loss, expected[0])
    assert_same_bits(grad, expected[1])


@pytest.mark.parametrize("shape", [(7,), (1, 1), (0, 3), (3, 0, 2), (2, 1)])
def test_unusual_shapes(shape, backend, rng):
    x = rng.normal(0, 4, shape).astype(np.float32)
    y = np.zeros(shape[:1] + shape[2:] if len(shape) > 1 else (1,), np.int16)
    if 0 in shape[1:2]:
        with pytest.raises(ValueError, match="at least one class"):
            xj.cross_entropy(x, y)
        return
    for reduction in ("none", "mean", "sum"):
        expected = xe.cross_entropy(x, y, reduction=reduction, return_grad=True)
        loss, backward = jax.vjp(lambda x, r=reduction: xj.cross_entropy(x, y, reduction=r), x)
        assert_same_bits(loss, expected[0])
        assert_same_bits(backward(jnp.ones_like(loss))[0], expected[1])


@pytest.mark.parametrize("kind", "bhilqBHILQ")
def test_dtypes_of_indices(kind, backend):
    x = np.float32([[1, 2, 3], [3, 0, 1]])
    assert_same_bits(xj.cross_entropy(x, np.array([2, 0], kind)), xe.cross_entropy(x, np.array([2, 0], kind)))


def test_converted_arguments(backend):
    """Lists, integers and bool; weights that are broadcast; a target of one row of its own shape."""
    assert_same_bits(xj.cross_entropy([[0, 1], [2, 1]], [1, 0]), xe.cross_entropy([[0, 1], [2, 1]], [1, 0]))
    assert_same_bits(xj.softmax([1, 2, 3]), xe.softmax([1, 2, 3]))
    x, weight = np.float32([[0.5, -1, 2]] * 4), np.float32([1, 2, 0.5])
    y = x > 0
    expected = xe.binary_cross_entropy_with_logits(x, y, weight=weight, pos_weight=2.0)
    assert_same_bits(xj.binary_cross_entropy_with_logits(x, y, weight=weight, pos_weight=2.0), expected)
    assert_same_bits(xj.cross_entropy(x, [0] * 4, sample_weight=0.5), xe.cross_entropy(x, [0] * 4, sample_weight=0.5))


def test_large(backend, rng):
    """As many rows and classes as several threads share."""
    x = rng.normal(0, 4, (300, 4000)).astype(np.float32)
    y = rng.integers(0, 4000, 300)
    loss, grad = jax.jit(jax.value_and_grad(xj.cross_entropy))(x, y)
    expected = xe.cross_entropy(x, y, return_grad=True)
    assert_same_bits(loss, expected[0])
    assert_same_bits(grad, expected[1])


@pytest.mark.parametrize("name", [name for name in xj.__all__ if hasattr(xe, name)])
def test_signatures(name):
    """Those of NumPy's functions, without what receives a result."""
    parameters = inspect.signature(getattr(xe, name)).parameters
    expected = {p: (d.kind, d.default) for p, d in parameters.items() if p not in ("return_grad", "grad_out", "out")}
    given = {p: (d.kind, d.default) for p, d in inspect.signature(getattr(xj, name)).parameters.items()}
    assert given == expected


@pytest.mark.parametrize("axis", [None, (0, 2), (-1, 1), ()])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_several_axes(backend, rng, name, axis):
    x = rng.normal(0, 4, (2, 3, 5)).astype(np.float32)
    function = getattr(xj, name)
    assert_same_bits(jax.jit(lambda x: function(x, axis=axis))(x), getattr(xe, name)(x, axis=axis))
    assert_same_bits(function(np.float32(3), axis=None), np.asarray(getattr(xe, name)(np.float32(3), axis=None)))
    assert jax.grad(lambda x: function(x, axis=axis).sum())(x).shape == x.shape


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_float32_of_a_half(backend, rng, name):
    x = jnp.asarray(rng.normal(0, 4, (3, 5)), jnp.bfloat16)
    out = getattr(xj, name)(x, dtype=np.float32)
    assert_same_bits(out, getattr(xe, name)(np.asarray(x), dtype=np.float32))
