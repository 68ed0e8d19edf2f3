"""Random calls of the library: drawing, shrinking and printing them.

A case is one call with all its arguments. `repr(case)` is Python, so that a failure can be kept as a test.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import operations
from operations import FUNCTIONS as OPERATIONS
from operations import LOSSES, MEASURES, random_options
from operations.kinds import CLASS_INDICES, FRACTIONS, LOGITS, PROBABILITIES

DTYPES = operations.FLOATS
# The functions of the registry, by names without a dot. The gradient of logsumexp is compared with its value.
REGISTERED = {name.replace("information.", "information_" if name.removeprefix("information.") in OPERATIONS else ""):
              function for name, function in OPERATIONS.items()}
LOSS = {loss.name: loss for loss in LOSSES}
NORMALISERS = tuple(function.name for function in operations.NORMALISERS if "grad_output" not in function.arrays)
BACKWARD = ("softmax_backward", "log_softmax_backward")
# None of the libraries has the one of listed classes.
ROW_LOSSES = (*(loss.name for loss in LOSSES if not loss.per_element and loss.name != "sparse_distillation_loss"),
              "perplexity")
POINTWISE = tuple(loss.name for loss in LOSSES if loss.per_element)
INFORMATION = tuple(name for name, function in REGISTERED.items() if function in MEASURES and name != "perplexity")
NO_LIBRARY_HAS = ("keepdims", "log_floor", "z_loss", "entropy_weight", "softcap", "teacher_softcap")
# test_logit_options.py has the last two.
FUNCTIONS = (*NORMALISERS, *BACKWARD, *ROW_LOSSES, *POINTWISE, *INFORMATION)


@dataclass
class Case:
    """`arrays` are the positional arguments. With `upstream`, the gradient is that of <function>_backward."""

    function: str
    arrays: dict
    options: dict = field(default_factory=dict)
    upstream: np.ndarray | None = None

    @property
    def first(self):
        return next(iter(self.arrays.values()))

    @property
    def axis(self):
        """The class axis counted from 0; None for elementwise losses."""
        axis, ndim = self.options.get("axis"), self.first.ndim
        if axis is None:
            if self.function in POINTWISE:
                return None
            last = self.function in (*NORMALISERS, *INFORMATION) or self.function.endswith("_backward")
            axis = -1 if last else min(1, ndim - 1)
        return axis % ndim

    @property
    def reduction(self):
        return self.options.get("reduction", "batchmean" if self.function in LOSS and
                                "batchmean" in LOSS[self.function].reductions else "mean")

    def __repr__(self):
        arrays = ", ".join(f'"{name}": {source(x)}' for name, x in self.arrays.items())
        options = ", ".join(f'"{name}": {source(x)}' for name, x in self.options.items())
        upstream = "" if self.upstream is None else f", {source(self.upstream)}"
        return f'Case("{self.function}", {{{arrays}}}, {{{options}}}{upstream})'


def source(x):
    """Python for an argument; arrays in C order."""
    if not isinstance(x, np.ndarray):
        return repr(x)
    values = repr(x.astype(np.float64).tolist() if x.dtype in DTYPES else x.tolist())
    values = values.replace("inf", "np.inf").replace("nan", "np.nan")
    shape = f".reshape{x.shape}" if x.size == 0 else ""
    return f'np.array({values}, "{x.dtype.name}"){shape}'


# ---- Drawing ---------------------------------------------------------------------------------------------------------

CLASSES = (1, 2, 3, 5, 8, 10, 16, 17, 33, 100)


def draw_shape(rng, shapes=None):
    """(shape, class axis)."""
    if shapes:
        shape = shapes[rng.integers(len(shapes))]
        return shape, min(1, len(shape) - 1)
    c, n = int(rng.choice(CLASSES)), int(rng.choice((0, 1, 2, 3, 5, 8), p=(.04, .2, .2, .2, .2, .16)))
    others = (n, *rng.integers(1, 4, rng.choice(3, p=(.6, .2, .2))).tolist())
    if rng.random() < .1:
        return (c,), 0
    axis = 1 if rng.random() < .5 else int(rng.integers(len(others) + 1))
    return (*others[:axis], c, *others[axis:]), axis


def draw_logits(rng, shape, axis, dtype, masks=True):
    x = rng.normal(0, rng.choice((.1, 1, 3, 10)), shape) + rng.choice((0, 0, 0, 50, -300))
    kind = rng.random()
    if kind < .1:
        x[...] = x.flat[0] if x.size else 0
    elif kind < .2 and x.size:
        np.moveaxis(x, axis, 0)[0] += 20
    elif kind < .3 and masks:
        np.moveaxis(x, axis, -1)[..., 1:][rng.random(x.size // x.shape[axis] * (x.shape[axis] - 1)).reshape(
            np.moveaxis(x, axis, -1)[..., 1:].shape) < .4] = -np.inf
    return x.astype(dtype)


def draw_probabilities(rng, shape, axis, dtype, zeros=True):
    """Rows of probabilities: normalised, one-hot, with zeros, or any numbers in [0, 1]."""
    x = rng.normal(0, rng.choice((1, 3)), shape)
    p = np.exp(x - x.max(axis=axis, keepdims=True, initial=-9)) if axis is not None else rng.random(shape)
    if axis is not None:
        p /= p.sum(axis=axis, keepdims=True)
        kind = rng.random()
        if kind < .15:
            p = rng.random(shape)
        elif kind < .3 and zeros:
            p = (p == p.max(axis=axis, keepdims=True, initial=0)).astype(float)
    if zeros and rng.random() < .2:
        p[rng.random(shape) < .3] = 0
    return p.astype(np.float32).astype(dtype)  # a float64 target of float32 logits is read as float32


def coarse(rng, shape, low=0.):
    """Numbers that every dtype holds exactly."""
    return np.asarray(rng.integers(low * 8, 17, shape) / 8)


def other_dtype(rng, dtype):
    return dtype if rng.random() < .7 else DTYPES[rng.integers(4)]


def layout(rng, x):
    """The same values in another memory layout."""
    kind = rng.integers(8)
    if x.ndim == 0 or kind < 3:
        return x
    if kind < 5:
        order = rng.permutation(x.ndim)
        return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    axis = int(rng.integers(x.ndim))
    if kind == 5:
        return np.flip(np.ascontiguousarray(np.flip(x, axis)), axis)
    if kind == 6:
        return np.repeat(x, 2, axis)[(slice(None),) * axis + (slice(None, None, 2),)]
    x = x.copy()
    x.flags.writeable = False
    return x


def draw(rng, function, *, shapes=None, dtypes=DTYPES, only=(), plain=False):
    """A random case. `only` keeps these options; `plain` leaves rare features out that some libraries lack."""
    shape, axis = draw_shape(rng, shapes)
    dtype = dtypes[rng.integers(len(dtypes))]
    second = other_dtype(rng, dtype)
    rows, c = shape[:axis] + shape[axis + 1:], shape[axis]
    registered = REGISTERED[function]
    first = registered.arrays[registered.first]
    taken = [name for name in registered.options if (not only or name in only) and name not in NO_LIBRARY_HAS]
    kinds = {form.arrays.get("target") for form in LOSS[function].forms} if function in LOSS else {
        registered.arrays.get("target")}
    arrays, pointwise = {}, function in POINTWISE
    drawn = random_options.some(rng, [name for name in taken if name != "denominator"], .4)
    options = {name: value for name, value in drawn.items() if value is not None}

    def maybe(name, chance, value):
        if name in taken and rng.random() < chance:
            options[name] = value()

    if function in (*NORMALISERS, "entropy_with_logits"):
        arrays[registered.first] = draw_logits(rng, shape, axis, dtype)
    elif function in BACKWARD:
        p = draw_probabilities(rng, shape, axis, dtype, zeros=False)
        with np.errstate(divide="ignore"):
            p = p if first == PROBABILITIES else np.log(p.astype(np.float64)).astype(dtype)
        arrays = {"grad_output": coarse(rng, shape, -2).astype(second), "probs": p}
    elif function in INFORMATION:
        arrays["p"] = draw_probabilities(rng, shape, axis, dtype)
        if "q" in registered.arrays:
            arrays["q"] = draw_probabilities(rng, shape, axis, second, zeros=rng.random() < .2)
    elif FRACTIONS in kinds:
        y = draw_probabilities(rng, shape, None, second)
        y = np.round(y).astype(rng.choice((bool, np.int8, second))) if rng.random() < .4 else y
        if first == FRACTIONS:
            p = rng.uniform(.001, .99, shape).astype(dtype)
            same = (rng.random(shape) < .05) & ((y == 0) | (y == 1))
            arrays = {registered.first: np.where(same, y.astype(dtype), p), "target": y}
        else:
            arrays = {registered.first: draw_logits(rng, shape, axis, dtype, masks=False), "target": y}
        maybe("pos_weight", .3, lambda: coarse(rng, shape[-1:]))
        maybe("weight", .3, lambda: coarse(rng, shape if rng.random() < .5 else shape[-1:]))
    elif pointwise:
        lp = np.log(draw_probabilities(rng, shape, axis, np.float64, zeros=False)).astype(dtype)
        t = draw_probabilities(rng, shape, axis, second)
        arrays = {registered.first: lp, "target": t}
        if options.get("log_target"):
            arrays["target"] = np.log(np.maximum(t.astype(np.float64), 1e-4)).astype(np.float32).astype(second)
    else:
        of_teacher = "teacher_logits" in registered.arrays
        maskable = first == LOGITS and not of_teacher
        arrays[registered.first] = x = draw_logits(rng, shape, axis, dtype, masks=maskable and not plain)
        if of_teacher:
            teacher = draw_logits(rng, shape, axis, np.float32, masks=False)
            arrays["teacher_logits"] = teacher.astype(second)
        soft = "probabilities" in only if only else rng.random() < .4
        if PROBABILITIES in kinds and soft:
            if np.isneginf(x.astype(np.float32)).any():
                arrays[registered.first] = np.maximum(x, np.asarray(-9, dtype))
            arrays["target"] = draw_probabilities(rng, shape, axis, second)
        elif CLASS_INDICES in kinds and (None not in kinds or rng.random() < .7):
            arrays["target"] = target = rng.integers(0, c, rows).astype(rng.choice((np.int64, np.int32, np.uint8)))
            if maskable:
                where = np.expand_dims(target.astype(int), axis)
                np.put_along_axis(x, where, np.asarray(1, dtype), axis)
            maybe("ignore_index", .4, lambda: int(rng.integers(0, c)))
        maybe("sample_weight", .25, lambda: coarse(rng, rows))
        if "target" in arrays:
            maybe("weight", .3, lambda: coarse(rng, (c,)))
        refused = ("label_smoothing",) if np.isneginf(arrays[registered.first].astype(np.float32)).any() else ()
        if "target" not in arrays:
            refused = next(form.lacks for form in LOSS[function].forms if "target" not in form.arrays)
        for name in refused:
            options.pop(name, None)
    if pointwise:
        maybe("axis", .5, lambda: axis)
    elif axis != Case(function, arrays).axis or rng.random() < .3:
        options["axis"] = axis - len(shape) if rng.random() < .5 else axis
    upstream = None
    if function in LOSS:
        options["reduction"] = str(rng.choice(LOSS[function].reductions))
        if options["reduction"] == "mean":
            maybe("denominator", .2, lambda: random_options.value(rng, "denominator"))
        if rng.random() < .4:
            whole = pointwise and "axis" not in options
            upstream = coarse(rng, (shape if whole else rows) if options["reduction"] == "none" else ()).astype(
                other_dtype(rng, dtype))
    elif function == "logsumexp" and rng.random() < .8:
        upstream = coarse(rng, rows, -2).astype(other_dtype(rng, dtype))
    arrays = {name: layout(rng, np.asarray(x)) for name, x in arrays.items()}
    return Case(function, arrays, options, upstream)


# ---- Shrinking -------------------------------------------------------------------------------------------------------

def smaller(case):
    """Simpler cases: fewer options, rows and classes, rounder values, C order."""
    for name in case.options:
        yield replace(case, options={k: v for k, v in case.options.items() if k != name})
    if case.upstream is not None and case.upstream.ndim == 0:
        yield replace(case, upstream=None)
    shape, axis = case.first.shape, case.axis
    rows = None if axis is None else shape[:axis] + shape[axis + 1:]
    for a, n in enumerate(shape):
        for keep in ([slice(0, n // 2), slice(n // 2, n)] if n > 1 else []):
            def cut(x, a=a, n=n, keep=keep):
                if not isinstance(x, np.ndarray):
                    return x
                if x.shape == shape:
                    return x[(slice(None),) * a + (keep,)]
                if rows is not None and a != axis and x.shape == rows:
                    return x[(slice(None),) * (a - (a > axis)) + (keep,)]
                if (a == axis or (axis is None and a == len(shape) - 1)) and x.shape == (n,):
                    return x[keep]
                return x
            yield Case(case.function, {k: cut(x) for k, x in case.arrays.items()},
                       {k: cut(x) for k, x in case.options.items()}, cut(case.upstream))
    for name, x in case.arrays.items():
        for simple in (np.array(x, order="C"), np.round(x.astype(np.float64), 1).astype(x.dtype),
                       *([x.astype(np.float32)] if x.dtype in DTYPES[:2] else [])):
            if not (simple.dtype == x.dtype and simple.strides == x.strides
                    and np.array_equal(simple.astype(float), x.astype(float), equal_nan=True)):
                yield replace(case, arrays={**case.arrays, name: simple})


def shrink(case, fails, effort=400):
    """The smallest case found for which `fails(case)` still holds."""
    again = True
    while again and effort > 0:
        again = False
        for candidate in smaller(case):
            effort -= 1
            if fails(candidate):
                case, again = candidate, True
                break
    return case
