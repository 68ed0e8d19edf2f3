"""The same values, laid out differently in memory, as hypothesis chooses."""

import tempfile

import numpy as np
from hypothesis import strategies as st
from support import at_offset


def c_order(a, data):
    return np.ascontiguousarray(a)


def f_order(a, data):
    return np.asfortranarray(a)


def permuted(a, data):
    order = data.draw(st.permutations(range(a.ndim)))
    return np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))


def sliced(a, data):
    """Every axis a step of 1 to 3 inside a larger array, from a start of 0 to 2."""
    steps = data.draw(st.tuples(*[st.integers(1, 3)] * a.ndim))
    starts = data.draw(st.tuples(*[st.integers(0, 2)] * a.ndim))
    store = np.full([n * k + s for n, k, s in zip(a.shape, steps, starts, strict=True)], 77, a.dtype)
    view = store[tuple(slice(s, s + n * k, k) for n, k, s in zip(a.shape, steps, starts, strict=True))]
    view[...] = a
    return view


def negative(a, data):
    flips = tuple(slice(None, None, step) for step in data.draw(st.tuples(*[st.sampled_from((1, -1))] * a.ndim)))
    return np.ascontiguousarray(a[flips])[flips]


def unaligned(a, data):
    return at_offset(a, data.draw(st.integers(1, 63)))


def unaligned_record_field(a, data):
    """Strides that are no multiple of the item size."""
    store = np.zeros(a.shape, np.dtype([("before", "u1"), ("value", a.dtype), ("after", "u1", 2)]))
    store["value"] = a
    return store["value"]


def read_only(a, data):
    a = a.copy()
    a.flags.writeable = False
    return a


def mapped(a, data):
    with tempfile.NamedTemporaryFile() as file:
        view = np.memmap(file.name, dtype=a.dtype, mode="w+", offset=data.draw(st.integers(0, 9)), shape=a.shape)
    view[...] = a
    return view


WRITEABLE = (c_order, f_order, permuted, sliced, negative, unaligned, unaligned_record_field, mapped)
READABLE = (*WRITEABLE, read_only)
