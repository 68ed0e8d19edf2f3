"""crossent.jax beside JAX's own functions: loss and gradient, compiled, and what a call costs.

    python bench/jax_backends.py [--seconds S]

Calls alternate within one process, and of each function the median is printed, with the ratio to JAX's own. "a call" is
the loss alone of (32, 10) logits; "identity" is a compiled function that does nothing, what JAX itself takes.
"""

import argparse
import functools
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

import crossent as xe
import crossent.jax as xj


def own_loss(logits, target):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], axis=1).mean()


def compiled(function, *arrays, backend=None):
    """A call of the compiled function; crossent.jax in it calls the core through this backend."""
    before = xj.backend()
    xj.set_backend(backend or before)
    call = functools.partial(jax.jit(function), *arrays)
    jax.block_until_ready(call())  # compiles it
    xj.set_backend(before)
    return call


def medians(calls, seconds):
    """Of alternating calls, in seconds."""
    times = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[next(iter(calls))]) < 5:
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def report(title, calls, seconds):
    print(title)
    result = medians(calls, seconds)
    for name, value in result.items():
        print(f"  {name:22} {1e6 * value:11.1f} us {value / result['JAX']:8.2f} of JAX's own")


def calls_of(transformed, arrays, **options):
    """Of (a function of) each loss, in each library."""
    calls = {"JAX": compiled(transformed(own_loss), *arrays)}
    for backend in ("ffi", "callback") if xj.backend() == "ffi" else ("callback",):
        # A lambda: JAX takes the same function for the same computation, whichever backend it takes.
        function = transformed(lambda x, y: xj.cross_entropy(x, y))
        calls[f"crossent.jax, {backend}"] = compiled(function, *arrays, backend=backend)
    calls["crossent on NumPy"] = functools.partial(xe.cross_entropy, *map(np.asarray, arrays), **options)
    return calls


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each table")
    seconds = parser.parse_args().seconds
    rng = np.random.default_rng(0)
    print(f"JAX {jax.__version__}, crossent {xe.config()}")

    def arrays(rows, classes):
        x, y = rng.normal(0, 3, (rows, classes)), rng.integers(0, classes, rows)
        return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32)

    small = arrays(32, 10)
    report("a call", {**calls_of(lambda f: f, small), "identity": compiled(lambda x, y: x[0, 0], *small)}, seconds)
    for given in (small, arrays(1024, 32_000)):
        calls = calls_of(jax.value_and_grad, given, return_grad=True)
        report(f"loss and gradient, {given[0].shape} float32", calls, seconds)


if __name__ == "__main__":
    main()
