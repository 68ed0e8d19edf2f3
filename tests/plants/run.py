"""Whether the tests find the faults of planted.py: python tests/plants/run.py [--json FILE] [NAME ...]

Each is put into a copy of the tracked files in build/plants, from which the package is built. The tests that are named
beside it run first, then all, at the best level of this machine, up to the first that fails. Exit status 1: one that
none found. Adapters have to be installed with what they adapt: `nox -s 'long(plants)'`. An hour and a half.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from planted import FAULTS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "plants"
SOURCE, BUILD = FOLDER / "source", FOLDER / "core"


def copy_sources():
    shutil.rmtree(SOURCE, ignore_errors=True)
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.strip("\0").split("\0"):
        to = SOURCE / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, to)


def build(library):
    """The package from the copy, in a folder for PYTHONPATH. What has not changed is not compiled again."""
    shutil.rmtree(library, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps",
                    f"--config-settings=build-dir={BUILD}", "--target", str(library), str(SOURCE)], check=True)


def first_failure(library, tests):
    """The test that fails first, or None."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=SOURCE, env={**os.environ, "PYTHONPATH": str(library)}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode in (0, 5):  # 5: none was there to run
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if failed is None:
        raise SystemExit(done.stdout)
    return failed[1]


def plant(fault, clean):
    """(the test that finds it or None, seconds)"""
    file = SOURCE / fault.file
    text = file.read_text()
    if text.count(fault.text) != 1:
        raise SystemExit(f"{fault.file} has {text.count(fault.text)} times, not once: {fault.text}")
    library = FOLDER / "faulty"
    try:
        file.write_text(text.replace(fault.text, fault.wrong))
        if fault.file.startswith("python/"):
            shutil.rmtree(library, ignore_errors=True)
            shutil.copytree(clean, library)
            shutil.copy(file, library / Path(fault.file).relative_to("python"))
        else:
            build(library)
    finally:
        file.write_text(text)
    start = time.monotonic()
    found = first_failure(library, fault.tests.split()) or first_failure(library, [])
    return found, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of its name")
    parser.add_argument("--json", type=Path, help="where to write {name: the test that found it}")
    given = parser.parse_args()
    chosen = [f for f in FAULTS if not given.names or any(name in f.name for name in given.names)]
    copy_sources()
    build(FOLDER / "clean")
    found = {}
    for fault in chosen:
        found[fault.name], seconds = plant(fault, FOLDER / "clean")
        print(f"{fault.name}: {found[fault.name] or 'NOT FOUND'} ({seconds:.0f} s)", flush=True)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1) + "\n")
    missed = [name for name, test in found.items() if test is None]
    print(f"{len(found) - len(missed)} of {len(found)} found", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
