"""The calls of crossent that are measured: from a batch of a family to {operation: array}, named as in reference.py.

Those of losses are in the registry (`accuracy` of a form). A family is what shares its arrays: see inputs.py.
"""

from operations import CLASS_INDICES, FORMS, FRACTIONS, LOG_PROBABILITIES, LOGITS, PROBABILITIES, resolved
from reference import HESSIAN_SCALE, SMOOTHING

import crossent as xe
from crossent import information

# Names in a batch, by argument; those of targets by kind.
ARGUMENTS = {"logits": "x", "teacher_logits": "t", "probs": "p", "log_probs": "log_p",
             "weight": "w", "sample_weight": "v", "pos_weight": "pw"}
TARGETS = {CLASS_INDICES: "y", FRACTIONS: "y", PROBABILITIES: "q", LOG_PROBABILITIES: "log_q"}


def family_of(form):
    if FRACTIONS in form.arrays.values():
        return "binary"
    if "teacher_logits" in form.arrays:
        return "divergences"
    return "logits" if form.arrays[form.first] == LOGITS else "probabilities"


def array_of(batch, argument, kind):
    name = ARGUMENTS.get(argument) or TARGETS[kind]
    return batch.rows[name] if name in batch.rows else batch.shared[name]


def measured(family, batch):
    """(name, form, arrays, options) of each measured call of a loss; at a temperature, of those that take one.

    `cross_entropy`, most often without a temperature, is named apart where it has one.
    """
    temperature = batch.shared.get("temperature", 1.0)
    suffix = " temperature" if temperature != 1 and family == "logits" else ""
    for form in (form for form in FORMS if family_of(form) == family):
        for name, options in form.accuracy.items():
            if "temperature" in form.options:
                options = {**options, "temperature": temperature}
            elif temperature != 1:
                continue
            arrays = [array_of(batch, argument, kind) for argument, kind in form.arrays.items()]
            yield name + suffix, form, arrays, {
                **form.fixed, **resolved(options, lambda option, kind: array_of(batch, option, kind))}


def both(name, call):
    """The value and the gradient of one call."""
    loss, gradient = call
    return {name: loss, f"{name} gradient": gradient}


def losses(family, batch):
    out = {}
    for name, form, arrays, options in measured(family, batch):
        out |= both(name, form.function(*arrays, reduction="none", return_grad=True, **options))
        if form.loss.name == "kl_div_with_logits":  # which promises a relative error, too
            out[f"{name} relative"] = out[name]
        for reduction in form.accuracy_reductions if name == next(iter(form.accuracy)) else ():
            out[f"{name} {reduction}"] = form.function(*arrays, reduction=reduction, **options)
    return out


def logits(batch):
    x, y, g, temperature = *(batch.rows[name] for name in "xyg"), batch.shared["temperature"]
    out = {"softmax": xe.softmax(x, temperature=temperature),
           "log_softmax": xe.log_softmax(x, temperature=temperature), **losses("logits", batch)}
    if temperature != 1:
        return out
    return {**out, "logsumexp": xe.logsumexp(x), "logsumexp_backward": xe.logsumexp_backward(g, x),
            "entropy_with_logits": information.entropy_with_logits(x),
            "information.perplexity": information.perplexity(x, y)}


def second_derivatives(function, calls):
    """{name: Hessian} of {name: (arguments, options)}; the gradients have the bits of the losses'."""
    return {f"{function.__name__}{name}": function(*arguments, **options)[1]
            for name, (arguments, options) in calls.items()}


def hessians(batch):
    x, y, q, v, w = *(batch.rows[name] for name in "xyqv"), batch.shared["w"]
    weighted = {"weight": w, "sample_weight": v, "label_smoothing": SMOOTHING}
    return second_derivatives(xe.cross_entropy_gradient_hessian, {
        "": ((x, y), {}), " probabilities": ((x, q), {}), " smoothed": ((x, y), weighted),
        " scaled": ((x, y), {"hessian_scale": HESSIAN_SCALE})})


def divergences(batch):
    return losses("divergences", batch)


def binary(batch):
    x, y, w, pw = (batch.rows[name] for name in ("x", "y", "w", "pw"))
    return {**losses("binary", batch), "sigmoid": xe.sigmoid(x), "log_sigmoid": xe.log_sigmoid(x),
            **second_derivatives(xe.binary_cross_entropy_with_logits_gradient_hessian, {
                "": ((x, y), {}), " weighted": ((x, y), {"weight": w, "pos_weight": pw})})}


def probabilities(batch):
    p, q, log_p, g = (batch.rows[name] for name in ("p", "q", "log_p", "g"))
    return {**losses("probabilities", batch),
            "softmax_backward": xe.softmax_backward(g, p), "log_softmax_backward": xe.log_softmax_backward(g, log_p),
            "information.entropy": information.entropy(p),
            "information.cross_entropy": information.cross_entropy(p, q),
            "information.kl_divergence": information.kl_divergence(p, q),
            "information.js_divergence": information.js_divergence(p, q)}


FAMILIES = {f.__name__: f for f in (logits, hessians, divergences, binary, probabilities)}
