"""Every public function, in every direction, without and with its options: what the tests of this folder call.

`CALLS` has a name for each, as "distillation_loss_indices with options: gradient". Arguments are drawn for any shape of
two axes, (rows, classes), dtype and layout; the classes are the last axis.
"""

import numpy as np
from operations import DRAW, FORMS, FUNCTIONS, HESSIANS, MEASURES, NORMALISERS, OPTIONS, POINTWISE
from operations.kinds import PER_CLASS, PER_ELEMENT, PER_ROW, TEMPERATURES, WEIGHTS
from oracle.parts import arithmetic


class Call:
    """A public function, what its array arguments hold, and options that every call of it has."""

    def __init__(self, function, arrays, options=None):
        self.function, self.arrays, self.options = function, arrays, options or {}
        public = FUNCTIONS[function]
        self.run, self.first = public.run, public.first  # the argument that the result is like
        # The name of the argument that receives what the function writes; None if there is none.
        writes = public.out == "out" or self.options.get("return_grad") or "hess_out" in public.signature
        self.out = public.out if writes else None

    def draw(self, shape, dtype=np.float32, layout=np.asarray, seed=0):
        """Valid arguments: arrays in the dtype and the layout, and the options."""
        rng = np.random.default_rng(seed)
        arrays = {name: DRAW[kind](rng, *shape) for name, kind in self.arrays.items()}
        return {**{name: layout(a if a.dtype.kind == "i" else a.astype(dtype)) for name, a in arrays.items()},
                **self.options}

    def new_out(self, arguments):
        """An array that the function can write to."""
        x = arguments[self.first]
        if self.function == "logsumexp":
            return np.empty(x.shape[:1], arithmetic(x.dtype))
        return np.empty(x.shape, x.dtype)

    def results(self, arguments):
        """What the function returns, as a tuple."""
        returned = self.run(**arguments)
        return returned if isinstance(returned, tuple) else (returned,)


# The options that are numbers and go with any reduction.
NUMBERS = {name: option.example for name, option in OPTIONS.items()
           if isinstance(option.example, float) and not option.needs and option.bad_values}


def directions(name, form, options):
    """A form of a loss: its value, the value with the gradient, and its backward function, each of every row."""
    weights = {option: form.weights.get(option, kind) for option, kind in options.items()
               if isinstance(kind, str) and kind in WEIGHTS}
    arrays = {**form.arrays, **weights}
    options = {**{k: v for k, v in options.items() if k not in weights}, **form.fixed, "reduction": "none"}
    upstream = PER_ELEMENT if form.per_element else PER_ROW
    loss = form.loss.name
    return {f"{name}: value": Call(loss, arrays, options),
            f"{name}: gradient": Call(loss, arrays, {**options, "return_grad": True}),
            f"{name}: backward": Call(f"{loss}_backward", {"grad_output": upstream, **arrays}, options)}


def calls():
    for function in (*NORMALISERS, *POINTWISE):
        yield {function.name: Call(function.name, function.arrays)}
        if "softcap" in function.options:
            arrays = {**function.arrays, "logit_bias": PER_CLASS, "temperature": TEMPERATURES}
            softcap = {"softcap": OPTIONS["softcap"].example}
            yield {f"{function.name} with options": Call(function.name, arrays, softcap)}
    for form in FORMS:
        numbers = {name: value for name, value in NUMBERS.items() if name in form.options}
        options = {**numbers, **form.last_case, **form.weights}
        if form is form.loss.forms[0] or not options:
            yield directions(form.name, form, {})
        if options:
            yield directions(f"{form} with options", form, options)
    for function in (*HESSIANS, *MEASURES):
        yield {function.name: Call(function.name, function.arrays)}


CALLS = {name: call for some in calls() for name, call in some.items()}
