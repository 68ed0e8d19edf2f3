"""One process of contention.py: crossent right after another library's work, and after a pause. Prints JSON."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import machine
import numpy as np

SHAPES = ((60_000, 10), (256, 30_000))
PAIRS = 15
ASLEEP = 0.05  # seconds after which the threads of any library sleep
BUSY = "while True: pass"

Times = dict[str, list[float]]  # "at once" and "asleep"
Calls = dict[str, Callable[[], object]]


def logits(rows: int, classes: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, (rows, classes)).astype(np.float32)


def no_library() -> Callable[[], object]:
    x = logits(2000, 1000)
    return lambda: np.exp(x)


def sklearn() -> Callable[[], object]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    x = logits(20_000, 20)
    with threadpool_limits(1):
        model = HistGradientBoostingClassifier(max_iter=10).fit(x, np.arange(len(x)) % 3)
    return lambda: model.predict_proba(x)


def lightgbm() -> Callable[[], object]:
    import lightgbm

    x = logits(20_000, 20)
    data = lightgbm.Dataset(x, np.arange(len(x)) % 3)
    model = lightgbm.train({"objective": "multiclass", "num_class": 3, "num_threads": 1, "verbose": -1}, data, 10)
    return lambda: model.predict(x, num_threads=0)  # all


def torch() -> Callable[[], object]:
    import torch

    x = torch.from_numpy(logits(2000, 1000))
    return lambda: torch.softmax(x, 1)


def jax() -> Callable[[], object]:
    import jax

    x = jax.numpy.asarray(logits(2000, 1000))
    softmax = jax.jit(jax.nn.softmax)
    return lambda: softmax(x).block_until_ready()


# By the name of the module; xgboost has no such function, as it calls crossent itself.
LIBRARIES = {"none": no_library, "sklearn": sklearn, "lightgbm": lightgbm, "torch": torch, "jax": jax}


def after(work: Callable[[], object], calls: Calls) -> dict[str, Times]:
    """The times of calls right after `work`, and with a pause between the two. The caches are as cold in both."""
    times: dict[str, Times] = {name: {"at once": [], "asleep": []} for name in calls}
    for k in range(2 * PAIRS + 2):
        for name, call in calls.items():  # in turns
            work()
            if k % 2:
                time.sleep(ASLEEP)
            start = time.perf_counter()
            call()
            if k >= 2:
                times[name]["asleep" if k % 2 else "at once"].append(time.perf_counter() - start)
    return times


def in_objective(call: Callable[[], object]) -> Times:
    """The same in the objective of XGBoost, which has just computed the predictions with its threads."""
    import xgboost

    x = logits(60_000, 10)
    times: Times = {"at once": [], "asleep": []}

    def objective(predictions: np.ndarray, data: xgboost.DMatrix) -> tuple[np.ndarray, np.ndarray]:
        pause = len(times["at once"]) > len(times["asleep"])
        if pause:
            time.sleep(ASLEEP)
        start = time.perf_counter()
        call()
        times["asleep" if pause else "at once"].append(time.perf_counter() - start)
        return predictions - 0.5, np.ones_like(predictions)

    data = xgboost.DMatrix(x, label=np.arange(len(x)) % 2)
    xgboost.train({"max_depth": 4}, data, 2 * PAIRS + 2, obj=objective)
    return {name: values[1:] for name, values in times.items()}


def beside_busy_programs(work: Callable[[], object], calls: Calls, count: int) -> dict[str, Times]:
    """The times of calls right after `work` beside so many busy programs, and after a pause without them."""
    quiet = after(work, calls)
    programs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        time.sleep(0.2)
        return {name: {**times, "asleep": quiet[name]["asleep"]} for name, times in after(work, calls).items()}
    finally:
        for program in programs:
            program.kill()
            program.wait()


def calls_of(library: str, x: np.ndarray, target: np.ndarray) -> Calls:
    """crossent, and its module for the library's arrays."""
    import crossent as xe

    calls: Calls = {"crossent": lambda: xe.cross_entropy(x, target)}
    if library == "torch":
        import torch

        import crossent.torch as xt

        tensors = torch.from_numpy(x), torch.from_numpy(target)
        calls["crossent.torch"] = lambda: xt.cross_entropy(*tensors)
    return calls


def main(library: str, busy: int, crossent_first: bool) -> None:
    if crossent_first:
        import crossent  # noqa: F401
    work = None if library == "xgboost" else LIBRARIES[library]()

    results = []
    for rows, classes in SHAPES:
        x, target = logits(rows, classes), np.arange(rows) % classes
        calls = calls_of(library, x, target)
        others = machine.Others()
        if work is None:
            times = {"crossent": in_objective(calls["crossent"])}
        elif busy:
            times = beside_busy_programs(work, calls, busy)
        else:
            times = after(work, calls)
        busy_processors = others.processors()
        results.append({
            name: {
                **{when: statistics.median(values) for when, values in t.items()},
                "longest": max(t["at once"]),
                "others": busy_processors,
            }
            for name, t in times.items()
        })  # fmt: skip
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "first")
