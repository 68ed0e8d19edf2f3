"""What sparse_distillation_loss takes, as a multiple of cross_entropy: python bench/sparse_cost.py [--rows 4096]

Rows of 32,000 float32 logits; calls alternate within one process, and medians of the ratios of neighbours are printed.
"""

import argparse
import functools
import time

import numpy as np

import crossent as xe

CLASSES, ROUNDS = 32_000, 7


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4096)
    rows = parser.parse_args().rows
    rng = np.random.default_rng(0)
    x = 3 * rng.standard_normal((rows, CLASSES), dtype=np.float32)
    y, out = rng.integers(0, CLASSES, rows), np.empty_like(x)
    calls = {"cross_entropy": functools.partial(xe.cross_entropy, x, y)}
    for listed in (8, 64):
        classes = np.array([rng.choice(CLASSES, listed, replace=False) for _ in range(rows)])
        values = rng.standard_normal((rows, listed), dtype=np.float32) - 8
        for tail in ("bucket", "uniform"):
            calls[f"{listed} {tail}"] = functools.partial(xe.sparse_distillation_loss, x, classes, values, tail=tail)
    for threads in (1, 2):
        for what, options in (("value", {}), ("gradient", {"return_grad": True, "grad_out": out})):
            with xe.num_threads(threads):
                times = np.array([[seconds(functools.partial(call, **options)) for call in calls.values()]
                                  for _ in range(ROUNDS)])
            ratios = np.median(times / times[:, :1], axis=0)
            print(f"{threads} threads, {what:9}", *(f"{name} {ratio:.2f}" for name, ratio in
                                                    zip(calls, ratios, strict=True)), sep="  ")


if __name__ == "__main__":
    main()
