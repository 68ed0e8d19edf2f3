"""The `crossent` command, which is also `python -m crossent`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

DEMO_MODULES = ("sklearn", "matplotlib", "rich")  # what the extra `demo` brings; SciPy comes with scikit-learn


def info() -> int:
    from . import config

    values = config()
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name:<{width}}  {', '.join(value) if isinstance(value, (list, tuple)) else value}")
    return 0


def demo(out: Path, quick: bool) -> int:
    missing = [name for name in DEMO_MODULES if find_spec(name) is None]
    if missing:
        print(f"crossent demo needs {', '.join(missing)}: pip install crossent[demo]", file=sys.stderr)
        return 1
    from ._demo import run

    return run(out, quick)


def make_parser() -> argparse.ArgumentParser:
    from . import __version__
    from .evaluation import _commands

    parser = argparse.ArgumentParser(prog="crossent", description="Maximum-likelihood losses on NumPy arrays.")
    parser.add_argument("--version", action="version", version=f"crossent {__version__}")
    commands = parser.add_subparsers(dest="command")
    demo_parser = commands.add_parser(
        "demo", help="train classifiers, compare with scikit-learn, distil, smooth, calibrate, measure (a minute)"
    )
    out_help = "folder for the report and the figures (default: %(default)s)"
    demo_parser.add_argument("--out", type=Path, default=Path("crossent-demo"), help=out_help)
    demo_parser.add_argument("--quick", action="store_true", help="fewer networks, fewer logits: less than 20 seconds")
    commands.add_parser("info", help="print the version, the instruction set and the threads")
    _commands.add_parsers(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Without a command, prints the help."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        if options.command == "info":
            return info()
        if options.command == "demo":
            return demo(options.out, options.quick)
        if "run" in options:
            return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    parser.print_help()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
