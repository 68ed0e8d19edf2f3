"""One case against one library: `check` raises AssertionError with what differs."""

import importlib

import numpy as np
from peer_bounds import bounds, loss_dtype, wide
from peer_cases import INFORMATION, NORMALISERS, Case

import crossent as xe

__all__ = ["Case", "check"]


def call(case):
    """(value, gradient or None) from crossent."""
    name, arrays = case.function, list(case.arrays.values())
    if name in INFORMATION or name == "perplexity":
        return getattr(xe.information, name.removeprefix("information_"))(*arrays, **case.options), None
    function = getattr(xe, name)
    if name in NORMALISERS or name.endswith("_backward"):
        value = function(*arrays, **case.options)
        if name != "logsumexp":
            return value, None
        g = np.ones(value.shape) if case.upstream is None else case.upstream
        return value, xe.logsumexp_backward(g, *arrays, **case.options)
    if case.upstream is None:
        return function(*arrays, **case.options, return_grad=True)
    return function(*arrays, **case.options), getattr(xe, name + "_backward")(case.upstream, *arrays, **case.options)


def peer(name, case):
    module = importlib.import_module({"optax": "peer_jax", "sklearn": "peer_scipy"}.get(name, f"peer_{name}"))
    with np.errstate(all="ignore"):
        return (module.evaluate_sklearn if name == "sklearn" else module.evaluate)(case)


def compare(what, ours, theirs, own, other, dtype):
    ours = np.asarray(ours)
    assert ours.dtype == dtype, f"{what} has dtype {ours.dtype}, not {dtype}"
    assert ours.shape == np.shape(theirs), f"{what} has shape {ours.shape}, not {np.shape(theirs)}"
    a, b = wide(ours), np.asarray(theirs, dtype=np.float64)
    allowed = np.broadcast_to(own + other, a.shape)
    import ml_dtypes
    largest = float(ml_dtypes.finfo(dtype).max)
    with np.errstate(invalid="ignore"):
        good = (np.abs(a - b) <= allowed) | (a == b) | (np.isnan(a) & np.isnan(b))
        good |= np.isinf(a) & (np.abs(b) + allowed >= largest) & (np.sign(a) == np.sign(b))
    if not good.all():
        i = np.unravel_index(np.argmin(good), good.shape)
        raise AssertionError(f"{what} at {tuple(map(int, i))}: {a[i]!r}, theirs {b[i]!r}, allowed {allowed[i]:.3g}, "
                             f"of which for rounding of ours {np.broadcast_to(own, a.shape)[i]:.3g}")


def check(case, name):
    ours = call(case)
    theirs = peer(name, case)
    limits = bounds(case)
    first = case.arrays["probs"] if case.function in ("softmax_backward", "log_softmax_backward") else case.first
    like_loss = case.function == "logsumexp" or case.function not in NORMALISERS
    loss = like_loss and not case.function.endswith("_backward")
    compare("value", ours[0], theirs[0], limits.value, limits.value_peer, loss_dtype(case) if loss else first.dtype)
    if ours[1] is not None and theirs[1] is not None:
        compare("gradient", ours[1], theirs[1], limits.grad, limits.grad_peer, first.dtype)
