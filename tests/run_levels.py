"""Run the test-suite once for each ISA level this machine can run: python tests/run_levels.py [pytest arguments].

The level is chosen once per process, by CROSSENT_ISA. Two levels run side by side; what one prints is shown when it has
ended. The exit status is 1 if any level fails. Unless arguments name tests, what no kernel has a part in runs at the
best level only.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import crossent

# Errors and memory; files and commands; threads and the ends of processes; formulas in mpmath. Accuracy and bits have
# every level.
WITHOUT_KERNELS = (
    "tests/accuracy/test_reference.py",
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


def run(level, arguments):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    if level != crossent.config()["isa"] and all(argument.startswith("-") for argument in arguments):
        command += [f"--ignore={path}" for path in WITHOUT_KERNELS]
    done = subprocess.run(command, env={**os.environ, "CROSSENT_ISA": level}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(f"== CROSSENT_ISA={level}\n{done.stdout}", flush=True)
    return done.returncode


def main(arguments):
    levels = crossent.config()["isa_levels"]
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda level: run(level, arguments), levels))
    failed = [level for level, code in zip(levels, codes, strict=True) if code]
    print("failed: " + ", ".join(failed) if failed else "every level passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
