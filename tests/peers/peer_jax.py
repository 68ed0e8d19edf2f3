"""JAX and optax in float64 on the widened inputs: (value, gradient or None).

Each function is compiled once per shape, hence the few shapes.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from peer_bounds import wide

SHAPES = ((3,), (1, 2), (4, 3), (2, 10), (3, 1), (2, 5, 2), (2, 33), (1, 100))
JAX = ("softmax", "log_softmax", "logsumexp")
OPTAX = ("cross_entropy", "binary_cross_entropy_with_logits", "kl_div")
# Options that these libraries have, under whatever name; "probabilities": such targets are drawn.
ONLY = {"cross_entropy": ("probabilities", "label_smoothing", "sample_weight", "denominator"),
        "kl_div": ("axis", "denominator"), "binary_cross_entropy_with_logits": ("denominator",)}


def losses(name, x, y, axis, log_target):
    """Per row (elementwise for binary targets), as optax has it."""
    if name == "indices":
        return optax.softmax_cross_entropy_with_integer_labels(x, y, axis=axis)
    if name == "probabilities":
        return optax.softmax_cross_entropy(x, y, axis=axis)
    if name == "kl_div":
        loss = optax.losses.kl_divergence_with_log_targets if log_target else optax.losses.kl_divergence
        return loss(x, y, axis=axis)
    return optax.sigmoid_binary_cross_entropy(x, y)


@functools.cache
def compiled(name, axis, log_target=False):
    if name in JAX:
        f = getattr(jax.nn, name)
        if name != "logsumexp":
            return jax.jit(lambda x: f(x, axis=axis))
        return jax.jit(lambda x, g: (f(x, axis=axis), jax.grad(lambda z: (f(z, axis=axis) * g).sum())(x)))

    def both(x, y, g):
        value, pull = jax.vjp(lambda z: losses(name, z, y, axis, log_target), x)
        return value, pull(g)[0]

    return jax.jit(both)


def evaluate(case):
    o, x, axis = case.options, wide(case.first), case.axis
    if case.function in JAX:
        x = x / o.get("temperature", 1.0)
        if case.function != "logsumexp":
            return np.asarray(compiled(case.function, axis)(x)), None
        g = np.ones(np.delete(x.shape, axis)) if case.upstream is None else wide(case.upstream)
        return tuple(map(np.asarray, compiled(case.function, axis)(x, g)))
    name, y = case.function, case.arrays["target"]
    if name == "cross_entropy":
        name = "indices" if y.dtype.kind in "iu" else "probabilities"
    y = y.astype(np.int64) if name == "indices" else wide(y)
    if name == "kl_div" and axis is None:
        axis = x.ndim - 1
    rows = x.shape if axis is None else tuple(np.delete(x.shape, axis))
    if name == "indices":
        y = y.reshape(rows)
    if o.get("label_smoothing") and name in ("indices", "probabilities"):
        if name == "indices":
            y = np.moveaxis(np.eye(x.shape[axis])[y], -1, axis)
        name, y = "probabilities", np.asarray(optax.smooth_labels(jnp.asarray(y), o["label_smoothing"])
                                              if axis == x.ndim - 1 else
                                              (1 - o["label_smoothing"]) * y + o["label_smoothing"] / x.shape[axis])
    v = np.broadcast_to(wide(o.get("sample_weight", 1.0)), rows)
    g = np.asarray(wide(1.0 if case.upstream is None else case.upstream))
    factor, reduction = v, case.reduction
    if reduction in ("mean", "batchmean"):
        count = v.sum()
        if case.function == "kl_div" and (reduction == "mean" or "axis" not in o):
            count = x.size if reduction == "mean" else x.shape[0]
        d = o.get("denominator") or count
        factor = v / d if d else v * np.nan
    grad_factor = np.where(np.isnan(factor), 0, factor) * g
    value, grad = compiled(name, axis, o.get("log_target", False))(x, y, np.broadcast_to(grad_factor, rows))
    value = np.asarray(value) * factor
    return (value if reduction == "none" else value.sum()), np.asarray(grad)
