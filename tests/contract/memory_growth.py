"""How much memory each call adds to the peak of a process: python -c "from contract.memory_growth import main; main()"
with a layout and two dtypes as arguments prints {call: MiB}.

The peak is VmHWM, not ru_maxrss, which starts at what the parent process had. Inputs and outputs have been touched
before, and a first small call made.
"""

import json
import sys
import warnings

import ml_dtypes
import numpy as np
from operations import FITS, FORMS, HESSIANS, MEASURES, NORMALISERS, POINTWISE, STATISTICS, kinds, resolved

ROWS, CLASSES, LISTED = 32, 128_256, 64
DTYPES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32, "f64": np.float64}
LAYOUTS = {
    "C": lambda d: np.zeros((ROWS, CLASSES), d),
    "F": lambda d: np.zeros((CLASSES, ROWS), d).T,
    "every second class": lambda d: np.zeros((ROWS, 2 * CLASSES), d)[:, ::2],
    "reversed": lambda d: np.zeros((ROWS, CLASSES), d)[::-1, ::-1],
    "unaligned": lambda d: np.zeros(ROWS * CLASSES * np.dtype(d).itemsize + 1, np.uint8)[1:].view(d).reshape(
        ROWS, CLASSES),
}

# ---- Calls: functions of {name: array} -------------------------------------------------------------------------------


def inputs_of(of_kinds, arrays):
    """The arguments of these kinds, in their order: the first with classes is "first", another one "second"."""
    inputs, place = [], "first"
    for kind in of_kinds:
        if kind in arrays:
            inputs.append(arrays[kind])
        else:
            inputs.append(arrays[place])
            place = "second"
    return inputs


def of_form(form, case, direction):
    def call(arrays):
        inputs, out = inputs_of(form.arrays.values(), arrays), arrays["grad"]
        if direction == "in place":
            out[...] = 0.25
            inputs[0] = out
        options = {**form.fixed, **resolved(
            case, lambda name, kind: arrays[kinds.PER_CLASS if name == "pos_weight" else kind])}  # which is broadcast
        if direction == "value":
            form.function(*inputs, **options)
        elif direction == "backward":
            upstream = arrays[kinds.PER_ELEMENT if form.per_element else kinds.PER_ROW]
            form.backward(upstream, *inputs, out=out, **{**options, "reduction": "none"})
        else:
            form.function(*inputs, return_grad=True, grad_out=out, **options)
    return call


def of_function(function):
    def call(arrays):
        out = {"out": arrays["grad"]} if function.out and function.name != "logsumexp" else {}
        inputs = inputs_of(function.arrays.values(), arrays)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a fit of random targets ends at a bound
            function.run(**dict(zip(function.arrays, inputs, strict=True)), **out)
    return call


def of_hessian(function, hessian):
    def call(arrays):
        function.run(*inputs_of(function.arrays.values(), arrays), hessian=hessian, grad_out=arrays["grad"],
                     hess_out=arrays["hess"])
    return call


CALLS = {function.name: of_function(function) for function in (*NORMALISERS, *POINTWISE, *MEASURES, *FITS, *STATISTICS)}
for _form in FORMS:
    _options = {**_form.last_case, **_form.weights}
    CALLS[f"{_form}: value"] = of_form(_form, _options, "value")
    CALLS[f"{_form}: gradient"] = of_form(_form, {}, "gradient")
    CALLS[f"{_form}: backward"] = of_form(_form, {}, "backward")
    CALLS[f"{_form}: in place"] = of_form(_form, {}, "in place")
    if not _form.per_element:
        CALLS[f"{_form}: rows"] = of_form(_form, {"reduction": "none"}, "value")
for _function in HESSIANS:
    for _hessian in ("diagonal", "absolute"):
        CALLS[f"{_function}: {_hessian}"] = of_hessian(_function, _hessian)
# What the measure must see.
COPIES = {"a copy": lambda arrays: arrays["first"].copy(), "a wider copy": lambda arrays: arrays["first"].astype("f4")}

# ---- The measure -----------------------------------------------------------------------------------------------------


def peak():
    """In MiB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def filled(layout, dtype):
    """0.25 and 0.5: logits, probabilities and log-probabilities alike."""
    x = LAYOUTS[layout](dtype)
    for row in x:
        row[...] = 0.25
        row[::7] = 0.5
    return x


def small(name, array):
    few = array[:50] if name == kinds.PER_CLASS else array[:2, :50] if array.ndim == 2 else array[:2]
    return np.array(few % 50 if few.dtype.kind == "i" else few)


def growth(layout, first, second):
    """{call: MiB that it adds to the peak}; the copies behind all calls but those of transformed logits, whose biases
    and weights of classes in float64 hide as much of what comes after them."""
    first, second = filled(layout, DTYPES[first]), filled(layout, DTYPES[second])
    arrays = {"first": first, "second": second, "grad": np.zeros_like(first),
              "hess": np.zeros_like(first), kinds.CLASS_INDICES: np.arange(ROWS) * 7,
              kinds.LISTED_CLASSES: np.arange(ROWS * LISTED).reshape(ROWS, LISTED) * 17 % CLASSES,
              **dict.fromkeys((kinds.LISTED_LOG_PROBABILITIES, kinds.LISTED_LOGITS),
                              np.full((ROWS, LISTED), -7.0, np.float32)),
              kinds.PER_ROW: np.ones(ROWS, np.float32), kinds.PER_CLASS: np.full(CLASSES, 0.5, np.float32),
              kinds.TEMPERATURES: np.full(ROWS, 0.5, np.float32),
              kinds.PER_ELEMENT: second}
    few = {name: small(name, array) for name, array in arrays.items()}
    CALLS["logsumexp"]({"first": np.zeros((2000, 100), np.float32)})  # starts the threads
    found = {}
    last = {name: call for name, call in CALLS.items() if "transformed" in name}
    for name, call in {**{name: call for name, call in CALLS.items() if name not in last}, **COPIES, **last}.items():
        call(few)
        before = peak()
        call(arrays)
        found[name] = peak() - before
    return found


def main():
    print(json.dumps(growth(*sys.argv[1:])))
