"""The accuracy report: python tests/accuracy/report.py --full|--short [--levels ..] [--peers ..] [--only ..] [--json F]
[--markdown F [--beside DIR]].

The work is cut into pieces (a family of operations, a dtype, a distribution), each of which leaves a JSON file in
--out. A piece whose file is there, of the same compiled core, is not measured again: a run that was stopped goes on,
and two runs with different --only share the work. It is one process at a time; OMP_NUM_THREADS is not looked at.
"""

import argparse
import fnmatch
import json
import os
import time
from pathlib import Path

import numpy as np
import page
from inputs import FULL, SHORT, sizes
from libraries import PEERS, Group, core_hash, keep_memory
from pieces import PIECES, Piece

import crossent as xe

ROOT = Path(__file__).resolve().parents[2]


def path_of(folder, family, dtype, distribution):
    return folder / f"{family}-{dtype}-{distribution}.json"


def usable(path, wanted):
    """The piece in `path`, if it is of this core and has every library that is wanted."""
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    same = all(found[key] == wanted[key] for key in ("core", "rows"))
    return found if same and set(wanted["libraries"]) <= set(found["libraries"]) else None


def measured(pieces, table, levels, peers, out):
    """The pieces, measured or read."""
    group, core = Group(levels, peers), core_hash()
    for name in group.missing:
        print(f"{name} is not installed: not compared")
    libraries = {library.name: library.version for library in group.members}
    found = []
    for family, dtype, distribution in pieces:
        rows = {str(c): n for c, n in sizes(family, distribution, table).items()}
        wanted = {"family": family, "dtype": dtype, "distribution": distribution, "core": core, "rows": rows,
                  "libraries": libraries}
        path = path_of(out, family, dtype, distribution)
        piece = usable(path, wanted)
        if piece is None:
            start = time.process_time() + children_time()
            results = Piece(family, dtype, distribution).measure(group, table)
            piece = {**wanted, "seconds": round(time.process_time() + children_time() - start, 2), "results": results}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".part").write_text(json.dumps(piece))
            path.with_suffix(".part").rename(path)
            print(f"{family:13} {dtype:8} {distribution:14} {piece['seconds']:7.1f} s of a core", flush=True)
        found.append(piece)
    group.close()
    return found


def children_time():
    """Of the libraries' processes, which live: from /proc where there is one."""
    ticks = 0
    me = os.getpid()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == me:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--full", action="store_true", help=f"rows per number of classes: {FULL}")
    size.add_argument("--short", action="store_true", help=f"the same of the test: {SHORT}")
    parser.add_argument("--levels", help="ISA levels, with commas; all that this machine has")
    parser.add_argument("--peers", nargs="?", const=",".join(PEERS), default="", help="all, or names with commas")
    parser.add_argument("--only", default="*", help="pieces by pattern: 'logits-float32-*'; several with commas")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "accuracy", help="folder of the pieces")
    parser.add_argument("--json", type=Path, help="all pieces in one file")
    parser.add_argument("--markdown", type=Path, help="the page docs/explanation/accuracy.md is")
    parser.add_argument("--beside", type=Path, help="its comparison with other libraries: the folder of a short report")
    options = parser.parse_args()

    np.seterr(all="ignore")
    keep_memory()
    levels = options.levels.split(",") if options.levels else xe.config()["isa_levels"]
    peers = [name for name in options.peers.split(",") if name]
    patterns = options.only.split(",")
    pieces = [p for p in PIECES if any(fnmatch.fnmatch("-".join(p), pattern) for pattern in patterns)]
    table, name = (FULL, "full") if options.full else (SHORT, "short")
    found = measured(pieces, table, levels, peers, options.out / name)
    if options.json:
        options.json.write_text(json.dumps(found))
    if options.markdown:
        beside = [json.loads(path_of(options.beside, *p).read_text()) for p in PIECES] if options.beside else found
        options.markdown.write_text(page.render(found, name, table, beside))
    print("\n".join(page.summary(found)))
    return 1 if page.over_the_bar(found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
