"""Run the tests at each ISA level of this machine: python tests/run_levels.py [pytest arguments].

The level is chosen once per process, by CROSSENT_ISA. The best level has all tests, in parts, the baseline, whose bits
are its own, those in which a kernel has a part, and the levels between, which have the bits of the best one, the tests
that compare bits. More parts run side by side than there are processors, as some tests sleep; what one prints is shown
when it has ended. The exit status is 1 if any part fails. Arguments that name tests are run at every level.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import crossent

# Errors and memory; files and commands; threads and the ends of processes; formulas in mpmath. Accuracy and bits have
# every level.
WITHOUT_KERNELS = (
    "tests/accuracy/test_reference.py",
    "tests/attack/test_fast_oracle.py",
    "tests/contract/test_errors_buffers.py",
    "tests/contract/test_errors_of_sparse_teachers.py",
    "tests/contract/test_errors_positions.py",
    "tests/contract/test_errors_types.py",
    "tests/contract/test_errors_values.py",
    "tests/contract/test_helpers.py",
    "tests/contract/test_memory.py",
    "tests/contract/test_package.py",
    "tests/contract/test_signatures.py",
    "tests/contract/test_threads.py",
    "tests/evaluation",
    "tests/faults/test_allocation.py",
    "tests/faults/test_changed_arguments.py",
    "tests/faults/test_changed_by_threads.py",
    "tests/faults/test_exit.py",
    "tests/faults/test_interrupt.py",
    "tests/faults/test_private.py",
    "tests/oracle",
    "tests/parallel/test_communicator.py",
    "tests/parallel/test_damaged_messages.py",
    "tests/parallel/test_ordered_sums.py",
    "tests/parallel/test_row_sums.py",  # sums of losses, which other tests have at every level
    "tests/parallel/test_rows_over_ranks.py",
    "tests/soak",
    "tests/typed",
)

# Results of every loss, dtype and kind of rows, as hashes, and in every layout.
BITS = (
    "tests/contract/test_bits.py",
    "tests/contract/test_bits_of_losses.py",
    "tests/contract/test_edge_cases.py",
    "tests/contract/test_edge_cases_infinite.py",
    "tests/contract/test_edge_cases_of_losses.py",
    "tests/contract/test_few_classes.py",
    "tests/contract/test_layouts.py",
    "tests/contract/test_layouts_of_losses.py",
    "tests/contract/test_ties.py",
    "tests/losses/test_every_loss.py",
)

# What takes about as long as each other, and as all other folders together.
PARTS = ("tests/losses", "tests/faults", "tests/contract")


def parts(level, best):
    """The arguments of pytest of each part of the tests at a level, the longest first."""
    if level not in (best, "baseline"):
        return [list(BITS)]
    ignored = [f"--ignore={path}" for path in WITHOUT_KERNELS] if level != best else []
    others = [f"--ignore={path}" for path in PARTS]
    return [*([path, *ignored] for path in PARTS), [*others, *ignored]]


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
