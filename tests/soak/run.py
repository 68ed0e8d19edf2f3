"""The long forms of what may crash, hang or leak: parts that take turns for some hours.

    python tests/soak/run.py --hours 2 [--parts threads forks ..]

Each run of a part has the next seed, and fuzzers go on with the inputs that they have found; build/soak/totals.json has
how often each part was run, its executions and its findings, over all runs. What a finding printed is beside it. The
programs of libFuzzer are built by the session `soak`; without them, and without Atheris, those parts are left out.
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak.parsers import PARSERS

import crossent

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "soak"
# By preset: what is before the names of its programs, and the levels that it leaves out: MemorySanitizer of Clang 19
# does not know what masked stores of AVX2 write.
PRESETS = {"fuzz": ("", ()), "msan": ("msan ", ("avx2",))}
LEVELS = crossent.config()["isa_levels"]
EXAMPLES = 600  # of each property, ten times the ordinary number
LONGEST_TURN = 600  # seconds
DONE = re.compile(r"(\d+) (?:executions|calls|passed|refused|read)\b|executed_units: +(\d+)")


def python(script, *arguments):
    return [sys.executable, str(ROOT / "tests" / script), *map(str, arguments)]


def fuzzers(preset):
    programs = sorted((ROOT / "build" / preset / "cpp/fuzz").glob("fuzz_*"))
    return [program for program in programs if program.is_file() and os.access(program, os.X_OK)]


def corpus(name):
    folder = FOLDER / "corpus" / name
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def of_libfuzzer(name, seconds, seed):
    return [corpus(name), f"-max_total_time={seconds:.0f}", f"-seed={seed}", "-print_final_stats=1", "-timeout=120",
            f"-artifact_prefix={FOLDER}/", "-rss_limit_mb=4096"]


def parts():
    """{name: (command of seconds and seed, environment)}"""
    found = {}
    for level in LEVELS:
        env = {"CROSSENT_ISA": level}
        found[f"guarded calls, {level}"] = lambda s, k: python("faults/fuzz.py", "--seconds", s, "--seed", k), env
        for preset, (label, without) in PRESETS.items():
            if level in without:
                continue
            for program in fuzzers(preset):
                found[f"{label}{program.name}, {level}"] = lambda s, k, program=program: [
                    str(program), *of_libfuzzer(program.name, s, k)], env
        found[f"threads, {level}"] = lambda s, k: python("soak/calls_at_once.py", "--seconds", s, "--seed", k), env
        found[f"properties, {level}"] = lambda s, k: [
            *(sys.executable, "-m", "pytest", "-q", "-m", "hypothesis", f"--hypothesis-seed={k}", str(ROOT / "tests"))
        ], {**env, "CROSSENT_EXAMPLES": str(EXAMPLES)}
    if importlib.util.find_spec("atheris"):
        for name in PARSERS:
            found[f"guided {name}"] = lambda s, k, name=name: python(
                "soak/guided.py", name, *of_libfuzzer(f"guided {name}", s, k)), {}
    found["parsers"] = lambda s, k: python("soak/parsers.py", "--seconds", s, "--seed", k), {}
    found["files"] = lambda s, k: python("faults/fuzz_files.py", "--count", int(100 * s), "--seed", k), {}
    found["forks"] = lambda s, k: python("soak/forks.py", "--seconds", s), {}
    found["leaks"] = lambda s, k: python("soak/leaks.py"), {}
    return found


def take_turn(name, command, env, seconds, total):
    """Runs a part once, and adds to its total."""
    seed, begin = total["runs"] + 1, time.monotonic()
    # Nothing takes longer than its time by so much, but what hangs.
    try:
        done = subprocess.run(command(seconds, seed), cwd=ROOT, env={**os.environ, **env}, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20 * seconds + 3600)
        output, is_finding = done.stdout, done.returncode != 0
    except subprocess.TimeoutExpired as late:
        output, is_finding = f"a hang\n{(late.stdout or b'').decode(errors='replace')}", True
    executions = sum(int(a or b) for a, b in DONE.findall(output)) * int(env.get("CROSSENT_EXAMPLES", "1"))
    if is_finding:
        (FOLDER / f"{name} {seed}.txt").write_text(output)
    total["runs"] += 1
    total["executions"] += executions
    total["findings"] += is_finding
    total["seconds"] += round(time.monotonic() - begin)
    print(f"{name}, seed {seed}: {executions} executions" + (", A FINDING" if is_finding else ""), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hours", type=float, default=1)
    parser.add_argument("--parts", nargs="+", metavar="NAME", help="those whose names begin so (default: all)")
    given = parser.parse_args()
    chosen = {name: part for name, part in parts().items() if name.startswith(tuple(given.parts or [""]))}
    FOLDER.mkdir(parents=True, exist_ok=True)
    memory, end = FOLDER / "totals.json", time.monotonic() + 3600 * given.hours
    totals = json.loads(memory.read_text()) if memory.exists() else {}
    turn = min(LONGEST_TURN, max(2, 3600 * given.hours / len(chosen)))
    while time.monotonic() < end:
        # What has had the least time is next.
        name = min(chosen, key=lambda part: totals.get(part, {"seconds": 0})["seconds"])
        total = totals.setdefault(name, dict.fromkeys(("runs", "executions", "findings", "seconds"), 0))
        take_turn(name, *chosen[name], turn, total)
        memory.write_text(json.dumps(totals, indent=1))
    for name, total in sorted(totals.items()):
        print(f"{name}: {total['executions']} executions in {total['seconds']} s, {total['findings']} findings")
    sys.exit(1 if any(totals[name]["findings"] for name in chosen if name in totals) else 0)


if __name__ == "__main__":
    main()
