"""The calls of crossent that are measured: from a batch of a family to {operation: array}.

Those of losses are in the registry (`accuracy` of a form), the others in FUNCTIONS. A family is what shares its arrays:
see inputs.py.
"""

import operations
from operations import FORMS, kinds, resolved

from crossent import information

# Names in a batch, by argument; those of targets by kind.
ARGUMENTS = {"logits": "x", "teacher_logits": "t", "probs": "p", "log_probs": "log_p",
             "weight": "w", "sample_weight": "v", "pos_weight": "pw"}
TARGETS = {kinds.CLASS_INDICES: "y", kinds.FRACTIONS: "y", kinds.PROBABILITIES: "q", kinds.LOG_PROBABILITIES: "log_q"}


def family_of(form):
    if kinds.FRACTIONS in form.arrays.values():
        return "binary"
    if "teacher_logits" in form.arrays:
        return "divergences"
    return "logits" if form.arrays[form.first] == kinds.LOGITS else "probabilities"


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


def functions(family, batch):
    """{name: (public function, arrays, options)}; with a temperature, of those that take one."""
    found = {}
    for name, (function, arguments, options) in FUNCTIONS[family].items():
        taken, temperature = operations.FUNCTIONS[function].options, batch.shared.get("temperature", 1.0)
        if "temperature" in taken and family == "logits":
            options = {**options, "temperature": temperature}
        elif temperature != 1:
            continue
        arrays = [batch.rows[argument] for argument in arguments.split()]
        found[name] = function, arrays, {
            option: array_of(batch, option, None) if value is ... else value for option, value in options.items()}
    return found


# Of each family, those that are no losses: {name: (function, its arguments in a batch, options)}; ... is an array.
WEIGHTED, SMOOTHED = {"weight": ..., "pos_weight": ...}, {"weight": ..., "sample_weight": ..., "label_smoothing": 0.1}
HESSIANS = ("cross_entropy_gradient_hessian", "binary_cross_entropy_with_logits_gradient_hessian")
MEASURES = {"entropy": "p", "cross_entropy": "p q", "kl_divergence": "p q", "js_divergence": "p q"}
FUNCTIONS = {
    "logits": {"softmax": ("softmax", "x", {}), "log_softmax": ("log_softmax", "x", {}),
               "logsumexp": ("logsumexp", "x", {}), "logsumexp_backward": ("logsumexp_backward", "g x", {}),
               "entropy_with_logits": ("information.entropy_with_logits", "x", {})},
    "hessians": {HESSIANS[0] + name: (HESSIANS[0], arguments, options) for name, arguments, options in (
        ("", "x y", {}), (" probabilities", "x q", {}), (" smoothed", "x y", SMOOTHED),
        (" scaled", "x y", {"hessian_scale": 1.7}))},  # as LightGBM's C / (C - 1) is one
    "divergences": {},
    "binary": {"sigmoid": ("sigmoid", "x", {}), "log_sigmoid": ("log_sigmoid", "x", {}),
               HESSIANS[1]: (HESSIANS[1], "x y", {}), HESSIANS[1] + " weighted": (HESSIANS[1], "x y", WEIGHTED)},
    "probabilities": {"softmax_backward": ("softmax_backward", "g p", {}),
                      "log_softmax_backward": ("log_softmax_backward", "g log_p", {}),
                      **{f"information.{name}": (f"information.{name}", arguments, {})
                         for name, arguments in MEASURES.items()}},
}


def calls(family):
    def of_batch(batch):
        out = losses(family, batch)
        for name, (function, arrays, options) in functions(family, batch).items():
            result = operations.FUNCTIONS[function].run(*arrays, **options)
            out[name] = result[1] if function in HESSIANS else result  # gradients have the bits of the losses'
        if family == "logits" and batch.shared["temperature"] == 1:
            out["information.perplexity"] = information.perplexity(batch.rows["x"], batch.rows["y"])
        return out
    return of_batch


FAMILIES = {family: calls(family) for family in FUNCTIONS}
