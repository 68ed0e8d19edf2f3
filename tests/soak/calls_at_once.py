"""32 threads call at once, every public function, and get the bits of one thread.

    python tests/soak/calls_at_once.py --seconds 60

Some calls are on arrays that all threads share, others on a thread's own; some are limited by `num_threads`, and all
the while another thread changes `set_num_threads`.
"""

import random
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.calls import CALLS
from soak.part import main
from support import bits

import crossent as xe

THREADS = 32
# (rows, classes): of the last four, calls use several threads.
SHAPES = [(1, 1), (5, 3), (40, 17), (9, 130), (3, 1025), (20_000, 3), (3000, 33), (600, 400), (40, 5000)]
BATCH = 60  # calls whose arguments are drawn at a time
MOST_THREADS = (1, 2, 3, 8)


def own(arguments):
    """Copies of the arrays."""
    return {name: x.copy() if isinstance(x, np.ndarray) else x for name, x in arguments.items()}


def drawn(rng):
    """A call, its arguments, and the bits of its results on one thread."""
    name = rng.choice(sorted(CALLS))
    arguments = CALLS[name].draw(rng.choice(SHAPES), rng.choice([np.float16, np.float32, np.float64]),
                                 rng.choice([np.ascontiguousarray, np.asfortranarray]), rng.randrange(1000))
    with xe.num_threads(1):
        return name, arguments, [bits(x) for x in CALLS[name].results(arguments)]


class Threads:
    """Threads that make some of the calls until the time is over."""

    def __init__(self, cases, until, seed):
        self.cases, self.until, self.seed = cases, until, seed
        self.counts, self.findings = [0] * THREADS, []

    def run(self):
        workers = [threading.Thread(target=self._work, args=(k,), daemon=True) for k in range(THREADS)]
        for worker in workers:
            worker.start()
        before, k = xe.get_num_threads(), 0
        while any(worker.is_alive() for worker in workers):
            xe.set_num_threads(MOST_THREADS[k % len(MOST_THREADS)])
            time.sleep(0.001)
            k += 1
            if time.monotonic() > self.until + 120:
                self.findings.append("a thread hangs")
                break
        xe.set_num_threads(before)
        return sum(self.counts), self.findings

    def _work(self, number):
        rng = random.Random(f"{self.seed} {number}")
        try:
            while time.monotonic() < self.until and not self.findings:
                self._call(rng)
                self.counts[number] += 1
        except Exception as error:
            self.findings.append(f"thread {number}: {error!r}")

    def _call(self, rng):
        name, arguments, wanted = rng.choice(self.cases)
        if number_of_threads := rng.choice([None, *MOST_THREADS]):
            with xe.num_threads(number_of_threads):
                results = CALLS[name].results(arguments if rng.random() < 0.5 else own(arguments))
        else:
            results = CALLS[name].results(arguments if rng.random() < 0.5 else own(arguments))
        if [bits(x) for x in results] != wanted:
            self.findings.append(f"{name}: other bits beside other threads")


def run(seconds, seed, batch=BATCH, of_each=20):
    """How many calls were compared, in batches of `of_each` seconds, and what was found."""
    rng, end, compared = random.Random(seed), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        cases = [drawn(rng) for _ in range(batch)]
        calls, findings = Threads(cases, min(end, time.monotonic() + of_each), rng.random()).run()
        compared += calls
        if findings:
            return compared, findings
    return compared, []


if __name__ == "__main__":
    main(run, __doc__)
