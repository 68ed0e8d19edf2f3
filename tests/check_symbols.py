"""Look into object files with nm for what would change results without a word.

A weak symbol in a kernel object (an inline function, a template) is merged by the linker with its namesake from
another ISA level: the result is the wrong bits, or an illegal instruction. A call to exp, log, fma and the like gives
bits that depend on the C library of the machine. sqrt, floor and rint are exact everywhere, so they may stay.

    check_symbols.py --kernels OBJECT... --core OBJECT...      (ctest runs it as `symbols`)
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

WEAK_TYPES = set("WwVvu")
LIBM = re.compile(
    r"_{0,2}(_ZGV[a-z]\w+?_)?"  # macOS and glibc underscores; libmvec names such as _ZGVdN8v_expf
    r"(exp|log|fma|pow|sin|cos|tan|asin|acos|atan|sinh|cosh|tanh|erf|cbrt|hypot|[tl]gamma)"
    r"\w*"
)


def symbols(nm: str, path: Path) -> list[tuple[str, str]]:
    """(type, name) of each symbol of an object file; an object without any is an error."""
    output = subprocess.run([nm, str(path)], check=True, capture_output=True, text=True).stdout
    found = re.findall(r"^[0-9a-fA-F]* +([A-Za-z?]) (\S+)", output, re.MULTILINE)
    if not found:
        raise SystemExit(f"{path}: {nm} lists no symbols")
    return found


def check(nm: str, kernels: list[Path], core: list[Path]) -> list[str]:
    """What is wrong, one line for each symbol."""
    problems = []
    for path in kernels + core:
        for kind, name in symbols(nm, path):
            if path in kernels and kind in WEAK_TYPES:
                problems.append(f"{path}: weak symbol ({kind}): {name}")
            if kind == "U" and LIBM.fullmatch(name):
                problems.append(f"{path}: call into libm: {name}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--kernels", nargs="+", type=Path, required=True, metavar="OBJECT")
    parser.add_argument("--core", nargs="+", type=Path, required=True, metavar="OBJECT")
    args = parser.parse_args()
    problems = check(args.nm, args.kernels, args.core)
    for line in problems:
        print(line)
    print(f"{len(args.kernels)} kernel objects, {len(args.core)} core objects: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
