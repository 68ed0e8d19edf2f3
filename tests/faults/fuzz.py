"""Random calls of every public function on memory between guard pages.

    python tests/faults/fuzz.py --calls 20000 --seed 1 [--jobs 2] [--seconds S]
    python tests/faults/fuzz.py --seed 1 --call 4711       # one of them, alone and described
    python tests/faults/fuzz.py --plant write              # must find the fault that it makes, and exit with 1

Each array lies with its first or last byte at a page that cannot be accessed, inputs cannot be written to, and what is
in and around an output must stay as it was. Results are compared with the formulas in NumPy, and bit by bit with those
for contiguous arrays. The calls are made in processes of their own: one that dies is a finding, and the next process
goes on with the next call. The last line has the number of calls, the rows (or elements) of each function, and the
findings; the exit status is 1 if there are any. CROSSENT_ISA says at which level. With a library under
AddressSanitizer: LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)", without which
no C++ exception can be thrown, and ASAN_OPTIONS=detect_leaks=0.
"""

import argparse
import json
import math
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import fuzz_plants  # noqa: E402
from fuzz_draw import draw  # noqa: E402

HANG = 120  # seconds that a call may take
DEFAULT_SEED = 2024


@dataclass
class Report:
    seed: int
    calls: int = 0
    rows: Counter = field(default_factory=Counter)  # by function; every function called is in it
    findings: list = field(default_factory=list)  # (call number, kind, text)

    def add(self, other):
        self.calls += other.calls
        for name, n in other.rows.items():
            self.rows[name] += n
        self.findings += other.findings

    def summary(self):
        rows = ", ".join(f"{name} {n}" for name, n in sorted(self.rows.items()))
        return f"seed {self.seed}: {self.calls} calls; rows: {rows}; {len(self.findings)} findings"


# ---- The process that makes the calls --------------------------------------------------------------------------------


def work(seed, numbers, plant):
    """Make calls and print a line before each, "> number rows name", and one for each finding, "! [kind, text]"."""
    from fuzz_check import check
    from guard_pages import Pool

    pool = Pool()
    for number in numbers:
        call = draw(seed, number)
        print(">", number, math.prod(call.rows), call.name, flush=True)
        signal.alarm(HANG)  # kills the process
        for finding in check(call, number, pool, plant):
            print("!", json.dumps([finding.kind, f"{finding.text}\n{call}"]), flush=True)
    print("done", flush=True)


# ---- The process that watches it -------------------------------------------------------------------------------------


def watch(seed, start, stop, step, plant=None, until=None):
    """The report of the calls range(start, stop, step), or of fewer if time is up. `stop` None: no end."""
    report = Report(seed)
    while stop is None or start < stop:
        last, died = _watch_one(report, seed, start, stop, step, plant, until)
        if died is None:
            break
        if last is None:
            raise RuntimeError(f"the process of the calls cannot start: {died}")
        report.findings.append((last, "crash", f"{died}\n{draw(seed, last)}"))
        start = last + step
    return report


def _watch_one(report, seed, start, stop, step, plant, until):
    """(the last call, what the process died of: None if it came to the end)"""
    command = [sys.executable, __file__, "--seed", seed, "--work", start, "" if stop is None else stop, step]
    command += ["--plant", plant] if plant else []
    worker = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    last, done = None, False
    with ThreadPoolExecutor(1) as reader:
        errors = reader.submit(worker.stderr.read)  # beside the calls, as the pipe holds only so much
        for line in worker.stdout:
            mark, _, rest = line.rstrip("\n").partition(" ")
            if mark == ">":
                if until is not None and time.monotonic() > until:
                    worker.kill()
                    done = True
                    break
                number, rows, name = rest.split()
                last = int(number)
                report.calls += 1
                report.rows[name] += int(rows)
            elif mark == "!":
                report.findings.append((last, *json.loads(rest)))
            else:
                done = True
    code = worker.wait()
    for pipe in (worker.stdout, worker.stderr):
        pipe.close()
    if done:
        return last, None
    what = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return last, f"{what}\n{errors.result()[:8000]}".rstrip()


def fuzz(seed=DEFAULT_SEED, calls=None, jobs=1, plant=None, seconds=None):
    """The report of the calls 0 to `calls` - 1; without `calls`, of as many as there is time for."""
    until = None if seconds is None else time.monotonic() + seconds
    report = Report(seed)
    with ThreadPoolExecutor(jobs) as pool:
        for part in pool.map(lambda job: watch(seed, job, calls, jobs, plant, until), range(jobs)):
            report.add(part)
    report.findings.sort()
    return report


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, help="how many (default: 2000, or what --seconds leaves time for)")
    parser.add_argument("--seconds", type=float, help="stop after this time")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--call", type=int, metavar="N", help="make call N alone, and describe it")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--plant", choices=sorted(fuzz_plants.FINDINGS), help="make a fault now and then")
    parser.add_argument("--work", nargs=3, metavar=("START", "STOP", "STEP"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.work:
        start, stop, step = (int(n) if n else None for n in given.work)
        work(given.seed, count(start, step) if stop is None else range(start, stop, step), given.plant)
        return 0
    if given.call is not None:
        print(draw(given.seed, given.call))
        report = watch(given.seed, given.call, given.call + 1, 1, given.plant)
    else:
        calls = 2000 if given.calls is None and given.seconds is None else given.calls
        report = fuzz(given.seed, calls, given.jobs, given.plant, given.seconds)
    for number, kind, text in report.findings:
        print(f"{kind} in --seed {given.seed} --call {number}: {text}\n")
    print(report.summary())
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
