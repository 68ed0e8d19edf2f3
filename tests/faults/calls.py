"""Every public function, in every direction and with its options: what the tests of this folder call.

`CALLS` has a name for each, as "distillation_loss, classes: gradient". Arguments are drawn for any shape of two axes,
(rows, classes), dtype and layout; the classes are the last axis.
"""

import numpy as np

import crossent as xe
from crossent import information


class Call:
    """A public function, what its array arguments hold, and options that every call of it has."""

    def __init__(self, function, arrays, options=None):
        self.function, self.arrays, self.options = function, arrays, options or {}
        owner = information if function.startswith("information.") else xe
        self.run = getattr(owner, function.removeprefix("information."))

    @property
    def out(self):
        """The name of the argument that receives what the function writes; None if there is none."""
        if self.function.startswith("information."):
            return None
        if self.function.endswith("_backward") or self.function in ("softmax", "log_softmax", "logsumexp"):
            return "out"
        return "grad_out" if self.options.get("return_grad") else None

    @property
    def first(self):
        """The name of the argument that the result is like."""
        return next(name for name in self.arrays if name != "grad_output")

    def draw(self, shape, dtype=np.float32, layout=np.asarray, seed=0):
        """Valid arguments: arrays in the dtype and the layout, and the options."""
        rng = np.random.default_rng(seed)
        arrays = {name: DRAW[kind](rng, *shape) for name, kind in self.arrays.items()}
        return {**{name: layout(a if a.dtype.kind == "i" else a.astype(dtype)) for name, a in arrays.items()},
                **self.options}

    def new_out(self, arguments):
        """An array that the function can write to."""
        x = arguments[self.first]
        return np.empty(x.shape[:1] if self.function == "logsumexp" else x.shape, x.dtype)

    def results(self, arguments):
        """What the function returns, as a tuple."""
        returned = self.run(**arguments)
        return returned if isinstance(returned, tuple) else (returned,)


def normalised(rng, rows, classes):
    p = rng.uniform(0.1, 1, (rows, classes))
    return p / p.sum(axis=1, keepdims=True)


# What an array argument holds.
DRAW = {
    "logits": lambda rng, rows, classes: rng.normal(0, 3, (rows, classes)),
    "probabilities": normalised,
    "log-probabilities": lambda *shape: np.log(normalised(*shape)),
    "fractions": lambda rng, rows, classes: rng.uniform(0.1, 0.9, (rows, classes)),
    "classes": lambda rng, rows, classes: rng.integers(0, classes, rows),
    "per class": lambda rng, rows, classes: rng.uniform(0.5, 2, classes),
    "per row": lambda rng, rows, classes: rng.uniform(0.5, 2, rows),
    "per element": lambda rng, rows, classes: rng.uniform(0.5, 2, (rows, classes)),
}

NORMALISERS = {
    "softmax": Call("softmax", {"x": "logits"}),
    "log_softmax": Call("log_softmax", {"x": "logits"}),
    "logsumexp": Call("logsumexp", {"x": "logits"}),
    "softmax_backward": Call("softmax_backward", {"grad_output": "per element", "probs": "probabilities"}),
    "log_softmax_backward": Call(
        "log_softmax_backward", {"grad_output": "per element", "log_probs": "log-probabilities"}),
    "logsumexp_backward": Call("logsumexp_backward", {"grad_output": "per row", "x": "logits"}),
}

WEIGHTS = {"weight": "per class", "sample_weight": "per row"}
SMOOTHING = {"label_smoothing": 0.125}
STUDENT = {"logits": "logits", "teacher_logits": "logits"}
LOSSES = {
    "cross_entropy": ("cross_entropy", {"logits": "logits", "target": "classes"}, {}),
    "cross_entropy, weights": ("cross_entropy", {"logits": "logits", "target": "classes", **WEIGHTS}, SMOOTHING),
    "cross_entropy, probabilities":
        ("cross_entropy", {"logits": "logits", "target": "probabilities", **WEIGHTS}, SMOOTHING),
    "nll_loss": ("nll_loss", {"log_probs": "log-probabilities", "target": "classes", **WEIGHTS}, {}),
    "kl_div_with_logits": ("kl_div_with_logits", {**STUDENT, "sample_weight": "per row"}, {"temperature": 2.0}),
    "kl_div_with_logits, reverse": ("kl_div_with_logits", STUDENT, {"divergence": "reverse"}),
    "kl_div_with_logits, js": ("kl_div_with_logits", STUDENT, {"divergence": "js"}),
    "distillation_loss": ("distillation_loss", STUDENT, {"temperature": 2.0}),
    "distillation_loss, classes":
        ("distillation_loss", {**STUDENT, "target": "classes", **WEIGHTS}, {"temperature": 2.0, **SMOOTHING}),
    "distillation_loss, probabilities":
        ("distillation_loss", {**STUDENT, "target": "probabilities", **WEIGHTS}, {"divergence": "js", **SMOOTHING}),
    "binary_cross_entropy":
        ("binary_cross_entropy", {"probs": "fractions", "target": "fractions", "weight": "per element"}, {}),
    "binary_cross_entropy_with_logits":
        ("binary_cross_entropy_with_logits", {"logits": "logits", "target": "fractions", "weight": "per element",
                                              "pos_weight": "per element"}, SMOOTHING),
    "kl_div": ("kl_div", {"log_probs": "log-probabilities", "target": "probabilities"}, {}),
    "kl_div, rows": ("kl_div", {"log_probs": "log-probabilities", "target": "log-probabilities"},
                     {"log_target": True, "axis": 1}),
}
OF_ELEMENTS = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div")

MEASURES = {
    "information.entropy": Call("information.entropy", {"p": "probabilities"}),
    "information.cross_entropy": Call("information.cross_entropy", {"p": "probabilities", "q": "probabilities"}),
    "information.kl_divergence": Call("information.kl_divergence", {"p": "probabilities", "q": "probabilities"}),
    "information.js_divergence": Call("information.js_divergence", {"p": "probabilities", "q": "probabilities"}),
    "information.entropy_with_logits": Call("information.entropy_with_logits", {"logits": "logits"}),
    "information.perplexity": Call("information.perplexity", {"logits": "logits", "target": "classes"}),
}


def directions(name):
    """A loss: its value, the value with the gradient, and its backward function, each of every row."""
    function, arrays, options = LOSSES[name]
    options = {**options, "reduction": "none"}
    upstream = "per element" if name in OF_ELEMENTS else "per row"
    return {f"{name}: value": Call(function, arrays, options),
            f"{name}: gradient": Call(function, arrays, {**options, "return_grad": True}),
            f"{name}: backward": Call(f"{function}_backward", {"grad_output": upstream, **arrays}, options)}


CALLS = {**NORMALISERS, **{name: call for loss in LOSSES for name, call in directions(loss).items()}, **MEASURES}
