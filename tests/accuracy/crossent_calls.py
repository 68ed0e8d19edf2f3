"""The calls of crossent that are measured: from a batch of a family to {operation: array}, named as in reference.py."""

from reference import SMOOTHING
from reference_pairs import ALPHA, BETA

import crossent as xe
from crossent import information


def both(name, call):
    """The value and the gradient of one call."""
    loss, gradient = call
    return {name: loss, f"{name} gradient": gradient}


def logits(batch):
    x, y, g, temperature = *(batch.rows[name] for name in "xyg"), batch.shared["temperature"]
    out = {"softmax": xe.softmax(x, temperature=temperature),
           "log_softmax": xe.log_softmax(x, temperature=temperature)}
    if temperature != 1:
        return out
    some = {"reduction": "none", "return_grad": True}
    weights = {"weight": batch.shared["w"], "sample_weight": batch.rows["v"], "label_smoothing": SMOOTHING}
    return {
        **out, "logsumexp": xe.logsumexp(x), "logsumexp_backward": xe.logsumexp_backward(g, x),
        "entropy_with_logits": information.entropy_with_logits(x),
        **both("cross_entropy", xe.cross_entropy(x, y, **some)),
        **both("cross_entropy probabilities", xe.cross_entropy(x, batch.rows["q"], **some)),
        **both("cross_entropy smoothed", xe.cross_entropy(x, y, **weights, **some)),
        "cross_entropy mean": xe.cross_entropy(x, y), "cross_entropy sum": xe.cross_entropy(x, y, reduction="sum"),
        "information.perplexity": information.perplexity(x, y)}


def divergences(batch):
    x, t, y = (batch.rows[name] for name in "xty")
    some = {"reduction": "none", "return_grad": True, "temperature": batch.shared["temperature"]}
    out = both("distillation_loss", xe.distillation_loss(x, t, y, alpha=ALPHA, **some))
    for divergence in ("forward", "reverse", "js"):
        name = f"kl_div_with_logits {divergence}"
        out.update(both(name, xe.kl_div_with_logits(x, t, divergence=divergence, beta=BETA, **some)))
        out[f"{name} relative"] = out[name]
    some = {"temperature": batch.shared["temperature"]}
    return {**out, "kl_div_with_logits forward mean": xe.kl_div_with_logits(x, t, **some)}


def binary(batch):
    x, p, y, w, pw = (batch.rows[name] for name in ("x", "p", "y", "w", "pw"))
    some = {"reduction": "none", "return_grad": True}
    with_logits = xe.binary_cross_entropy_with_logits
    return {**both("binary_cross_entropy_with_logits", with_logits(x, y, **some)),
            **both("binary_cross_entropy_with_logits weighted", with_logits(x, y, weight=w, pos_weight=pw, **some)),
            **both("binary_cross_entropy", xe.binary_cross_entropy(p, y, **some)),
            "binary_cross_entropy mean": xe.binary_cross_entropy(p, y),
            "binary_cross_entropy_with_logits mean": with_logits(x, y)}


def probabilities(batch):
    p, q, log_p, log_q, y, g = (batch.rows[name] for name in ("p", "q", "log_p", "log_q", "y", "g"))
    some = {"reduction": "none", "return_grad": True}
    return {**both("nll_loss", xe.nll_loss(log_p, y, **some)),
            **both("kl_div", xe.kl_div(log_p, q, **some)),
            **both("kl_div log_target", xe.kl_div(log_p, log_q, log_target=True, **some)),
            "softmax_backward": xe.softmax_backward(g, p), "log_softmax_backward": xe.log_softmax_backward(g, log_p),
            "information.entropy": information.entropy(p),
            "information.cross_entropy": information.cross_entropy(p, q),
            "information.kl_divergence": information.kl_divergence(p, q),
            "information.js_divergence": information.js_divergence(p, q)}


FAMILIES = {f.__name__: f for f in (logits, divergences, binary, probabilities)}
