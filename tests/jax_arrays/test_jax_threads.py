"""Threads of XLA, of Python and of crossent at once; nothing waits for ever where there is one processor only."""

import os
import threading

import numpy as np
import pytest
from support import assert_same_bits, run_python

jax = pytest.importorskip("jax", reason="an optional library: the session adapters has it")

import crossent as xe  # noqa: E402
import crossent.jax as xj  # noqa: E402


def test_calls_from_many_threads(backend, rng):
    x, y = rng.normal(0, 3, (8, 40, 900)).astype(np.float32), rng.integers(0, 900, (8, 40))
    both = jax.jit(jax.value_and_grad(xj.cross_entropy))
    expected = [xe.cross_entropy(*one, return_grad=True) for one in zip(x, y, strict=True)]
    wrong = []

    def call(k):
        for _ in range(20):
            loss, grad = both(x[k], y[k])
            if loss != expected[k][0] or not np.array_equal(grad, expected[k][1]):
                wrong.append(k)

    threads = [threading.Thread(target=call, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_independent_calls_in_one_computation(backend, rng):
    """XLA runs them at once."""
    x, y = rng.normal(0, 3, (6, 400, 300)).astype(np.float32), rng.integers(0, 300, (6, 400))
    together = jax.jit(lambda x: [jax.value_and_grad(xj.cross_entropy)(x[k], y[k]) for k in range(6)])
    for (loss, grad), one, target in zip(together(x), x, y, strict=True):
        expected = xe.cross_entropy(one, target, return_grad=True)
        assert_same_bits(loss, expected[0])
        assert_same_bits(grad, expected[1])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be bound to a processor here")
def test_one_processor():
    """Arrays that jax.pure_callback would wait for: XLA then has one thread, and that runs the callback."""
    run_python("""
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import numpy as np, jax, crossent as xe, crossent.jax as xj
from crossent.jax import _backends
x, y = np.random.default_rng(0).normal(size=(2, 500, 400)).astype(np.float32), np.zeros((2, 500), np.int32)
for _backends.chosen in {_backends.chosen, "callback"}:
    losses = jax.jit(jax.vmap(xj.cross_entropy))(x, y)
    assert losses.tolist() == [xe.cross_entropy(*one) for one in zip(x, y)]
""")


def test_the_limit_of_threads_holds_in_the_module_for_xla():
    """set_num_threads before and after crossent.jax is imported."""
    run_python("""
import sys, types, crossent as xe
from crossent import _threads
seen = []
xe.set_num_threads(3)
_threads.add_core(seen.append)
xe.set_num_threads(2)
assert seen == [3, 2]
""")
