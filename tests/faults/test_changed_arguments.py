"""Arrays that other Python code changes while a call has them: it may be refused; nothing may crash or be half right.

The code runs because the call asks another argument for an array, an index, a truth or a number: every combination of a
function, an array to change, a way to change it and an argument that changes it. In the long form each of them runs in
a process of its own.
"""

from faults.forked import run_forked
from faults.lengths import LONG, length

SCRIPT = """
import itertools, sys
from inspect import signature
import numpy as np
from faults.calls import CALLS
from faults.forked import survey
from operations import OPTIONS
from operations.kinds import WEIGHTS
from support import bits
import crossent as xe

SHAPE, EACH_ALONE = eval(sys.argv[1]), eval(sys.argv[2])

# ---- Ways to change an array -----------------------------------------------------------------------------------------

def reshape(x):
    x.shape = x.shape[::-1] if x.ndim > 1 and x.shape[0] != x.shape[1] else (x.size // 2, 2)

def flatten(x):
    x.shape = (1, *x.shape) if x.ndim < 2 else (x.size,)

def narrow(x):  # twice as many
    x.dtype = np.dtype(f"{x.dtype.kind}{x.dtype.itemsize // 2}")

def reinterpret(x):
    x.dtype = np.dtype(f"{'f' if x.dtype.kind == 'i' else 'i'}{x.dtype.itemsize}")

def shrink(x):
    x.resize(1, refcheck=False)

def grow(x):
    x.resize((16 * x.shape[0], *x.shape[1:]), refcheck=False)

CHANGES = {f.__name__: f for f in (reshape, flatten, narrow, reinterpret, shrink, grow)}

# ---- Arguments that run code when they are looked at -----------------------------------------------------------------

class Hook:
    def __init__(self, value):
        self.value, self.change = value, None
    def fire(self):
        if self.change:
            change, self.change = self.change, None
            change()
        return self.value

class Array(Hook):
    def __array__(self, dtype=None, copy=None):
        return self.fire()

class Number(Hook):  # what operator.index and numpy take for one
    def __index__(self):
        return int(self.fire())
    def __array__(self, dtype=None, copy=None):
        return np.array(self.fire())

class Flag(Hook):
    def __bool__(self):
        return bool(self.fire())

class Text(Hook):  # is not a name; numpy and the message of the error ask what it is
    def __array__(self, dtype=None, copy=None):
        return self.fire()
    def __repr__(self):
        return repr(self.fire())

HOOKS = {bool: Flag, int: Number, float: Number, str: Text}

def hooks_of(call, arguments):
    # {name: hook}, for every argument that could run code.
    hooks = {name: lambda name=name: Array(arguments[name]) for name in call.arrays}
    for name, parameter in signature(call.run).parameters.items():
        value = arguments.get(name, parameter.default)
        if value is None and name in OPTIONS and OPTIONS[name].example not in WEIGHTS:
            value = OPTIONS[name].example
        if type(value) in HOOKS:
            hooks[name] = lambda kind=HOOKS[type(value)], value=value: kind(value)
    return hooks

# ---- Outcomes --------------------------------------------------------------------------------------------------------

SENTINEL = 77
REFUSALS = TypeError, ValueError, IndexError

def draw(call):
    arguments = call.draw(SHAPE, np.float32)
    if call.out:
        arguments[call.out] = call.new_out(arguments)
        arguments[call.out][...] = SENTINEL
    return arguments

def outcome(call, arguments):
    # What is returned or raised, and the bytes of the output.
    out = arguments.get(call.out)
    try:
        results = [(r.dtype, r.shape, r.tobytes()) for r in map(np.asarray, call.results(arguments)) if r is not out]
    except Exception as error:
        results = type(error), str(error)
    return results, None if out is None else out.tobytes()

def job(call, target, change, make_hook, name):
    def run():
        arguments = draw(call)
        x = arguments[target]
        hook = make_hook(arguments)
        hook.change = lambda: CHANGES[change](x)
        got = outcome(call, {**arguments, name: hook})
        if hook.change:
            return  # the call never looked at this argument
        if isinstance(got[0], tuple):
            kind, words = got[0]
            assert issubclass(kind, REFUSALS) and ("expected" in words or ", outside [" in words) or \
                issubclass(kind, np.exceptions.AxisError) or kind is RuntimeError and "changed while" in words, got[0]
            if call.out:
                unwritten = draw(call)[call.out]
                if target == call.out:
                    CHANGES[change](unwritten)
                assert got[1] == unwritten.tobytes(), f"an output was written before {got[0]}"
            return
        # Changed before the call looked at it: as if it had been so from the start, whatever this argument is then.
        changed = draw(call)
        CHANGES[change](changed[target])
        wanted = outcome(call, {**changed, name: make_hook(changed)})
        assert got == wanted, f"{got[0]!r:.200}, not {wanted[0]!r:.200}"
    return run

def jobs_of(call_name, call):
    jobs, arguments = {}, draw(call)
    for target, change in itertools.product([*call.arrays, *([call.out] if call.out else [])], CHANGES):
        for name in hooks_of(call, arguments):
            if name != target:
                make_hook = lambda arguments, name=name: hooks_of(call, arguments)[name]()
                jobs[f"{call_name}: {change} {target} by {name}"] = job(call, target, change, make_hook, name)
    return jobs

def all_of(jobs):
    def run():
        failed = []
        for name, function in jobs.items():
            try:
                function()
            except AssertionError as error:
                failed.append(f"{name}: {error}")
        assert not failed, "\\n".join([f"{len(failed)} of {len(jobs)}", *failed[:20]])
    return run

by_function = {name: jobs_of(name, call) for name, call in CALLS.items()}
if EACH_ALONE:
    survey({name: function for jobs in by_function.values() for name, function in jobs.items()}, seconds=20)
else:
    survey({name: all_of(jobs) for name, jobs in by_function.items()}, seconds=60)
"""


def test_arrays_changed_by_code_that_a_check_runs():
    """RuntimeError and nothing written, or the result for the changed array where the call saw no other."""
    for shape in length([(8, 24)], [(8, 24), (8, 40_000), (40_000, 8)]):
        run_forked(SCRIPT, shape, LONG, timeout=1800)
