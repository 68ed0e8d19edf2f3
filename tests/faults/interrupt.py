"""How long Ctrl-C takes to end a call: python tests/faults/interrupt.py [--threads 1,2] [--repeats 3]; see --help.

A table of the longest time from the signal to KeyboardInterrupt, for every function and shape. A call that would end by
itself is made again and again, and the signal comes at a random moment. The inputs have strides of 0, the outputs are
of float16: less than 3 GB. An alarm stands for Ctrl-C, with the same handler, as its time is known exactly, even while
no other thread gets the GIL.
"""

import argparse
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.calls import CALLS
from operations import LOSSES, kinds

import crossent as xe

# (rows, classes). Values only: what a gradient is written to would not fit.
SHAPES = {"one row": (1, 1 << 28), "long rows": (64, 1 << 22), "short rows": (1 << 25, 8)}
ENDLESS = {"one row of 2^30": (1, 1 << 30), "without end": (1 << 20, 1 << 20)}
LISTED = (kinds.LISTED_CLASSES, kinds.LISTED_LOG_PROBABILITIES, kinds.LISTED_LOGITS)
DRAWN_CLASSES = 1 << 22  # in rows with more all classes are alike


def stretched(call, shape, dtype):
    """Arguments as `call` takes them: one row for all, in no memory to speak of."""
    rows, classes = shape
    drawn = call.draw((1, classes if classes <= DRAWN_CLASSES else 1), np.float32)
    arguments = {}
    for name, value in drawn.items():
        if isinstance(value, np.ndarray):
            kind = call.arrays[name]
            if value.dtype.kind == "f" and "weight" not in name:  # weights are of the dtype that the call computes in
                value = value.astype(dtype)
            value = value[:, :8] if kind in LISTED else value
            axes = {kinds.PER_CLASS: (classes,), kinds.PER_ROW: (rows,), kinds.CLASS_INDICES: (rows,),
                    kinds.TEMPERATURES: (rows,),
                    **dict.fromkeys(LISTED, (rows, value.shape[-1]))}
            value = np.broadcast_to(value, axes.get(kind, shape))
        arguments[name] = value
    if call.function in [loss.name for loss in LOSSES if loss.per_element]:
        arguments["reduction"] = "sum"  # a loss of every element would not fit
    return arguments


def repeated(call, shape, pool):
    """A function without arguments that makes the call, the output in the array `pool`."""
    of_shape = call.out is not None and call.function != "logsumexp"
    arguments = stretched(call, shape, pool.dtype if of_shape else np.float32)
    if of_shape:
        arguments[call.out] = pool[:shape[0] * shape[1]].reshape(shape)
    return lambda: call.run(**arguments)


def latency(function, delay):
    """The seconds from the alarm, `delay` seconds from now, to the exception that ends the function, or the next."""
    due = time.perf_counter() + delay
    signal.setitimer(signal.ITIMER_REAL, delay)
    try:
        while True:
            function()
    except KeyboardInterrupt:
        return time.perf_counter() - due
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def shapes_of(call):
    return SHAPES if call.out is not None and call.function != "logsumexp" else {**SHAPES, **ENDLESS}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", default="1,2", help="the thread counts, with commas")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--delay", type=float, default=1.0, help="the longest time in seconds before the signal")
    parser.add_argument("--only", default="", help="the functions whose name has this text")
    parser.add_argument("--shapes", default=",".join({**SHAPES, **ENDLESS}), help="the columns, with commas")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    pool = np.zeros(1 << 28, np.float16)
    columns = options.shapes.split(",")
    print(f"{xe.config()}\nMilliseconds from the signal to KeyboardInterrupt, the longest of {options.repeats}.")
    for threads in map(int, options.threads.split(",")):
        print(f"\n{f'threads: {threads}':44}" + "".join(f"{column:>17}" for column in columns))
        longest = dict.fromkeys(columns, 0.0)
        for name, call in CALLS.items():
            if options.only not in name:
                continue
            print(f"{name:44}", end="", flush=True)
            for column in columns:
                if column not in shapes_of(call):
                    print(f"{'':17}", end="")
                    continue
                function = repeated(call, {**SHAPES, **ENDLESS}[column], pool)
                with xe.num_threads(threads):
                    worst = max(latency(function, random.uniform(0.05, options.delay)) for _ in range(options.repeats))
                longest[column] = max(longest[column], worst)
                print(f"{1000 * worst:17.0f}", end="", flush=True)
            print()
        print(f"{'the longest':44}" + "".join(f"{1000 * longest[column]:17.0f}" for column in columns))


if __name__ == "__main__":
    main()
