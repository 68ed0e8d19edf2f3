"""What a row of the registry is: a public function, or a loss with its forms."""

import fast
import numpy as np
from oracle.parts import BFLOAT16, arithmetic

import crossent as xe
from crossent import information

from .arguments import OPTIONS
from .draws import weights_of
from .exact import FORMULAS
from .kinds import PER_ELEMENT, PER_ROW, WEIGHTS, resolved

FLOATS = (np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64))
# Dtypes of the first and second argument: alike, and each with a wider and a narrower one.
PAIRS = (*((f, f) for f in FLOATS), (FLOATS[0], FLOATS[3]), (BFLOAT16, FLOATS[2]), (FLOATS[2], FLOATS[3]),
         (FLOATS[3], FLOATS[0]))
ALIKE = PAIRS[:4]
# The options that make logits of numbers; so does an array of temperatures.
TRANSFORMS = ("softcap", "logit_bias", "teacher_softcap", "teacher_logit_bias")


class Function:
    """A public function by its name ("information." for that module), its signature without the brackets, and the
    kinds of its array arguments in their order."""

    def __init__(self, name, signature, **arrays):
        self.name, self.signature, self.arrays = name, f"({signature})", arrays
        parameters = [p.partition("=")[0] for p in signature.split(", ")]
        self.first = next(argument for argument in arrays if argument != "grad_output")
        self.options = tuple(p for p in parameters if p in OPTIONS)
        self.out = next((p for p in parameters if p in ("out", "grad_out")), None)
        module = information if name.startswith("information.") else xe
        self.run = getattr(module, name.removeprefix("information."))

    def __repr__(self):
        return self.name


class Loss:
    """A loss and its backward function.

    `signature`: what the two have in common. `forms`: the ways to call it (`Form`); the tests of errors call the first.
    """

    def __init__(self, name, signature, *forms, per_element=False, batchmean=False):
        self.name, self.per_element, self.forms = name, per_element, forms
        self.reductions = ("none", "sum", "mean", *(("batchmean",) if batchmean else ()))
        arrays, upstream = forms[0].arrays, PER_ELEMENT if per_element else PER_ROW
        self.forward = Function(name, f"{signature}, return_grad=False, grad_out=None", **arrays)
        self.backward = Function(
            f"{name}_backward", f"grad_output, {signature}, out=None", grad_output=upstream, **arrays)
        self.options, self.first = self.forward.options, self.forward.first
        for form in forms:
            form.join(self)
        self.weights = {option: kind for form in forms for option, kind in form.weights.items()}


class Form:
    """One way to call a loss: what its arrays hold, and which options go with that.

    `arrays`           {argument: kind}
    `draw`             the arguments of the exact tests, in draws.py
    `fixed`            options of every call
    `lacks`            options of the loss that this form refuses
    `cases`            {name: options}, each compared with exact numbers; arrays are written as their kind. The last is
                       that of tests with a single case.
    `pairs`            dtypes of the first and the second argument
    `gradient_limit`   ULP of the larger of its terms that a gradient entry may be off
    `golden`           {name in data/golden.json: options}; a name that ends with _backward is of that function
    `accuracy`         {name in docs/explanation/accuracy.md: options}; `accuracy_reductions`: of the first of them
    """

    def __init__(self, suffix="", *, arrays, draw, golden, fixed=None, lacks=(), cases=None, pairs=PAIRS,
                 gradient_limit=4, accuracy=None, accuracy_reductions=()):
        self.suffix, self.arrays, self.draw, self.fixed, self.lacks = suffix, arrays, draw, fixed or {}, lacks
        self.cases, self.pairs, self.gradient_limit = {"plain": {}, **(cases or {})}, pairs, gradient_limit
        self.golden, self.accuracy, self.accuracy_reductions = golden, accuracy or {}, accuracy_reductions

    def join(self, loss):
        self.loss, self.name = loss, f"{loss.name}_{self.suffix}" if self.suffix else loss.name
        self.function, self.backward, self.reductions = loss.forward.run, loss.backward.run, loss.reductions
        self.first = loss.first  # the argument that results are like
        self.per_element = loss.per_element and "axis" not in self.fixed
        # Others do not have these, so that rows are also computed in the dtype of their logits.
        without = () if any(name in TRANSFORMS for case in self.cases.values() for name in case) else TRANSFORMS
        self.options = tuple(option for option in loss.options if option not in (*self.lacks, *without))
        kinds = {option: OPTIONS[option].example for option in self.options}
        self.weights = {option: PER_ELEMENT if self.per_element else kind
                        for option, kind in kinds.items() if kind in WEIGHTS}

    def __repr__(self):
        return self.name

    @property
    def last_case(self):
        return list(self.cases.values())[-1]

    def arguments(self, rng, pair, case):
        """(arrays, options) of the exact tests, the weights in the arithmetic dtype, as the library sees them."""
        dtype = arithmetic(pair[0])
        options = resolved(self.cases[case], lambda name, kind: np.array(weights_of(name, kind), dtype))
        return self.draw(rng, *pair), {**self.fixed, **options}

    def exact(self, arrays, options):
        """The parts of the loss in mpmath, of arguments in the arithmetic dtype."""
        arrays, options = in_arithmetic(arrays, options)
        return FORMULAS[self.loss.name](*arrays, **options)

    def fast(self, arrays, options, lift=fast.widen):
        """The same by tests/fast, of arrays as `lift` makes them."""
        arrays, options = in_arithmetic(arrays, options)
        if lift is fast.widen and arithmetic(arrays[0].dtype) == np.float32:
            lift = lambda array: array.astype(np.float64)
        return fast.FORMULAS[self.loss.name](
            *(fast.lifted(a, lift) for a in arrays),
            **{name: fast.lifted(value, lift) for name, value in options.items()})


def is_float(value):
    return isinstance(value, np.ndarray) and value.dtype.kind not in "iu"


def in_arithmetic(arrays, options):
    """What the library computes with. Logits that are transformed, and all that meets them, are float64."""
    if any(options.get(name) is not None for name in TRANSFORMS) or np.ndim(options.get("temperature", 1.0)):
        return arrays, options
    dtype = arithmetic(arrays[0].dtype)

    def seen(value):  # float32 holds halves exactly
        if not is_float(value) or value.dtype.itemsize < dtype.itemsize == 4:
            return value
        with np.errstate(all="ignore"):
            return value.astype(dtype, copy=False)

    return [seen(a) for a in arrays], {name: seen(value) for name, value in options.items()}
