"""Valid arguments of every function, and the check that one bad argument among them is refused properly."""

import re

import numpy as np
import pytest
from operations import FUNCTIONS, HESSIANS, LOSSES, MEASURES, kinds

X = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]])
G = np.ones((2, 3))
P = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])
VALUES = {
    kinds.LOGITS: X, kinds.LOG_PROBABILITIES: X, kinds.PROBABILITIES: P, kinds.FRACTIONS: P,
    kinds.CLASS_INDICES: np.array([2, 0]),
    kinds.PER_CLASS: np.array([1.0, 0.5, 2.0]), kinds.PER_ROW: np.array([0.25, 3.0]), kinds.PER_ELEMENT: P + 1,
    kinds.TEMPERATURES: np.array([0.5, 3.0]),
}
LISTED = np.array([[-0.75, -1.5, 0.5], [-1.0, 3.0, -1.25]])  # two in each row: the third is of no class
VALUES |= {kinds.LISTED_CLASSES: np.array([[2, 0, -1], [1, -1, 0]]),
           kinds.LISTED_LOG_PROBABILITIES: LISTED, kinds.LISTED_LOGITS: LISTED}
SENTINEL = -77.25


def valid_arguments(arrays):
    """Of {argument: kind}; a teacher is not the student."""
    return {argument: G if argument == "teacher_logits" else VALUES[kind] for argument, kind in arrays.items()}


# ---- Functions by what they take -------------------------------------------------------------------------------------

OF_LOSSES = {function.name: loss for loss in LOSSES for function in (loss.forward, loss.backward)}
# A bad argument replaces one of these. The upstream gradient of a loss is that of its default reduction.
VALID = {name: {**valid_arguments(function.arrays), **({"grad_output": 1.0} if name in OF_LOSSES and
                                                      "grad_output" in function.arrays else {})}
         for name, function in FUNCTIONS.items()}
INFORMATION = tuple(function.name for function in MEASURES)
WITH_OUTPUT = tuple(name for name, function in FUNCTIONS.items() if function.out)
NORMALISERS = tuple(name for name in WITH_OUTPUT if name not in (*OF_LOSSES, *(f.name for f in HESSIANS)))
FORWARD = tuple(loss.name for loss in LOSSES)
FIRST = {name: function.first for name, function in FUNCTIONS.items()}


def loss_functions(wanted):
    """The names of the losses of which `wanted(loss)` is true, and of their backward functions."""
    return tuple(name for name, loss in OF_LOSSES.items() if wanted(loss))


def arguments_of(loss):
    return loss.forms[0].arrays


OF_INDICES = loss_functions(lambda loss: kinds.CLASS_INDICES in arguments_of(loss).values())
OF_INDICES_ALONE = loss_functions(lambda loss: tuple(arguments_of(loss).values())[1:] == (kinds.CLASS_INDICES,))
OF_PROBABILITIES = loss_functions(lambda loss: {kinds.CLASS_INDICES, kinds.PROBABILITIES} <= {
    form.arrays.get("target") for form in loss.forms})
OF_TEACHERS = loss_functions(lambda loss: "teacher_logits" in arguments_of(loss))
OF_ROWS = loss_functions(lambda loss: not loss.per_element)
OF_ELEMENTS = loss_functions(lambda loss: loss.per_element)
WEIGHTED_ELEMENTS = loss_functions(lambda loss: kinds.PER_ELEMENT in loss.weights.values())
WEIGHTED_CLASSES = loss_functions(lambda loss: loss.weights.get("weight") == kinds.PER_CLASS)
WITH_SOFTCAP = tuple(name for name, function in FUNCTIONS.items() if "softcap" in function.options)
WITH_TEMPERATURES = tuple(name for name in WITH_SOFTCAP if "temperature" in FUNCTIONS[name].options)
# Every option that may be an array over the classes, the rows or the elements: (function, option, kind).
WEIGHTS = (*((name, option, kind) for name, loss in OF_LOSSES.items() for option, kind in loss.weights.items()),
           *((name, "logit_bias", kinds.PER_CLASS) for name in WITH_SOFTCAP if name not in OF_LOSSES),
           *((name, "temperature", kinds.TEMPERATURES) for name in WITH_TEMPERATURES))
# The argument that holds a second distribution.
SECOND = {name: argument for name, loss in OF_LOSSES.items()
          for argument in [argument for argument, kind in list(arguments_of(loss).items())[1:]
                           if kind not in kinds.INDICES][:1]}


# ---- The check -------------------------------------------------------------------------------------------------------


def buffer_of(name):
    """The name of the output argument and what else it takes."""
    return FUNCTIONS[name].out, {"return_grad": True} if name in FORWARD else {}


def result_shape(name):
    return (2,) if name == "logsumexp" else (2, 3)


def assert_raises(name, kind, says, **bad):
    """The call raises exactly `kind`, says so and so, and leaves a given output untouched."""
    argument, extra = buffer_of(name)
    arguments, before = {**VALID[name], **extra, **bad}, None
    if argument:
        out = arguments.setdefault(argument, np.full(result_shape(name), SENTINEL))
        before = out.copy() if isinstance(out, np.ndarray) else None
    with pytest.raises(kind, match=re.escape(says)) as caught:
        FUNCTIONS[name].run(**arguments)
    assert caught.type is kind
    if before is not None:
        np.testing.assert_array_equal(out, before)
