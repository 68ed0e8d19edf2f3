"""The results that a call must have: the formulas of tests/fast, in float64."""

from functools import partial

import fast
import numpy as np
import operations
from operations.kinds import BIASES, PER_ROW

LOSSES = {loss.name for loss in operations.LOSSES}
WEIGHT_NAMES = ("weight", "pos_weight", "sample_weight")
OF_LOGITS = (*BIASES, "temperature")
NOT_OF_FORMULAS = ("axis", "reduction", "denominator", "return_grad", "keepdims", "dtype")


@np.errstate(all="ignore")
def wanted(call, arrays):
    """The (numbers, scales) of each result of the call: one, or two with return_grad.

    `arrays`: those that the call was given. They are computed with in the dtype that the library computes in.
    """
    seen = {name: _seen(call, name, x) for name, x in arrays.items()}
    of_loss = call.loss in LOSSES
    given = [seen[name] for name in call.spec.arrays if name in seen and not (of_loss and name == "grad_output")]
    options = {name: value for name, value in call.options.items() if name not in NOT_OF_FORMULAS}
    options |= {name: seen[name] for name in (*WEIGHT_NAMES, *OF_LOGITS) if name in seen}
    if of_loss:
        pairs = _of_loss(call, partial(fast.FORMULAS[call.loss], *given), options, seen.get("grad_output", 1.0))
    elif call.name == "information.perplexity":
        mean, scale = fast.value(fast.FORMULAS["cross_entropy"](*given, **options), "mean")
        pairs = [(np.exp(mean / fast.SCALE) * fast.SCALE, np.exp(mean / fast.SCALE) * (fast.SCALE + scale))]
    elif call.loss == "logsumexp" and not call.first.size:  # which takes rows without classes
        pairs = [(given[-1] if call.backward else np.full(len(given[-1]), -np.inf),) * 2]
    else:
        pairs = [fast.FORMULAS[call.name](*given, **options)]
    return [tuple(_shaped(call, x / fast.SCALE) for x in pair) for pair in pairs]


def _of_loss(call, formula, options, grad_output):
    parts, how, denominator = formula(**options), call.reduction, call.options.get("denominator")
    by_rows = call.loss == "kl_div" and call.axis is not None  # the formula is that of elements
    if by_rows:
        parts[0].denominators["batchmean"] = float(np.prod(call.rows))
    if not call.backward and how == "none":
        pair = sum(part.losses for part in parts), sum(part.sizes for part in parts)
        yield tuple(x.sum(axis=1) for x in pair) if by_rows else pair
    elif not call.backward:
        yield fast.value(parts, how, denominator)
    if call.backward or call.options.get("return_grad"):
        values, scales = fast.gradient(parts, how, grad_output, denominator)
        if options.get("divergence", "forward") != "forward":  # p times differences of logarithms, which are near p
            forward = formula(**{**options, "divergence": "forward"})
            scales = np.fmax(scales, fast.gradient(forward, how, grad_output, denominator)[1])
        yield values, scales


def _seen(call, name, x):
    """The array as the formulas take it: rows (N, C), an entry for each row, or elements of any shape."""
    if x.dtype.kind not in "iu" or call.axis is None:
        x = x.astype(np.float64 if call.is_transformed else call.arithmetic).astype(np.float64)
    if call.axis is None or name in ("weight", *BIASES):  # one for each class
        return x
    if name in ("sample_weight", "temperature"):
        return np.broadcast_to(x, call.rows).ravel()
    of_rows = call.spec.arrays[name] == PER_ROW or (name == "grad_output" and "softmax" not in call.name)
    if of_rows or (name == "target" and x.dtype.kind in "iu"):
        return x.ravel()
    x = np.moveaxis(x, call.axis, -1)
    x = x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
    return fast.Logits(x) if name in ("logits", "teacher_logits") else x


def _shaped(call, x):
    """(N, C) in the shape of the first array, (N,) in that of the rows."""
    x = np.asarray(x)
    if call.axis is None or not x.ndim:
        return x
    if x.ndim == 2:
        return np.moveaxis(x.reshape(*call.rows, x.shape[1]), -1, call.axis)
    return np.expand_dims(x.reshape(call.rows), call.axis) if call.options.get("keepdims") else x.reshape(call.rows)
