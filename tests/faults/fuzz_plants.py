"""Faults put in on purpose, now and then, to show that the checks find them. Each has the findings that it may lead to.

    write   a byte just beyond the end of an output
    gap     a byte between two elements of an output
    input   a byte of an input
    read    reads a byte just beyond an input
    bits    the last bit of a result, where the arrays are strided
    value   a result that is wrong by a thousandth, in whatever layout
"""

import ctypes

import numpy as np

FINDINGS = {"write": {"crash", "gaps"}, "gap": {"gaps"}, "input": {"crash"}, "read": {"crash"}, "bits": {"bits"},
            "value": {"value"}}
ONE_IN = {"write": 25, "gap": 3, "input": 50, "read": 50, "bits": 50, "value": 50}  # calls; few of them have a gap


def plant(kind, number, results, guarded):
    """What a faulty function would have done besides. `results` are copies, which may be changed."""
    if kind is None or hash_of(number) % ONE_IN[kind]:
        return
    if kind in ("bits", "value"):
        for i, x in enumerate(results):
            results[i] = _changed(kind, x)
    elif kind in ("write", "gap"):
        out = guarded.written.get("out")
        at = None if out is None else out.gap() if kind == "gap" else out.end
        if at is not None:
            ctypes.memset(out.block.address + at, 0x5A, 1)
    else:
        name, first = next(iter(guarded.placed.items()))
        if not first.array.size or name == guarded.call.in_place:
            return
        if kind == "input":
            ctypes.memset(first.block.address + first.begin, 0x5A, 1)
        elif not first.layout.slack:
            beyond = first.end if first.layout.edge == "last" else first.begin - 1
            ctypes.string_at(first.block.address + beyond, 1)


def hash_of(number):
    """Spreads the call numbers, so that each function has its turn."""
    return number * 2654435761 % 2**32 >> 8


def _changed(kind, x):
    where = np.flatnonzero(np.isfinite(x) & (x != 0))
    if not where.size or x.itemsize == 2:  # a thousandth is less than the spacing of bfloat16
        return x
    if kind == "value":
        with np.errstate(all="ignore"):
            return x * x.dtype.type(1.001)
    x.reshape(-1).view(np.uint8)[where[0] * x.itemsize] ^= 1  # the low byte comes first
    return x
