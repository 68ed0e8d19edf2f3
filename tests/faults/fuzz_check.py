"""Make a call on guarded memory and look at everything that it may have done."""

import contextlib
from dataclasses import dataclass

import numpy as np
from fuzz_layouts import Placed
from fuzz_plants import plant
from fuzz_results import OF_LOGITS, WEIGHT_NAMES, wanted
from operations import OPTIONS, may_be_negative
from operations.kinds import PER_ELEMENT, TEMPERATURES, may_be
from oracle.parts import BFLOAT16
from support import bits

import crossent as xe

IN_GAPS = 0xFF  # of inputs: NaN in every floating dtype, -1 or the largest number in the integer ones
CANARY = 0xA5  # in and around outputs

# Of a result, or of what its errors are measured at if that is larger. The library promises 4 to 8 units in the last
# place, 5e-7 in float32; the formulas in float64 lose some digits in sums of terms that are not of one sign. What has
# the wrong value in a layout has a far larger error.
OF_SIZE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}
# A half is the float32 result rounded once more: half a unit, which is this part of the number at most.
HALF_UNIT = {np.dtype(np.float16): 2.0**-11, BFLOAT16: 2.0**-8}
# Below the normal numbers the error is absolute: the spacing of float16, and elsewhere the number itself, however much
# of the last binades a reference or a kernel loses.
LEAST = {np.dtype(np.float16): 2.0**-24, BFLOAT16: 2.0**-126, np.dtype(np.float32): 2.0**-126,
         np.dtype(np.float64): 2.0**-1022}
LARGEST = {np.dtype(np.float16): 65504.0, BFLOAT16: 3.3895e38, np.dtype(np.float32): 3.4028e38,
           np.dtype(np.float64): 1.7976e308}


@dataclass
class Finding:
    kind: str  # "crash", "gaps", "value", "bits", "result", "error", "unchanged"
    text: str


def check(call, number, pool, kind=None):
    """The findings of one call; `kind` is that of a planted fault."""
    guarded = _Guarded(call, pool)
    try:
        return list(_check(call, number, guarded, kind))
    finally:
        guarded.give_back(pool)


def _check(call, number, guarded, kind):
    expected = expected_errors(call, guarded.values)
    before = {name: p.block.bytes.copy() for name, p in guarded.written.items()}
    try:
        with xe.num_threads(call.threads) if call.threads else contextlib.nullcontext():
            returned = call.function()(**guarded.arguments())
    except Exception as error:  # whatever it is
        if type(error) not in expected:
            yield Finding("error", f"{type(error).__name__}: {error}")
        for name, p in guarded.written.items():
            if (p.block.bytes != before[name]).any():
                yield Finding("unchanged", f"{name} was written to before {type(error).__name__}: {error}")
        return
    if expected:
        yield Finding("error", f"no error: expected {' or '.join(e.__name__ for e in expected)}")
        return
    returned = call.each_result(returned)
    if call.out and returned[-1] is not guarded.out:
        yield Finding("result", f"{call.out_name} was given, and another array was returned")
    results = [np.array(x, order="C") for x in returned]
    plant(kind, number, results, guarded)
    for name, p in guarded.written.items():
        changed = p.changed_outside(before[name])
        if changed:
            yield Finding("gaps", f"{changed} bytes around or between the elements of {name} were written to")
    for actual, dtype, (numbers, sizes) in zip(results, call.results, wanted(call, guarded.values), strict=True):
        yield from _compare_values(call, actual, dtype, numbers, sizes)
    yield from _compare_bits(call, number, results, guarded.values, kind)


def expected_errors(call, values):
    """What such a call must raise, one of these: nothing if empty."""
    errors = set()
    if call.mistake:
        errors.add(TypeError if call.mistake == "dtype" else ValueError)
    count = 1 if call.axis is None else call.first.shape[call.axis]
    if count == 0 and 0 not in call.rows and call.loss != "logsumexp":
        errors.add(ValueError)
    most = LARGEST[call.arithmetic]
    for name, x in values.items():
        if name == "target" and x.dtype.kind in "iu" and call.axis is not None:
            ignore = call.options.get("ignore_index", -100)
            if any(y != ignore and not 0 <= y < count for y in set(x.ravel().tolist())):
                errors.add(IndexError)
        elif name == "classes":
            if any(y != -1 and not 0 <= y < count for y in set(x.ravel().tolist())):
                errors.add(IndexError)
        elif name in ("target", "probs") and call.loss != "softmax" and not call.options.get("log_target"):
            if not _all_within(x, 1.0):
                errors.add(ValueError)
        elif name in (*WEIGHT_NAMES, "p", "q"):
            if not _all_within(np.abs(x) if is_signed(call, name) else x, most):
                errors.add(ValueError)
        elif name in OF_LOGITS and not all(may_be(name, TEMPERATURES, v) for v in set(x.astype(np.float64).ravel())):
            errors.add(ValueError)
    return errors


def is_signed(call, name):
    """Whether this argument may be negative."""
    return name in WEIGHT_NAMES and may_be_negative(name, PER_ELEMENT if call.axis is None else OPTIONS[name].example)


def _all_within(x, most):
    x = x.astype(np.float64)
    return bool(((x >= 0) & (x <= most)).all())


def _compare_values(call, actual, dtype, numbers, sizes):
    if actual.dtype != dtype or actual.shape != numbers.shape:
        text = f"{actual.dtype} {actual.shape} instead of {dtype} {numbers.shape}"
        yield Finding("result", text)
        return
    with np.errstate(all="ignore"):
        found = actual.astype(np.float64)
        size = np.maximum(*(np.where(np.isfinite(x), np.abs(x), 0.0) for x in (sizes, numbers)))
        allowed = size * OF_SIZE[call.arithmetic] + np.abs(numbers) * HALF_UNIT.get(dtype, 0.0) + LEAST[dtype]
        if "teacher_logits" in call.arrays:  # of equal rows, the square of the errors of log(t / s)
            allowed += OF_SIZE[call.arithmetic] ** 2
        right = np.abs(found - numbers) <= allowed
        if not right.all():
            right |= (found == numbers) | (np.isnan(found) & np.isnan(numbers))
            # Beyond the largest number there is an infinity, or that number where the margin spans both.
            right |= (np.abs(numbers) > 0.99 * LARGEST[dtype]) & (np.sign(found) == np.sign(numbers)) & (
                np.abs(found) > 0.98 * LARGEST[dtype])
    if not right.all():
        wrong = np.flatnonzero(~right)
        at = np.unravel_index(wrong[0], right.shape)
        yield Finding("value", f"{wrong.size} of {right.size} wrong, the first at {tuple(map(int, at))}: "
                               f"{found[at]!r} instead of {numbers[at]!r} +- {allowed[at]:.2g}")


def _compare_bits(call, number, results, values, kind):
    """With what the same call gives for C-contiguous arrays, without an output."""
    again = [np.array(x, order="C") for x in call.each_result(call.function()(**values, **call.options))]
    if kind == "value":
        plant(kind, number, again, None)
    for actual, other in zip(results, again, strict=True):
        if bits(actual) != bits(other):
            differs = (actual != other) | (np.signbit(actual) != np.signbit(other))
            differ = np.flatnonzero(differs & ~(np.isnan(actual) & np.isnan(other)))
            at = int(differ[0])
            yield Finding("bits", f"{differ.size} of {actual.size} differ from the contiguous call, "
                                  f"the first at {at}: {actual.flat[at]!r}, {other.flat[at]!r}")


class _Guarded:
    """The arrays of a call in guarded memory. `values` are C-contiguous copies of what the inputs hold there, which is
    not what was drawn where elements share memory."""

    def __init__(self, call, pool):
        self.call, self.placed, self.values, self.written = call, {}, {}, {}
        for name, drawn in call.arrays.items():
            if call.layouts[name] is None:
                self.values[name] = drawn
                continue
            in_place = name == call.in_place
            p = Placed(pool, call.layouts[name], drawn.shape, drawn.dtype, CANARY if in_place else IN_GAPS)
            p.array[...] = drawn
            self.placed[name], self.values[name] = p, np.array(p.array, order="C")
            if in_place:
                self.written["out"] = p
            else:
                p.block.protect(read_only=True)
        if call.out and not call.in_place:
            p = Placed(pool, call.layouts["out"], *call.out, CANARY)
            self.placed["out"] = self.written["out"] = p
        self.out = self._output() if call.out else None

    def _output(self):
        array = self.written["out"].array
        if self.call.mistake == "reversed input":
            return array[tuple(slice(None, None, -1 if n > 1 else 1) for n in array.shape)]
        if self.call.mistake == "repeated":
            return np.ndarray(array.shape, array.dtype, self.written["out"].block.bytes, 0, (0,) * array.ndim)
        # In place it need not be the same object, if it is the same memory.
        return array[...] if len(array.shape) % 2 else array

    def arguments(self):
        given = {name: self.placed[name].array if name in self.placed else float(drawn)
                 for name, drawn in self.call.arrays.items()}
        return {**given, **self.call.options, **({} if self.out is None else {self.call.out_name: self.out})}

    def give_back(self, pool):
        for p in self.placed.values():
            pool.give_back(p.block)
