"""The transformations of JAX: what they give is what a loop over NumPy arrays gives, to the bit."""

import functools

import numpy as np
import pytest
from support import assert_same_bits, run_python

jax = pytest.importorskip("jax", reason="an optional library: the session adapters has it")
import jax.numpy as jnp  # noqa: E402

import crossent as xe  # noqa: E402
import crossent.jax as xj  # noqa: E402

B, N, C = 4, 5, 6


@pytest.fixture
def batch(rng):
    """Examples of their own in each array, and a class weight that is the same for all."""
    return {"logits": rng.normal(0, 4, (B, N, C)).astype(np.float32), "target": rng.integers(0, C, (B, N), np.int32),
            "sample_weight": rng.uniform(0, 2, (B, N)).astype(np.float32), "weight": np.float32([0, 1, 2, 0.5, 3, 1])}


def options_of(example):
    return {name: example[name] for name in ("sample_weight", "weight")}


def loss_of(logits, target, sample_weight, weight, reduction="mean"):
    return xj.cross_entropy(logits, target, sample_weight=sample_weight, weight=weight, reduction=reduction)


def looped(batch, axes, **options):
    """Loss and gradient of each example by NumPy, stacked."""
    taken = [{name: x if axis is None else x[i] for (name, x), axis in zip(batch.items(), axes, strict=True)}
             for i in range(B)]
    results = [xe.cross_entropy(e["logits"], e["target"], **options_of(e), **options, return_grad=True) for e in taken]
    return [np.stack(part) for part in zip(*results, strict=True)]


@pytest.mark.parametrize("axes", [(0, 0, 0, None), (0, None, None, None), (0, 0, None, None), (0, None, 0, None)])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_vmap(axes, reduction, backend, batch):
    one = {name: x if axis is not None or name == "weight" else x[0]
           for (name, x), axis in zip(batch.items(), axes, strict=True)}
    losses, gradients = looped(one, axes, reduction=reduction)
    function = lambda *arrays: loss_of(*arrays, reduction=reduction)
    assert_same_bits(jax.vmap(function, axes)(*one.values()), losses)
    gradient = jax.grad(lambda *arrays: function(*arrays).sum())
    assert_same_bits(jax.vmap(gradient, axes)(*one.values()), gradients)


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_vmap_over_the_target_alone(reduction, backend, batch):
    x, y = batch["logits"][0], batch["target"]
    losses = jax.jit(jax.vmap(lambda y: xj.cross_entropy(x, y, reduction=reduction)))(y)
    assert_same_bits(losses, np.stack([xe.cross_entropy(x, t, reduction=reduction) for t in y]))


def test_vmap_of_vmap_over_other_axes(backend, batch):
    """Every row an example, examples along the last axis, and class weights of their own."""
    x, y = batch["logits"].transpose(1, 2, 0), batch["target"]
    w = np.arange(N * C, dtype=np.float32).reshape(N, C)
    by_row = jax.vmap(lambda x, y, w: xj.cross_entropy(x, y, weight=w, reduction="sum"))
    losses = jax.vmap(by_row, (2, 0, None))(x, y, w)
    expected = [xe.cross_entropy(x[n, :, b], y[b, n], weight=w[n], reduction="sum") for b, n in np.ndindex(B, N)]
    assert_same_bits(losses, np.float32(expected).reshape(B, N))


@pytest.mark.parametrize("count", [3, 600])
def test_vmap_of_other_functions(count, backend, rng):
    """Of few examples, and of as many as threads share; a weight that is broadcast over the elements of each."""
    x, z, q = (rng.normal(0, 3, (count, 3, 50)).astype(np.float32) for _ in range(3))
    y, w = xe.softmax(q), np.float32([[1], [0.5], [2]])
    for name, others, options in (("binary_cross_entropy_with_logits", (y,), {"weight": w}),
                                  ("kl_div_with_logits", (z,), {}), ("distillation_loss", (z, y), {})):
        losses = jax.vmap(functools.partial(getattr(xj, name), **options))(x, *others)
        each = [getattr(xe, name)(*arrays, **options) for arrays in zip(x, *others, strict=True)]
        assert_same_bits(losses, np.stack(each))
    assert_same_bits(jax.vmap(xj.log_softmax)(x), xe.log_softmax(x))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_array_of_the_size_of_the_logits_is_made(dtype, backend):
    """Beside the gradient; not for constants that examples share, for broadcast weights, or for a gradient times 1."""
    x, y, w = jnp.ones((64, 256), dtype), jnp.zeros((8, 64), int), jnp.ones(256)
    loss = lambda x, y: xj.cross_entropy(x, y, weight=w, sample_weight=jnp.ones(()))
    element = lambda x: xj.binary_cross_entropy_with_logits(x, x, weight=w, reduction="sum")
    for function, arrays in ((jax.value_and_grad(loss), (x, y[0])), (jax.grad(loss), (x, y[0])),
                             (jax.vmap(loss, (None, 0)), (x, y)), (element, (x,))):
        memory = jax.jit(function).lower(*arrays).compile().memory_analysis()
        assert memory.temp_size_in_bytes < x.nbytes / 4


def test_vmap_over_no_examples(backend):
    losses = jax.vmap(xj.cross_entropy)(jnp.ones((0, N, C)), jnp.zeros((0, N), int))
    assert losses.shape == (0,)


def test_jit_of_grad_and_grad_of_jit(backend, batch):
    arrays = [x if name == "weight" else x[0] for name, x in batch.items()]
    _, expected = xe.cross_entropy(*arrays[:2], sample_weight=arrays[2], weight=arrays[3], return_grad=True)
    for gradient in (jax.grad(loss_of), jax.jit(jax.grad(loss_of)), jax.grad(jax.jit(loss_of)),
                     jax.grad(jax.checkpoint(loss_of)), jax.jit(jax.grad(jax.checkpoint(loss_of)))):
        assert_same_bits(gradient(*arrays), expected)


@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_checkpoint_computes_the_loss_again(reduction, dtype, backend, rng):
    """A layer and its loss: the gradients are those without jax.checkpoint, through a loop that is compiled once."""
    x, w = rng.normal(size=(3, 8, 4)).astype(np.float32), jnp.asarray(rng.normal(size=(4, C)), dtype)
    y = rng.integers(0, C, (3, 8))

    def total(w, layer):
        step = lambda sum, xy: (sum + layer(w, *xy), None)
        return jax.lax.scan(step, 0.0, (x, y))[0]

    layer = lambda w, x, y: xj.cross_entropy(x.astype(dtype) @ w, y, reduction=reduction).mean()
    plain, again = (jax.jit(jax.grad(lambda w, f=f: total(w, f)))(w) for f in (layer, jax.checkpoint(layer)))
    assert np.asarray(plain, np.float32).any()
    assert_same_bits(plain, again)


def test_loss_scale_in_half_precision(backend):
    """The upstream gradient multiplies before the result is rounded: 2^16 / 70,000 rows is no 0 in float16."""
    x, y = np.zeros((70_000, 2), np.float16), np.zeros(70_000, np.int32)
    grad = jax.grad(lambda x: 2.0**16 * xj.cross_entropy(x, y))(x)
    assert_same_bits(grad, xe.cross_entropy_backward(2.0**16, x, y))
    assert grad.any()


def test_loss_that_a_gradient_does_not_use(backend, batch):
    x, y = batch["logits"][0], batch["target"][0]
    grad = jax.grad(lambda x: (x.sum(), xj.cross_entropy(x, y))[0])(x)
    assert (grad == 1).all()
    _, grad = jax.value_and_grad(lambda x: (x.sum(), xj.cross_entropy(x, y)), has_aux=True)(x)
    assert (grad == 1).all()
    grad = jax.grad(lambda x: xj.cross_entropy(jax.lax.stop_gradient(x), y) + x.sum())(x)
    assert (grad == 1).all()


def test_gradient_of_the_constant_arguments(backend, batch):
    """Refused unless it is said that they are constants; arguments that nothing is differentiated in are."""
    x, z = batch["logits"][:2]
    gradient = jax.grad(lambda x: xj.kl_div_with_logits(x, 2 * x))
    with pytest.raises(TypeError, match=r"respect to teacher_logits: expected jax.lax.stop_gradient\(teacher_logits\)"):
        gradient(x)
    with pytest.raises(TypeError, match="respect to teacher_logits"):
        jax.jit(gradient)(x)
    with pytest.raises(TypeError, match="respect to sample_weight"):
        jax.grad(lambda v: xj.kl_div_with_logits(x, z, sample_weight=v))(np.ones(N, np.float32))
    stopped = jax.grad(lambda x: xj.kl_div_with_logits(x, jax.lax.stop_gradient(2 * x)))(x)
    assert_same_bits(stopped, xe.kl_div_with_logits(x, 2 * x, return_grad=True)[1])


@pytest.mark.parametrize("derivative", [jax.hessian, jax.jacfwd, lambda f: jax.grad(lambda x: jax.grad(f)(x).sum())])
@pytest.mark.parametrize("function", [xj.cross_entropy, xj.softmax])
def test_other_derivatives_are_refused(derivative, function, backend, batch):
    x, y = batch["logits"][0], batch["target"][0]
    f = (lambda x: function(x, y)) if function is xj.cross_entropy else (lambda x: function(x)[0, 0])
    with pytest.raises((TypeError, NotImplementedError), match=r"first derivatives only|forward-mode"):
        derivative(f)(x)


def test_several_devices():
    """Arrays on other devices of the host, rows spread over devices by jit and by shard_map; the same bits."""
    run_python("""
import numpy as np, jax, crossent as xe, crossent.jax as xj
from crossent.jax import _backends
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from support import assert_same_bits
rng = np.random.default_rng(0)
x, y = rng.normal(0, 3, (64, 10)).astype(np.float32), rng.integers(0, 10, 64)
loss, grad = xe.cross_entropy(x, y, return_grad=True)
devices = jax.devices()
assert len(devices) == 4
spread = NamedSharding(Mesh(devices, "rows"), P("rows"))
for _backends.chosen in {_backends.chosen, "callback"}:
    both = jax.jit(jax.value_and_grad(xj.cross_entropy))
    for place in (devices[3], spread):
        at = jax.device_put((x, y), place)
        value, gradient = both(*at)
        assert_same_bits(value, loss)
        assert_same_bits(gradient, grad)
    assert_same_bits(both(jax.device_put(x, devices[2]), y)[1], grad)
    part = lambda x, y: jax.lax.psum(xj.cross_entropy(x, y, reduction="mean", denominator=64.0), "rows")
    total = jax.jit(jax.shard_map(part, mesh=spread.mesh, in_specs=(P("rows"), P("rows")), out_specs=P()))
    value, gradient = jax.value_and_grad(total)(*jax.device_put((x, y), spread))
    np.testing.assert_allclose(value, loss, rtol=4e-7)   # four float32 numbers are added
    assert_same_bits(gradient, grad)
    assert len(gradient.sharding.device_set) == 4
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):   # types of arrays say where they are
        value, gradient = both(*jax.device_put((x, y), NamedSharding(mesh, P("rows"))))
        assert_same_bits(value, loss)
        assert_same_bits(gradient, grad)
    parts = x.reshape(4, 16, 10), y.reshape(4, 16)
    assert_same_bits(jax.pmap(xj.cross_entropy)(*parts), np.stack([xe.cross_entropy(*part) for part in zip(*parts)]))
""", env={"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"})
