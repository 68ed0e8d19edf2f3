"""A random call of a public function: `draw(seed, number)` is the same call every time."""

import random as python_random

import fuzz_values as values
import numpy as np
from fuzz_calls import FUNCTIONS, NAMES, Call
from fuzz_layouts import draw_layout
from operations import FLOATS, NORMALISERS, OPTIONS, kinds, may_be_negative, random_options

NO_PROBABILITIES = (-0.5, 1.5, np.nan)
NO_WEIGHTS = (-0.5, np.inf, np.nan)
NO_TEMPERATURES = (0.0, *NO_WEIGHTS)
TAKE_SEVERAL_AXES = tuple(function.name for function in NORMALISERS)
MISTAKES = ("reversed input", "repeated", "shape", "dtype")


def draw(seed, number):
    return _Draw(seed, number).call()


def cast(x, dtype):
    with np.errstate(all="ignore"):
        return np.asarray(x).astype(dtype)


class _Draw:
    def __init__(self, seed, number):
        self.random = python_random.Random(f"{seed} {number}")
        self.rng = np.random.default_rng([seed, number])
        self.name = NAMES[number % len(NAMES)]
        self.special = self.chance(0.1)  # infinities and NaN
        self.wrong = self.chance(0.03)  # one value that must be refused

    def chance(self, p):
        return self.random.random() < p

    def call(self):
        spec = FUNCTIONS[self.name]
        form = self.random.choice(spec.forms) if spec.forms else None
        arrays, fixed = (form.arrays, form.fixed) if form else (spec.arrays, {})
        shape, axis = values.shape_of(self.random, spec.axis is not None or "axis" in fixed)
        c = Call(self.name, axis, {}, {name: value for name, value in fixed.items() if name != "axis"})
        c.arrays[spec.first] = cast(self.first(spec.first, arrays[spec.first], shape, axis),
                                    self.random.choice(FLOATS))
        options = [name for name in (form.options if form else spec.options) if name in spec.options]
        chosen_by_forms = {name for other in spec.forms for name in other.fixed}
        self.options(c, spec, [name for name in options if name not in chosen_by_forms])
        for name, kind in arrays.items():
            if name not in (spec.first, "grad_output"):
                self.other(c, name, kind)
        if "grad_output" in spec.arrays:
            self.other(c, "grad_output", None)
        for name in options:
            if OPTIONS[name].example in kinds.WEIGHTS and self.chance(0.5):
                self.weight(c, name)
        if "softcap" in options and "temperature" in options and self.chance(0.3):
            self.temperatures(c)
        if spec.returns == "loss" and self.chance(0.7):
            c.options["return_grad"] = True
        self.output(c)
        for name, a in c.arrays.items():
            if name == "grad_output" and a.ndim == 0 and name != c.in_place and self.chance(0.4):
                c.arrays[name], c.layouts[name] = a.astype(np.float64), None
                continue
            c.layouts[name] = draw_layout(self.random, a.shape, a.itemsize, apart=name == c.in_place)
        if c.out and not c.in_place:
            c.layouts["out"] = draw_layout(self.random, c.out[0], c.out[1].itemsize, apart=True)
        c.threads = self.random.choice((None, None, None, 1, 2, 3))
        return c

    # ---- Options without arrays

    def options(self, c, spec, names):
        ndim = c.first.ndim
        usual = {"last": ndim - 1, "second": 1 if ndim > 1 else 0, None: None}[spec.axis]
        if c.axis is not None and (c.axis != usual or self.chance(0.5)):
            c.options["axis"] = self.random.choice((c.axis, c.axis - ndim))
        if self.name in TAKE_SEVERAL_AXES and self.chance(0.2):
            c.options["axis"] = (c.axis,)
        c.options |= random_options.some(self.rng, names)
        if "reduction" in names and self.chance(0.8):
            c.options["reduction"] = self.random.choice(("none", *spec.forms[0].reductions))
        if "reduction" in names and c.reduction == "mean" and self.chance(0.3):
            c.options["denominator"] = random_options.value(self.rng, "denominator")

    # ---- Arrays

    def first(self, name, kind, shape, axis):
        if kind == kinds.LOGITS:
            return values.logits(self.random, self.rng, shape, self.special)
        if kind == kinds.LOG_PROBABILITIES:
            return values.log_probabilities(self.random, self.rng, shape, axis, self.special)
        p = values.probabilities(self.random, self.rng, shape, axis)
        if not self.name.startswith("softmax"):  # whose probabilities are taken as they are
            self.spoil(p, NO_WEIGHTS if name == "p" else NO_PROBABILITIES)
        return p

    def spoil(self, x, bad):
        """If this is to be a wrong call and is none yet: one value of x that is refused."""
        if self.wrong and x.size:
            x.flat[self.random.randrange(x.size)] = self.random.choice(bad)
            self.wrong = False

    def other_dtype(self, c):
        return c.first.dtype if self.chance(0.6) else self.random.choice(FLOATS)

    def other(self, c, name, kind):
        shape = c.first.shape
        if name == "grad_output":
            array = self.grad_output(c)
        elif kind == kinds.LOGITS:
            array = values.near(self.random, self.rng, c.first.astype(np.float64), self.special)
        elif kind == kinds.LOG_PROBABILITIES:
            array = values.log_probabilities(self.random, self.rng, shape, c.axis, self.special)
        elif kind == kinds.PER_ROW:
            array = values.upstream(self.random, self.rng, c.rows)
        elif kind == kinds.CLASS_INDICES:
            array = self.class_indices(c)
        elif kind == kinds.LISTED_CLASSES:
            array = self.listed_classes(c)
        elif kind == kinds.LISTED_LOGITS:
            array = self.rng.normal(0, self.random.choice((0.1, 3, 30)), c.arrays["classes"].shape)
        elif kind == kinds.LISTED_LOG_PROBABILITIES:
            shape = c.arrays["classes"].shape  # at least a thousandth is left, so that 1 - total has 13 digits
            more = 1e-3 + self.rng.exponential(self.random.choice((0.1, 2, 20)), shape)
            array = -np.log(max(shape[c.axis], 1)) - more
        elif kind == kinds.FRACTIONS and self.chance(0.2):
            dtype = self.random.choice((np.dtype(bool), *values.INTEGERS))
            array = self.rng.integers(0, 2, shape).astype(dtype)
        else:
            array = values.probabilities(self.random, self.rng, shape, c.axis)
            self.spoil(array, NO_WEIGHTS if name == "q" else NO_PROBABILITIES)
        is_float = array.dtype == np.float64
        c.arrays[name] = cast(array, self.other_dtype(c)) if is_float else array

    def class_indices(self, c):
        dtype, count = self.random.choice(values.INTEGERS), c.first.shape[c.axis]
        y = values.classes(self.rng, c.rows, count, dtype)
        if self.chance(0.4):
            c.options["ignore_index"] = self.random.choice((None, -1, 255, self.random.randrange(max(count, 1))))
        known = values.numbers_of(dtype)
        ignored = c.options.get("ignore_index", -100)
        if ignored is not None and ignored in known and self.chance(0.5):
            y = np.where(self.rng.random(y.shape) < 0.2, dtype.type(ignored), y)
        outside = [v for v in (-1, -100, count, count + 1, known[0], known[-1]) if v in known]
        self.spoil(y, outside or [0])
        return y.reshape(1) if y.ndim == 0 and self.chance(0.3) else y

    def listed_classes(self, c):
        """As many of each row as there are classes, or another number, possibly none."""
        dtype, count, shape = self.random.choice(values.INTEGERS), c.first.shape[c.axis], list(c.first.shape)
        if self.chance(0.6):
            shape[c.axis] = self.random.choice((0, 1, 2, 7, 20))
        known = values.numbers_of(dtype)
        least = -1 if -1 in known and self.chance(0.5) else 0
        k = self.rng.integers(least, max(least + 1, min(count, known[-1] + 1)), shape).astype(dtype)
        if not count:
            k = np.zeros((*shape[:c.axis], 0, *shape[c.axis + 1:]), dtype)
        self.spoil(k, [v for v in (-2, count, known[0], known[-1]) if v in known and not -1 <= v < count] or [0])
        return k

    def weight(self, c, name):
        if c.axis is None:
            shape = values.broadcastable(self.random, c.first.shape)
        else:
            is_of_classes = OPTIONS[name].example == kinds.PER_CLASS
            shape = (c.first.shape[c.axis],) if is_of_classes else values.broadcastable(self.random, c.rows)
        kind = kinds.PER_ELEMENT if c.axis is None else OPTIONS[name].example
        signed = name in kinds.BIASES or may_be_negative(name, kind)
        w = values.weights(self.random, self.rng, shape, signed)
        if name in kinds.BIASES and self.chance(0.3):
            w[self.rng.random(shape) < 0.2] = -np.inf
        self.spoil(w, NO_WEIGHTS[signed:])
        c.arrays[name] = cast(w, self.other_dtype(c))

    def temperatures(self, c):
        t = np.exp(self.rng.uniform(-2, 2, values.broadcastable(self.random, c.rows)))
        self.spoil(t, NO_TEMPERATURES)
        if t.ndim:
            c.options.pop("temperature", None)
            c.arrays["temperature"] = cast(t, self.other_dtype(c))

    def grad_output(self, c):
        shape = c.first.shape
        if c.loss == "logsumexp":
            shape = values.rows_shape(shape, c.axis, c.options.get("keepdims", False))
        elif "softmax" not in c.loss:
            shape = c.rows if c.reduction == "none" else ()
        return values.upstream(self.random, self.rng, shape)

    # ---- Outputs

    def output(self, c):
        if c.spec.returns == "rows" or (c.spec.returns == "loss" and not c.options.get("return_grad")):
            return
        if "dtype" in c.spec.options and c.first.dtype.itemsize == 2 and self.chance(0.5):
            c.options["dtype"] = np.float32
        shape, dtype = c.first.shape, c.results[-1]
        if c.name == "logsumexp":
            shape = values.rows_shape(shape, c.axis, c.options.get("keepdims", False))
        how = self.random.random()
        if how < 0.3:
            return
        c.out = shape, dtype
        if how < 0.5 and c.name != "logsumexp":
            same = [name for name, a in c.arrays.items() if (a.shape, a.dtype) == c.out]
            c.in_place = self.random.choice(same) if same else None
        if self.chance(0.03) and c.first.size > 1 and np.prod(shape) > 1:
            c.mistake = self.random.choice(MISTAKES)
            if c.mistake == "reversed input" and c.out[1] != c.first.dtype:
                c.mistake = "repeated"
            c.in_place = c.spec.first if c.mistake == "reversed input" else None
            if c.mistake == "shape":
                c.out = (*shape, 1), dtype
            elif c.mistake == "dtype":
                right = {dtype, np.dtype(np.float32)} if c.name in ("softmax", "log_softmax") else {dtype}
                c.out = shape, self.random.choice([d for d in FLOATS if d not in right])
