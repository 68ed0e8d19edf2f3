"""An attack on the promises of accuracy: a search for rows and options whose results are off by more than promised.

    python tests/attack/run.py --seconds 3600 --level avx512 --json build/attack/avx512.json
    python tests/attack/run.py --seconds 60 --targets "cross_entropy loss*float32" softmax
    python tests/attack/run.py --list
    python tests/attack/run.py --replay build/attack/avx512.json
    python tests/attack/run.py --summary build/attack docs/explanation/search.json

Exit status 1: an error above its bar (bounds.py), or one that mpmath does not confirm. With --json a run goes on from
the rows that the file has, and adds to them; --replay calls the library with them again.

How it works: starts.py draws rows of every kind that the promises name; search.py keeps the worst of them and changes
them (moves.py); the error of each is measured in extended precision (fast_oracle.py, oracle*.?pp), some 50,000 rows of
64 classes a second. What is reported was confirmed in mpmath by tests/oracle. Every target (targets.py) has its turn,
then those have more that still grow (attacks.py).

To add a function: a function of row i in one of oracle*.hpp, and its name in the table of oracle.cpp; an entry of
FUNCTIONS in functions.py, with the call, the mpmath formula and the arrays; its bar in bounds.py. test_fast_oracle.py
compares the two formulas.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]  # tests/oracle


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--level", help="the instruction set: baseline, avx2, avx512, neon")
    parser.add_argument("--targets", nargs="+", default=[""], help="patterns that names of targets have in them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="goes on from this file, and writes to it")
    parser.add_argument("--list", action="store_true", help="the names of the targets")
    parser.add_argument("--replay", type=Path, metavar="JSON", help="the rows of this file once more")
    parser.add_argument("--summary", type=Path, nargs=2, metavar=("FOLDER", "JSON"),
                        help="what the LEVEL.json files of the folder come to, for the page on accuracy")
    return parser.parse_args()


def main():
    given = arguments()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if given.level:
        os.environ["CROSSENT_ISA"] = given.level
    import attacks  # which loads the library, at this level

    return attacks.main(given)


if __name__ == "__main__":
    sys.exit(main())
