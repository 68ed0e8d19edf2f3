"""Calls, of which every second one is an error, leave no memory and no references behind.

    python tests/soak/leaks.py --calls 200000

Every public function is called with valid arguments and with the same arguments spoiled. After a third of the calls the
resident memory and the number of memory blocks of Python must stand still; that number, and the reference counts of
the arguments, their dtypes and what all calls have in common, do not grow with the calls of one kind. (What a debug
build of Python counts in all grows with every call of NumPy's, which is not compiled for one.)
"""

import argparse
import ctypes
import gc
import random
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.calls import CALLS
from soak.part import last_line

ROUNDS = 30
ALLOWED_KIB = 2000  # of 200,000 calls: a leak of 16 bytes a call is 3 MB
SHAPES = [(4, 3), (2, 40)]
NEVER = object()
LIBC = ctypes.CDLL(None)  # makes a class, which Python 3.13 without the GIL keeps for ever
HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
SPOILED = (None, "a", NEVER, [], 1.5, np.zeros(3, "S1"), np.zeros((1, 2, 3, 4)), np.full((4, 3), -7), [[1], [2, 3]])


def resident_kib():
    LIBC.malloc_trim(0)
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def blocks_in_use():
    gc.collect(0)
    sys._clear_type_cache()  # it holds the name of each attribute that was looked up last
    return sys.getallocatedblocks()


def cases():
    """(a call, its arguments, whether they are valid)"""
    rng = random.Random(1)
    for name, call in CALLS.items():
        for shape in SHAPES:
            arguments = call.draw(shape)
            yield name, arguments, True
            for spoiled in rng.sample(SPOILED, 2):
                yield name, {**arguments, rng.choice(sorted(arguments)): spoiled}, False


def one(name, arguments):
    """Whether it raised."""
    try:
        CALLS[name].results(arguments)
    except Exception:
        return True
    return False


def counts(arguments):
    """The memory blocks of Python, the references to what a call is given, and to what all calls have in common."""
    given = [x for x in arguments.values() if isinstance(x, np.ndarray)]
    common = [True, False, np.dtype("f4"), np.dtype("f8"), np.float32, np.ndarray, Exception, NEVER]
    blocks = blocks_in_use() if HAS_GIL else 0  # else some are given back later
    return [blocks, *(sys.getrefcount(x) for x in (*given, *(x.dtype for x in given), *common))]


def check_references(all_cases, times=20, tries=3):
    """Findings of objects whose count changes by as much as there are calls: each time, as caches fill up once."""
    for name, arguments, valid in all_cases:
        for _ in range(tries):
            before = counts(arguments)
            for _ in range(times):
                one(name, arguments)
            after = counts(arguments)
            if all(abs(b - a) < times // 2 for a, b in zip(before, after, strict=True)):
                break
        else:
            yield f"{name}, {'valid' if valid else 'an error'}: blocks and references went from {before} to {after}"


def run(calls, rounds=ROUNDS):
    """The number of calls, errors among them, and the findings."""
    all_cases = list(cases())
    findings, made, errors = list(check_references(all_cases)), 0, 0
    turns, sizes = max(1, calls // rounds // len(all_cases)), []
    for _ in range(rounds):
        for name, arguments, _ in all_cases * turns:
            errors += one(name, arguments)
            made += 1
        gc.collect()
        sizes.append((resident_kib(), blocks_in_use()))
    print("resident KiB and blocks after each round:", sizes)  # three of the blocks each are of this list
    (kib, blocks), (kib_after, blocks_after) = sizes[rounds // 3], sizes[-1]
    if kib_after - kib > ALLOWED_KIB:
        findings.append(f"resident memory grew from {kib} to {kib_after} KiB")
    if blocks_after - blocks > rounds * 5:
        findings.append(f"the memory blocks of Python grew from {blocks} to {blocks_after}")
    if not 0 < errors < made:
        findings.append(f"{errors} of {made} calls were errors: expected some of both")
    return made, errors, findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=200_000)
    made, errors, findings = run(parser.parse_args().calls)
    for finding in findings:
        print(finding)
    print(f"{errors} of the calls were errors")
    print(last_line(made, len(findings)))
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
