"""Calls with the same values in other kinds of objects, and whatever comes of them."""

import sys
import warnings

import numpy as np
from contract.bad_calls import FORWARD, OF_LOSSES, VALID, VALUES, WEIGHTS
from operations import FUNCTIONS, HESSIANS
from support import at_offset

import crossent as xe


class Derived(np.ndarray):
    pass


class Wrapped:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def labelled(array):
    """Of an equal dtype that is another object."""
    return array.astype(np.dtype(array.dtype, metadata={"unit": "nat"}))


def named_order(array):
    """Of the machine's byte order, but by its name: as ctypes makes arrays, and LightGBM with it."""
    name = "<" if sys.byteorder == "little" else ">"
    named = np.empty(array.shape, array.dtype.newbyteorder(name))
    assert named.dtype.byteorder == name
    named[...] = array
    return named


# The same values in another array, or what is made into one.
VARIANTS = {
    "derived": lambda a: a.view(Derived), "wrapped": Wrapped, "list": np.ndarray.tolist, "read-only": read_only,
    "labelled": labelled, "named order": named_order, "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "unaligned": lambda a: at_offset(a, 1), "Fortran": np.asfortranarray, "reversed": lambda a: a[::-1].copy()[::-1],
    "strided": lambda a: np.repeat(a, 3, axis=-1)[..., ::3],
    "byte-swapped and reversed": lambda a: a.astype(a.dtype.newbyteorder("S"))[::-1].copy()[::-1],
}
NAMES = tuple(FUNCTIONS)
WITH_HESSIAN = tuple(function.name for function in HESSIANS)


def arguments_of(name):
    """Valid arguments, with weights where the function takes them."""
    arguments = {**VALID[name], **{option: VALUES[kind] for function, option, kind in WEIGHTS if function == name}}
    if name in OF_LOSSES and "grad_output" in arguments:
        arguments |= {"grad_output": VALUES[FUNCTIONS[name].arrays["grad_output"]], "reduction": "none"}
    return arguments


def results(name, **arguments):
    """Whatever the function returns, last what goes into its output, or raises."""
    extra = {"return_grad": True} if name in FORWARD else {}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "temperature 0.001 is the lower bound")  # of these rows
            returned = FUNCTIONS[name].run(**arguments, **extra)
    except Exception as error:
        return type(error), str(error)
    if isinstance(returned, xe.TemperatureFit):
        return returned[:3]  # the numbers that are not counted
    if not isinstance(returned, tuple):
        return (returned,)
    return returned[::-1] if name in WITH_HESSIAN else returned
