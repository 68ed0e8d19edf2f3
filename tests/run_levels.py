"""Run the tests at each ISA level of this machine: python tests/run_levels.py [pytest arguments].

The level is chosen once per process, by CROSSENT_ISA. The best level has all tests, in parts; the levels between,
which have its bits, the tests that compare bits; the baseline, whose bits are its own, these and those of accuracy.
All tests at every level: `nox -s 'long(products)'`. More parts run side by side than there are processors, as some
tests sleep; what one prints is shown when it has ended. The exit status is 1 if any part fails. Arguments that name
tests are run at every level.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import crossent

# Accuracy of the baseline, which has arithmetic of its own: `if constexpr (!has_fma)`.
ACCURACY = (
    "tests/accuracy/test_accuracy.py",
    "tests/attack/test_attack.py",
    "tests/faults/test_fuzz.py",
    "tests/losses/test_divergence.py",
    "tests/losses/test_tiny_temperatures.py",
)

# Results of every loss, dtype and kind of rows, as hashes.
BITS = (
    "tests/contract/test_bits.py",
    "tests/contract/test_bits_of_losses.py",
    "tests/contract/test_edge_cases_infinite.py",
    "tests/contract/test_few_classes.py",
)

# The baseline has ways of its own through rows and special values, too: registers of four.
BASELINE = (
    *BITS,
    "tests/contract/test_edge_cases.py",
    "tests/contract/test_edge_cases_of_losses.py",
    "tests/contract/test_layouts.py",
    "tests/contract/test_layouts_of_losses.py",
    "tests/contract/test_ties.py",
    "tests/losses/test_every_loss.py",
)

# What takes about as long as each other, and as all other folders together.
PARTS = ("tests/losses", "tests/faults", "tests/contract")


def parts(level, best):
    """The arguments of pytest of each part of the tests at a level, the longest first."""
    if level == best:
        return [*([path] for path in PARTS), [f"--ignore={path}" for path in PARTS]]
    return [list(BASELINE), list(ACCURACY)] if level == "baseline" else [list(BITS)]


def run(level, arguments):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    start = time.monotonic()
    done = subprocess.run(command, env={**os.environ, "CROSSENT_ISA": level}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    shown = " ".join(a for a in arguments if not a.startswith("--ignore")) or "all other tests"
    print(f"== CROSSENT_ISA={level} {shown}: {time.monotonic() - start:.0f} s\n{done.stdout}", flush=True)
    return done.returncode


def main(arguments):
    levels, best = crossent.config()["isa_levels"], crossent.config()["isa"]
    named = any(not argument.startswith("-") for argument in arguments)
    tasks = [(level, [*part, *arguments]) for level in sorted(levels, key=lambda level: level != best)
             for part in ([[]] if named else parts(level, best))]
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        codes = list(pool.map(lambda task: run(*task), tasks))
    failed = [" ".join((level, *part)) for (level, part), code in zip(tasks, codes, strict=True) if code]
    print("failed: " + "; ".join(failed) if failed else "every level passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
