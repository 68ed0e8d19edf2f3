"""Run the test-suite once for each ISA level this machine can run: python tests/run_levels.py [pytest arguments].

The level is chosen once per process, by CROSSENT_ISA. The exit status is 1 if any level fails.
"""

import os
import subprocess
import sys

import crossent


def main(arguments):
    failed = []
    for level in crossent.config()["isa_levels"]:
        print(f"== CROSSENT_ISA={level}", flush=True)
        command = [sys.executable, "-m", "pytest", *arguments]
        if subprocess.run(command, env={**os.environ, "CROSSENT_ISA": level}).returncode:
            failed.append(level)
    print("failed: " + ", ".join(failed) if failed else "every level passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
