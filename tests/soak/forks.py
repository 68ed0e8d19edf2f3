"""Forks of a process in which other libraries have run their threads: a child gets the bits of its parent, and ends.

    python tests/soak/forks.py --seconds 60 [--libraries sklearn torch xgboost lightgbm]

Children are made by os.fork after a call and beside threads that are in one, by the three start methods of
multiprocessing, and by joblib where it is installed. One that does not end in a minute is a finding.
"""

import argparse
import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak.part import last_line

import crossent as xe

LONGEST = 60  # seconds of a child
POOL_SIZE, POOL_JOBS = 2, 6
RNG = np.random.default_rng(0)
X, TARGET = RNG.normal(0, 3, (2000, 1000)).astype(np.float32), np.arange(2000) % 1000


def evaluate():
    return xe.cross_entropy(X, TARGET, return_grad=True)


WANTED = evaluate()


def has_same_bits(_=None):
    loss, grad = evaluate()
    return bool(loss == WANTED[0] and (grad == WANTED[1]).all())


# ---- Other libraries, with their threads -----------------------------------------------------------------------------

FEATURES, LABELS = RNG.normal(size=(4000, 20)), np.arange(4000) % 3


def run_sklearn():
    from sklearn.cluster import KMeans

    KMeans(3, n_init=1, max_iter=3).fit(FEATURES)


def run_torch():
    import torch

    torch.nn.functional.cross_entropy(torch.randn(4000, 1000), torch.zeros(4000, dtype=torch.long))


def run_xgboost():
    import xgboost

    xgboost.train({"num_class": 3, "objective": "multi:softprob"}, xgboost.DMatrix(FEATURES, LABELS), 2)


def run_lightgbm():
    import lightgbm

    lightgbm.train({"num_class": 3, "objective": "multiclass", "verbose": -1}, lightgbm.Dataset(FEATURES, LABELS), 2)


LIBRARIES = {"sklearn": run_sklearn, "torch": run_torch, "xgboost": run_xgboost, "lightgbm": run_lightgbm}


def installed():
    return [name for name in LIBRARIES if importlib.util.find_spec(name)]


# ---- Children: how many there were. A finding is an exception --------------------------------------------------------


def fork():
    """One child, and one of its own."""
    child = os.fork()
    if not child:
        grandchild = os.fork() if has_same_bits() else None
        if grandchild == 0:
            os._exit(0 if has_same_bits() else 2)
        os._exit(3 if grandchild is None else 0 if wait(grandchild) == 0 else 4)
    status = wait(child)
    if status:
        raise AssertionError(f"a forked process ended with {status}")
    return 2


def wait(child):
    """The exit status; a child that hangs is killed."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "a hang"


@contextmanager
def busy_threads():
    """Threads that are in calls."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            evaluate()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def fork_beside_threads(times=10):
    with busy_threads():
        return sum(fork() for _ in range(times))


def pool(method):
    def run():
        with multiprocessing.get_context(method).Pool(POOL_SIZE) as workers:
            if not all(workers.map_async(has_same_bits, range(POOL_JOBS)).get(LONGEST)):
                raise AssertionError(f"other bits in a process of {method}")
        return POOL_SIZE
    return run


def loky():
    import joblib

    if not all(joblib.Parallel(POOL_SIZE, timeout=LONGEST)(joblib.delayed(has_same_bits)(k) for k in range(POOL_JOBS))):
        raise AssertionError("other bits in a process of loky")
    return POOL_SIZE


WAYS = {"fork": fork, "fork beside threads": fork_beside_threads, "a pool by fork": pool("fork"),
        "a pool by forkserver": pool("forkserver"), "a pool by spawn": pool("spawn")}
RARE = 25  # the ways that start interpreters take a second each, and have one turn in so many


def run(seconds, libraries):
    """How many children there were of each way, and the findings."""
    ways = {**WAYS, "loky": loky} if importlib.util.find_spec("joblib") else WAYS
    children, end, turn = dict.fromkeys(ways, 0), time.monotonic() + seconds, 0
    while True:
        if libraries:
            LIBRARIES[libraries[turn % len(libraries)]]()
        for way, start in ways.items():
            if turn % RARE and way not in ("fork", "fork beside threads"):
                continue
            if time.monotonic() > end and all(children.values()):
                return children, []
            try:
                children[way] += start()
            except Exception as error:
                return children, [f"{way}: {error!r}"]
        turn += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", help="taken as by other parts; there is nothing to draw")
    parser.add_argument("--libraries", nargs="*", default=installed(), choices=LIBRARIES)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of Python: a process with threads forks
    children, findings = run(given.seconds, given.libraries)
    print("beside", ", ".join(given.libraries) or "no library", children, *findings)
    print(last_line(sum(children.values()), len(findings)))
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
