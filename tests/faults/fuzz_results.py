"""The results that a call must have: the terms of its loss reduced, or what is no loss at all."""

import fuzz_reference as reference
import numpy as np
import operations
from fuzz_reference import column, finite, log_softmax, times


def wanted(call, arrays):
    """The (numbers, sizes) of each result of the call: one, or two with return_grad.

    `arrays`: those that the call was given. They are computed with in the dtype that the library computes in.
    """
    with np.errstate(all="ignore"):
        seen = {name: x if x.dtype.kind in "iu" and call.axis is not None else
                x.astype(call.arithmetic).astype(np.float64) for name, x in arrays.items()}
        if call.loss in LOSSES:
            return _of_loss(call, seen)
        return [_of_rows(call, seen)]


def _rows(x, axis):
    """(N, C)"""
    moved = np.moveaxis(x, axis, -1)
    return moved.reshape(int(np.prod(moved.shape[:-1])), moved.shape[-1])


def _back(x, like, axis):
    """An (N, C) array in the shape of `like`."""
    shape = np.moveaxis(like, axis, -1).shape
    return np.moveaxis(x.reshape(shape), -1, axis)


# ---- Losses ----------------------------------------------------------------------------------------------------------

LOSSES = {loss.name: getattr(reference, loss.name) for loss in operations.LOSSES}


def _of_loss(call, seen):
    axis, shape = call.axis, call.first.shape
    by_rows = axis is not None
    if by_rows:  # the class weights have one axis; what is for rows has those of the rows
        seen = {name: _rows(x, axis) if name in _LISTED or (x.shape == shape and name in _OF_CLASSES) else x
                for name, x in seen.items()}
    terms = LOSSES[call.loss](seen, call.options, call.rows)
    if call.loss == "kl_div" and by_rows:
        for term in terms:
            term.losses, term.sizes = term.losses.sum(axis=1), term.sizes.sum(axis=1)
    if call.reduction == "batchmean" and call.loss == "kl_div":
        terms[0].denominator = np.prod(call.rows if by_rows else shape[:1])
    results = [] if call.backward else [_reduced(call, terms)]
    if not call.backward and not call.options.get("return_grad"):
        return results
    upstream = seen.get("grad_output", np.float64(1.0))
    if by_rows and upstream.ndim:
        upstream = upstream.ravel()
    grad = [_gradient(call, term, upstream) for term in terms]
    pair = [sum(part) for part in zip(*grad, strict=True)]
    return [*results, tuple(_back(x, call.first, axis) for x in pair) if by_rows else tuple(pair)]


_LISTED = ("classes", "values")
_OF_CLASSES = ("logits", "log_probs", "teacher_logits", "target")


def _divisor(call, term):
    if call.reduction in ("none", "sum"):
        return 1.0
    return call.options.get("denominator", term.denominator)


def _reduced(call, terms):
    if call.reduction == "none":
        return tuple(sum(x).reshape(call.rows) for x in ([t.losses for t in terms], [t.sizes for t in terms]))
    divisors = [_divisor(call, t) or np.nan for t in terms]  # a mean over nothing is NaN
    pairs = [(t.losses.sum() / n, finite(t.sizes).sum() / abs(n)) for t, n in zip(terms, divisors, strict=True)]
    return tuple(np.asarray(sum(x)) for x in zip(*pairs, strict=True))


def _gradient(call, term, upstream):
    divisor = _divisor(call, term)
    factor = upstream / divisor if divisor else upstream * 0  # the gradient of a mean over nothing is 0
    if call.axis is not None and factor.ndim:
        factor = column(factor)
    return times(factor, term.grads), times(np.abs(factor), term.grad_sizes)


# ---- Everything else -------------------------------------------------------------------------------------------------


def _of_rows(call, seen):
    """(numbers, sizes)"""
    function = FUNCTIONS[call.name]
    if call.axis is None:
        return function(call, seen)
    arrays = {name: _rows(x, call.axis) if x.shape == call.first.shape else x for name, x in seen.items()}
    if ("grad_output" in arrays and arrays["grad_output"].ndim != 2) or call.name == "logsumexp_backward":
        arrays["grad_output"] = seen["grad_output"].reshape(-1, 1)
    pair = function(call, arrays)
    if call.name == "information.perplexity":
        return pair
    if pair[0].ndim == 2:
        return tuple(_back(x, call.first, call.axis) for x in pair)
    shape = call.rows
    if call.options.get("keepdims"):
        shape = (*shape[:call.axis], 1, *shape[call.axis:])
    return tuple(x.reshape(shape) for x in pair)


def _logsumexp(call, a):
    x = a["x"]
    if not x.size:
        return np.full(len(x), -np.inf), np.zeros(len(x))
    top = x.max(axis=1)
    rest = np.log(np.exp(x - column(top)).sum(axis=1))
    return np.where(np.isfinite(top), top + rest, top), finite(top) + finite(rest)


def _sigmoid(call, a):
    p = reference.sigmoid(a["x"])
    return p, p


def _log_sigmoid(call, a):
    log_p = -reference.softplus(-a["x"])
    return log_p, finite(log_p)


def _softmax(call, a):
    p = np.exp(log_softmax(a["x"], call.options.get("temperature", 1.0)))
    return p, p


def _log_softmax(call, a):
    log_p = log_softmax(a["x"], call.options.get("temperature", 1.0))
    return log_p, finite(log_p)


def _softmax_backward(call, a):
    g, p, t = a["grad_output"], a["probs"], call.options.get("temperature", 1.0)
    inner, size = (g * p).sum(axis=1, keepdims=True), np.abs(g * p).sum(axis=1, keepdims=True)
    return p * (g - inner) / t, p * (np.abs(g) + size) / t


def _log_softmax_backward(call, a):
    g, p, t = a["grad_output"], np.exp(a["log_probs"]), call.options.get("temperature", 1.0)
    total, size = g.sum(axis=1, keepdims=True), np.abs(g).sum(axis=1, keepdims=True)
    return (g - p * total) / t, (np.abs(g) + p * size) / t


def _logsumexp_backward(call, a):
    x = a["x"]
    p = np.where(np.isneginf(x).all(axis=1, keepdims=True), 0.0, np.exp(log_softmax(x)))
    grad = times(a["grad_output"], p)
    return grad, np.abs(grad)


def _log(x, call):
    base = call.options.get("base")
    return np.log(x) / (1.0 if base is None else np.log(base))


def _entropy(call, a):
    terms = times(a["p"], -_log(a["p"], call))
    return terms.sum(axis=1), np.abs(terms).sum(axis=1)


def _cross_entropy(call, a):
    terms = times(a["p"], -_log(a["q"], call))
    return terms.sum(axis=1), np.abs(terms).sum(axis=1)


def _kl_divergence(call, a):
    p, log_p, log_q = a["p"], _log(a["p"], call), _log(a["q"], call)
    return times(p, log_p - log_q).sum(axis=1), times(p, finite(log_p) + finite(log_q)).sum(axis=1)


def _js_divergence(call, a):
    nats = _log(np.e, call)
    # log(p / m) by the difference of p and q: the rounding of m would be an error where they are close.
    terms = [times(p, -np.log1p((q - p) / (2 * p))) / 2 * nats for p, q in ((a["p"], a["q"]), (a["q"], a["p"]))]
    return sum(terms).sum(axis=1), sum(np.abs(x) for x in terms).sum(axis=1)


def _entropy_with_logits(call, a):
    log_p = log_softmax(a["logits"])
    values = times(np.exp(log_p), -log_p).sum(axis=1)
    return values, values


def _perplexity(call, a):
    term, = reference.cross_entropy(a, call.options, call.rows)
    mean = term.losses.sum() / term.denominator
    return np.exp(mean), np.exp(mean) * (1 + mean)


FUNCTIONS = {
    "sigmoid": _sigmoid, "log_sigmoid": _log_sigmoid,
    "softmax": _softmax, "log_softmax": _log_softmax, "logsumexp": _logsumexp,
    "softmax_backward": _softmax_backward, "log_softmax_backward": _log_softmax_backward,
    "logsumexp_backward": _logsumexp_backward, "information.entropy": _entropy,
    "information.cross_entropy": _cross_entropy, "information.kl_divergence": _kl_divergence,
    "information.js_divergence": _js_divergence, "information.entropy_with_logits": _entropy_with_logits,
    "information.perplexity": _perplexity,
}
