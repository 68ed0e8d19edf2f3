"""The private functions of the core, called with anything: an exception, never a crash. And the number of threads."""

import os
from pathlib import Path

from faults.forked import run_forked
from faults.lengths import length
from support import run_python

COMMON = """
import itertools, sys
import numpy as np
from faults.forked import survey
import crossent as xe
from crossent import _core

x = np.random.default_rng(0).normal(0, 3, (4, 6)).astype(np.float32)

class Refuses:  # whatever it is asked
    def __index__(self): raise ZeroDivisionError
    __len__ = __bool__ = __float__ = __array__ = __index__

# What is not an array of the core's dtypes, and arrays of any.
OBJECTS = [None, 0, -1, 1 << 70, 2.5, float("nan"), "a", "", b"a", True, (), (1, 2), [], [1.0], {}, object(), Refuses(),
           np, int, x.dtype, lambda *_: 1]
ARRAYS = [x, x.astype("f2"), x.astype("f8"), x[0], x[0, 0], np.array(1.0), np.zeros(0), np.zeros((0, 3)),
          x.astype("c16"), x.astype(object), x.astype("U"), x.astype("i4"), x > 0, x.astype(">f4"), x[::2, ::2], x.T,
          x.view("V4"), np.zeros(3, "M8[s]"), np.zeros(3, [("a", "f4")]),
          np.broadcast_to(np.float32(1), (1 << 20, 1 << 20))]
ANY = [*OBJECTS, *ARRAYS]
# What the functions may well take, and what ends at once.
SMALL = [None, 0, "a", object(), Refuses(), x, x[0], np.array(1.0), np.zeros(0), x.astype("i4"), x.astype("U")]

def may_raise(function, *arguments):
    try:
        function(*arguments)
    except Exception:
        return True
    return False

def is_large(argument):
    return isinstance(argument, np.ndarray) and argument.size > 1000

def works():
    y = np.ones((4, 6), np.float32)  # x may have been written to
    xe.softmax(y), xe.cross_entropy(y, [0, 1, 2, 3]), xe.information.entropy(y)
"""

EVERY_FUNCTION = COMMON + """
COUNT = eval(sys.argv[1])
VALID = [x, x]  # the first arguments of most

def job(function):
    def run():
        rng = np.random.default_rng(0)
        for count in range(32):
            for argument in SMALL:
                may_raise(function, *[argument] * count)
        for _ in range(COUNT):
            few = int(rng.integers(0, 32))
            arguments = [SMALL[k] for k in rng.integers(0, len(SMALL), few)]
            if rng.random() < 0.7:
                arguments[:2] = VALID
            may_raise(function, *arguments)
        works()
    return run

functions = {name: function for name, function in vars(_core).items()
             if callable(function) and name != "set_num_threads"}
survey({name: job(function) for name, function in functions.items()})
"""

OWN = COMMON + """
def within():
    for name, first, low, high in itertools.product((None, "x"), ANY, ANY[:8], ANY[:8]):
        if not is_large(first):
            may_raise(_core.within, name, first, low, high)
    assert _core.within("x", x, -100.0, 100.0) is None
    assert may_raise(_core.within, "x", x, 0.0, 100.0)
    for bad in ("a", object(), Refuses(), x.astype("U"), x.astype(object), x.astype("c16")):
        assert may_raise(_core.within, "x", bad, 0.0, 1.0), f"{bad!r} is no array of the core"
    for bad in (None, "a", object(), Refuses()):
        assert may_raise(_core.within, "x", x, bad, 1.0) and may_raise(_core.within, "x", x, 0.0, bad)
    for bad in (None, 3, b"x", object()):
        assert may_raise(_core.within, bad, x, -100.0, 100.0), f"{bad!r} is no name"

def vmath():
    for function, first, out in itertools.product((None, 0, "a", "exp", object(), b"exp"), ANY, ANY):
        if not is_large(first) and not is_large(out):
            may_raise(_core.vmath, function, first, out)
    out = np.empty_like(x)
    assert _core.vmath("exp", x, out) and not _core.vmath("no such function", x, out)
    for bad in (np.empty(1, "f4"), x.astype("f8"), x.astype("i4"), np.empty((4, 12), "f4")[:, ::2], None, "a"):
        assert may_raise(_core.vmath, "exp", x, bad), "an output of another size, dtype or layout"

def thread_limits():
    for value in (*ANY, (None,), ("a",), (1 << 70,), (-1,), (0,), (2.5,), ((),), [1], (1, None), (Refuses(),)):
        token = _core.thread_limits.set(value)
        for function in (works, xe.config, _core.num_threads, lambda: xe.num_threads(1).__enter__()):
            may_raise(function)
        _core.thread_limits.reset(token)
    works()

def set_num_threads():
    before = _core.num_threads()
    for value in ANY:
        may_raise(_core.set_num_threads, value)
        works()
    for value in ("x", None, 2.5, object(), Refuses(), 1 << 70):
        assert may_raise(_core.set_num_threads, value), f"{value!r} is no number of threads"
    assert may_raise(_core.set_num_threads)
    xe.set_num_threads(before)
    assert xe.get_num_threads() == before

survey({f.__name__: f for f in (within, vmath, thread_limits, set_num_threads)})
"""


def test_every_function_of_the_core_takes_any_arguments():
    """Too few, too many, of wrong types: any exception will do."""
    run_forked(EVERY_FUNCTION, length(1000, 100_000), timeout=900)


def test_what_only_this_package_calls_takes_any_arguments():
    run_forked(OWN)


def test_no_more_threads_than_processors_unless_asked_for():
    """OMP_NUM_THREADS is not believed: so many threads would only be in each other's way."""
    script = """
import numpy as np, crossent as xe
print(xe.get_num_threads())
xe.softmax(np.zeros((2000, 1000), np.float32))
"""
    many = run_python(script, env={"OMP_NUM_THREADS": "20000"}).stdout
    assert 1 <= int(many) <= len(os.sched_getaffinity(0))
    asked = run_python("import crossent as xe; xe.set_num_threads(20_000); print(xe.get_num_threads())",
                       env={"OMP_NUM_THREADS": "20000"}).stdout
    quota = Path("/sys/fs/cgroup/cpu.max")  # of the container, which is kept in any case
    if not quota.exists() or quota.read_text().startswith("max"):
        assert int(asked) == 20_000
