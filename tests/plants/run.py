"""Whether the tests find the faults of planted.py: python tests/plants/run.py [--search SECONDS] [NAME ...]

Each is put into a copy of the tracked files in build/plants, from which the package is built. The tests that are named
beside it run first, then all, at the level that has it, up to the first that fails; named files of C++ tests are built
and run in place of the package's tests. Exit status 1: one that none found. Adapters have to be installed with what
they adapt: `nox -s 'long(plants)'`. An hour.

With --search, the search of tests/attack in place of the tests, for the faults that it is to find.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from planted import FAULTS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "plants"
SOURCE, BUILD, CLEAN = FOLDER / "source", FOLDER / "core", FOLDER / "clean"
CPP_TESTS = FOLDER / "cpp_tests"


def copy_sources():
    """A file that is the same keeps its time, so that it is compiled again only if a fault was in it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = set(listed.strip("\0").split("\0"))
    for old in [path for path in SOURCE.rglob("*") if path.is_file()]:
        if str(old.relative_to(SOURCE)) not in names:
            old.unlink()
    for name in names:
        to = SOURCE / name
        if not to.exists() or to.read_bytes() != (ROOT / name).read_bytes():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to)


def build(library):
    """The package from the copy, in a folder for PYTHONPATH. What has not changed is not compiled again."""
    shutil.rmtree(library, ignore_errors=True)
    settings = f"build-dir={BUILD}", "cmake.define.CMAKE_UNITY_BUILD=OFF"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps",
                    *(f"--config-settings={setting}" for setting in settings), "--target", str(library), str(SOURCE)],
                   check=True)


def first_failure(library, tests, isa):
    """The test that fails first, or None."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    env = {**os.environ, "PYTHONPATH": str(library), **({"CROSSENT_ISA": isa} if isa else {})}
    done = subprocess.run(command, cwd=SOURCE, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode in (0, 5):  # 5: none was there to run
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if failed is None:
        raise SystemExit(done.stdout)
    return failed[1]


def by_cpp_tests(fault):
    """The named files of C++ tests, if one of their cases fails, or None."""
    configure = ["cmake", "-S", SOURCE, "-B", CPP_TESTS, "-DCMAKE_BUILD_TYPE=Release", "-DCROSSENT_TESTS=ON"]
    with planted(fault):
        subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["cmake", "--build", CPP_TESTS, "--target", "crossent_tests", "--parallel", "2"], check=True,
                       stdout=subprocess.DEVNULL)
    program = next(path for path in CPP_TESTS.rglob("crossent_tests") if path.is_file())
    done = subprocess.run([program, f"--source-file={fault.tests.replace('cpp/', '*cpp/').replace(' ', ',')}"],
                          stdout=subprocess.DEVNULL)
    return fault.tests if done.returncode else None


def by_tests(fault, library):
    return first_failure(library, fault.tests.split(), fault.isa) or first_failure(library, [], fault.isa)


def by_search(fault, library, seconds):
    """The target with an error above its bar in bounds.py, or None."""
    path = FOLDER / "found.json"
    path.unlink(missing_ok=True)  # or the search goes on from there
    subprocess.run([sys.executable, str(ROOT / "tests/attack/run.py"), "--seconds", str(seconds), "--json", str(path),
                    "--targets", *fault.targets], env={**os.environ, "PYTHONPATH": str(library)}, check=False)
    found = json.loads(path.read_text())["targets"]
    return next((name for name, of_target in found.items() if of_target["confirmed"] > of_target["bar"]), None)


@contextmanager
def planted(fault):
    file = SOURCE / fault.file
    text = file.read_text()
    if text.count(fault.text) != 1:
        raise SystemExit(f"{fault.file} has {text.count(fault.text)} times, not once: {fault.text}")
    try:
        file.write_text(text.replace(fault.text, fault.wrong))
        yield file
    finally:
        file.write_text(text)


def library_with(fault):
    """The package with the fault, as `build`. One of Python code needs no compiler."""
    library = FOLDER / "faulty"
    with planted(fault) as file:
        if fault.file.startswith("python/"):
            shutil.rmtree(library, ignore_errors=True)
            shutil.copytree(CLEAN, library)
            shutil.copy(file, library / Path(fault.file).relative_to("python"))
        else:
            build(library)
    return library


def finder_of(fault, seconds):
    """What finds the fault, or None. seconds: of the search, in place of the tests."""
    if fault.tests.startswith("cpp/") and not seconds:
        return by_cpp_tests(fault)
    library = library_with(fault)
    return by_search(fault, library, seconds) if seconds else by_tests(fault, library)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of its name")
    parser.add_argument("--search", type=float, metavar="SECONDS", help="of the search for each")
    parser.add_argument("--json", type=Path, help="where to write {name: what found it}")
    given = parser.parse_args()
    chosen = [f for f in FAULTS if not given.names or any(name in f.name for name in given.names)]
    if given.search:
        chosen = [fault for fault in chosen if fault.targets]
    copy_sources()
    if given.search or not all(fault.tests.startswith("cpp/") for fault in chosen):
        build(CLEAN)
    found = {}
    for fault in chosen:
        start = time.monotonic()
        found[fault.name] = finder_of(fault, given.search)
        print(f"{fault.name}: {found[fault.name] or 'NOT FOUND'} ({time.monotonic() - start:.0f} s)", flush=True)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1) + "\n")
    missed = [name for name, test in found.items() if test is None]
    print(f"{len(found) - len(missed)} of {len(found)} found", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
