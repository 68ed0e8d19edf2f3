"""What this package reads of files and of other processes: bytes that nobody vouches for.

    python tests/soak/parsers.py --seconds 60       # damaged inputs, of each parser in turn

`PARSERS` has for each a whole input, and a function that reads any: it returns whether the input was accepted, and
raises where an error is not the one that is promised. guided.py has Atheris find inputs.
"""

import contextlib
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evaluation.formats import kld_bytes, write
from faults.fuzz_files import damaged
from soak.part import main

import crossent as xe
from crossent import parallel
from crossent.evaluation._inputs import open_rows, open_targets
from crossent.parallel import DivergenceState, ShardState, StatisticsState
from crossent.parallel._state import pack, unpack

RNG = np.random.default_rng(0)
LOGITS, TEACHER = RNG.normal(size=(2, 3, 1500)).astype(np.float32)
TARGET = np.array([3, -100, 1400])


# ---- Parts of losses, of other processes -----------------------------------------------------------------------------


def states(logits, **options):
    return ShardState.of_shard(logits, None, 0, n_classes=1500, **options)


def row_states():
    return ShardState.of_shard(LOGITS, TARGET, 0, n_classes=1500, weight=np.ones(1500, np.float32), label_smoothing=0.1)


def divergence_sums():
    return DivergenceState.of_shard(LOGITS, TEACHER, states(LOGITS), states(TEACHER), 0)


def shard_statistics():
    with_target = ShardState.of_shard(LOGITS, TARGET, 0, n_classes=1500)
    return StatisticsState.of_shard(LOGITS, with_target, TARGET, top_k=2)


def row_sums():
    return parallel.RowSums.of_rows(xe.cross_entropy, LOGITS, TARGET)


def use_row_states(read):
    parallel.merge(read).loss(TARGET, weight=np.ones(1500, np.float32))


def use_divergence_sums(read):
    parallel.merge(read).loss(states(LOGITS), states(TEACHER))


def use_shard_statistics(read):
    with_target = ShardState.of_shard(LOGITS, TARGET, 0, n_classes=1500)
    parallel.merge(read).statistics(with_target, TARGET)


def use_row_sums(read):
    parallel.merge(read).loss()


def of_bytes(kind, make, use):
    """ValueError is all that `from_bytes` raises; of what it accepts, no use may end the process."""
    def read(data):
        try:
            value = kind.from_bytes(data)
        except ValueError as error:
            if "is not a result of" not in str(error):
                raise AssertionError("another message") from error
            return False
        for f in (repr, kind.to_bytes, use):
            with contextlib.suppress(Exception):
                f(value)
        return True
    use(make())
    return make().to_bytes(), read


# ---- Files -----------------------------------------------------------------------------------------------------------


def whole_file(name):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        if path.suffix == ".kld":
            return kld_bytes(6, 7, 4)[0]
        write(path, np.asfortranarray(LOGITS[:, :7]) if name == "f.npy" else LOGITS[:, :7])
        return path.read_bytes()


def of_file(name):
    """An error names the file, in one line."""
    path = Path(tempfile.gettempdir(), f"crossent-{os.getpid()}-{name}")  # two may run at once

    def rows():
        with np.errstate(all="ignore"):
            for _, block in open_rows(path).blocks(2):
                block.sum()

    def is_read(f):
        try:
            f()
        except (ValueError, OSError, IndexError) as error:
            if str(path) not in str(error) or "\n" in str(error):
                raise AssertionError("another message") from error
            return False
        return True

    def read(data):
        path.write_bytes(data)
        try:
            return [is_read(rows), is_read(lambda: open_targets(path, 12, classes=100))][0]
        finally:
            path.unlink()
    return whole_file(name), read


# ---- All of them -----------------------------------------------------------------------------------------------------

MESSAGES = {
    "ShardState": of_bytes(ShardState, row_states, use_row_states),
    "DivergenceState": of_bytes(DivergenceState, divergence_sums, use_divergence_sums),
    "StatisticsState": of_bytes(StatisticsState, shard_statistics, use_shard_statistics),
    "RowSums": of_bytes(parallel.RowSums, row_sums, use_row_sums),
}
PARSERS = {**MESSAGES, **{name: of_file(name) for name in ("x.npy", "f.npy", "x.npz", "x.kld")}}


ODD = (None, True, 0, -1, 3, 1500, 2**31, 10**12, 2**63, 2**70, 1.5, float("inf"), float("nan"), "", "a", "float64",
       "O", "indices", [], [1, 2], [[0, 1], [1, 2]], {}, {"a": 1}, [[[]]])


def with_odd_fact(rng, data):
    """A part of a loss in which one fact is another one."""
    facts, rest = unpack(data)
    inner = facts
    while True:
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        key = keys[rng.integers(len(keys))]
        if not isinstance(inner[key], (dict, list)) or not inner[key] or rng.random() < 0.3:
            break
        inner = inner[key]
    inner[key] = ODD[rng.integers(len(ODD))]
    return pack(facts, bytes(rest))


def run(seconds, seed, parsers=PARSERS):
    """Reads damaged inputs; how many, and the findings, one for each place that raised."""
    rng, end, counts, findings = np.random.default_rng(seed), time.monotonic() + seconds, Counter(), {}
    warnings.simplefilter("error")
    while time.monotonic() < end:
        for name, (whole, read) in parsers.items():
            facts = name in MESSAGES and rng.random() < 0.7
            data = with_odd_fact(rng, whole) if facts else damaged(rng, whole)
            try:
                counts[name, read(data)] += 1
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                counts[name, None] += 1
                findings.setdefault((name, where.filename, where.lineno), f"{name}: {error!r} of {data[:2000]!r}")
    for name in parsers:
        print(f"{name}: {counts[name, True]} accepted, {counts[name, False]} refused")
    return counts.total(), list(findings.values())


if __name__ == "__main__":
    main(run, __doc__)
