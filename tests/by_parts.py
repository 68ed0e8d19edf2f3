"""Run the test files one at a time and remember which have passed, so that all are covered over several runs.

    python tests/by_parts.py NAME [--minutes M] [--timeout S] [--skip GLOB ..] [--under COMMAND] [-- pytest arguments]

build/parts/NAME.json has what became of each file; a file that has passed is not run again until that is deleted.
`--under` is what runs Python, as "qemu-x86_64 -cpu Haswell".
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NO_TESTS = 5  # of pytest: all were deselected


def test_files(skipped):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    left_out = [f"{folder}/*" for folder in settings["norecursedirs"]]
    names = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))
    return [name for name in names if not any(fnmatch(name, glob) for glob in (*left_out, *skipped))]


def run(file, under, arguments, timeout):
    """What became of a file: its state, the last line of pytest, seconds; the output of one that failed is shown."""
    command = [*under, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file, *arguments]
    begin = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout)
        state, output = "passed" if done.returncode in (0, NO_TESTS) else "failed", done.stdout
    except subprocess.TimeoutExpired as late:
        state, output = "timeout", (late.stdout or b"").decode(errors="replace")
    if state != "passed":
        print(output[-8000:])
    last = [line for line in output.splitlines() if re.search(r"\d+ (passed|failed|skipped|deselected|error)", line)]
    return {"state": state, "tests": last[-1].strip("= ") if last else "", "seconds": round(time.monotonic() - begin)}


def count(parts, word):
    return sum(int(n) for part in parts.values() for n in re.findall(rf"(\d+) {word}", part["tests"]))


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", help="of the file in build/parts")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no file after this time")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds of one file")
    parser.add_argument("--skip", nargs="*", default=[], help="files, as globs of tests/..")
    parser.add_argument("--under", type=shlex.split, default=[], help="what runs Python")
    own, pytest = (arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]) if (
        "--" in arguments) else (arguments, [])
    given = parser.parse_args(own)
    memory = ROOT / "build" / "parts" / f"{given.name}.json"
    parts = json.loads(memory.read_text()) if memory.exists() else {}
    memory.parent.mkdir(parents=True, exist_ok=True)
    files, end = test_files(given.skip), time.monotonic() + 60 * given.minutes
    for file in files:
        if parts.get(file, {}).get("state") == "passed" or time.monotonic() > end:
            continue
        parts[file] = run(file, given.under, pytest, given.timeout)
        print(file, parts[file]["state"], parts[file]["tests"], flush=True)
        memory.write_text(json.dumps(parts, indent=1))
    states = {file: parts[file]["state"] for file in files if file in parts}
    bad = [file for file, state in states.items() if state != "passed"]
    print(f"{given.name}: {len(states)} of {len(files)} files run, {count(parts, 'passed')} tests passed, "
          f"{count(parts, 'skipped')} skipped; " + (f"not passed: {', '.join(bad)}" if bad else "no failures"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
