"""The public functions that are fuzzed, what their arguments are, and what makes up a call of one."""

from dataclasses import dataclass, field

import numpy as np
import operations
from operations.functions import TRANSFORMS

import crossent as xe
from crossent import information


class Function:
    """What the arguments of a function are. `axis`: the default class axis, "last" or "second"; None where a loss is
    of elements (kl_div: unless an axis is given). `returns`: "array" for one result in an `out`, "rows" for one without
    it, "loss" for what has return_grad. `forms`: of a loss and its backward function."""

    def __init__(self, function, loss=None):
        self.first, self.arrays = function.first, function.arrays
        self.options = tuple(name for name in function.options if name not in ("axis", "denominator"))
        self.returns = {"grad_out": "loss", "out": "array", None: "rows"}[function.out]
        self.axis = "second" if "axis=None" in function.signature else "last" if "axis" in function.options else None
        self.forms = loss.forms if loss else ()
        if loss and loss.per_element:
            self.axis = None


OF_LOSSES = {function.name: loss for loss in operations.LOSSES for function in (loss.forward, loss.backward)}
# A fit refuses most of the arrays that are drawn here, for what the loss is: losses/ has its tests.
# The Hessians have two outputs: test_hessian_memory.py has them on guarded memory.
# The statistics of rows are nine arrays, of which none is the caller's; their gradient is one.
NOT_FUZZED = {function.name for function in (*operations.FITS, *operations.HESSIANS, operations.STATISTICS[0])}
FUNCTIONS = {name: Function(function, OF_LOSSES.get(name)) for name, function in operations.FUNCTIONS.items()
             if name not in NOT_FUZZED}
NAMES = tuple(FUNCTIONS)
THREADS = ("config", "get_num_threads", "num_threads", "set_num_threads")  # public, and without arrays


def public_functions():
    """What the package says is public, in the names of the table."""
    return ({*xe.__all__} - {"information", "RowStatistics", "TemperatureFit", *THREADS, *NOT_FUZZED}
            | {f"information.{name}" for name in information.__all__})


@dataclass
class Call:
    name: str
    axis: int | None  # the class axis
    arrays: dict  # argument: values; the gaps and strides are in `layouts`
    options: dict  # all arguments without layout
    layouts: dict = field(default_factory=dict)  # of arguments, and of "out" if one is given; None: a float of Python's
    out: tuple | None = None  # (shape, dtype) of a given output
    in_place: str | None = None  # the input that is the output as well
    mistake: str | None = None  # what is wrong with the output
    threads: int | None = None

    @property
    def spec(self):
        return FUNCTIONS[self.name]

    @property
    def first(self):
        return self.arrays[self.spec.first]

    @property
    def loss(self):
        """The name of the function that this is the gradient of, if it is one."""
        return self.name.removesuffix("_backward")

    @property
    def backward(self):
        return self.name != self.loss

    @property
    def out_name(self):
        return "grad_out" if self.spec.returns == "loss" else "out"

    @property
    def reduction(self):
        return self.options.get("reduction", "batchmean" if self.loss.startswith("kl_div") else "mean")

    @property
    def rows(self):
        """The shape of the losses: without the class axis, or of the elements."""
        shape = self.first.shape
        return shape if self.axis is None else shape[:self.axis] + shape[self.axis + 1:]

    @property
    def arithmetic(self):
        """The dtype that the library computes in, and that losses have."""
        return np.dtype(np.float64 if self.first.dtype == np.float64 else np.float32)

    @property
    def is_transformed(self):
        """Whether logits are made of the numbers that are given: then all is float64."""
        names = {name for name, value in self.options.items() if value is not None} | set(self.arrays)
        return not names.isdisjoint(TRANSFORMS) or "temperature" in self.arrays

    @property
    def results(self):
        """The dtypes of what is returned."""
        if self.spec.returns == "array":
            usual = self.arithmetic if self.name == "logsumexp" else self.first.dtype
            return (np.dtype(self.options.get("dtype", usual)),)
        return (self.arithmetic, self.first.dtype) if self.options.get("return_grad") else (self.arithmetic,)

    def each_result(self, returned):
        return returned if len(self.results) > 1 else (returned,)

    def function(self):
        return operations.FUNCTIONS[self.name].run

    def __str__(self):
        shown = {name: f"{a.dtype} {a.shape} {self.layouts[name]}" for name, a in self.arrays.items()}
        if "out" in self.layouts:
            shown[self.out_name] = f"{self.out[1]} {self.out[0]} {self.layouts['out']}"
        output = f"in place of {self.in_place}" if self.in_place else "given" if self.out else "new"
        head = f"{self.name} {self.options}, output {output}, mistake {self.mistake}, threads {self.threads}"
        return "\n".join([head, *(f"  {name}: {text}" for name, text in shown.items())])
