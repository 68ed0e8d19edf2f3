"""Faults put in on purpose, to show that the search finds them: python tests/attack/plants.py [--seconds N] [NAME ...]

Each is one piece of text of the source that is replaced by another; the package is built from a copy with the fault and
searched at the best level of this machine. Exit status 1: a fault that led to no error above a bar of bounds.py.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("CMakeLists.txt", "LICENSE", "README.md", "pyproject.toml", "cpp", "python")


@dataclass(frozen=True)
class Plant:
    file: str
    text: str
    fault: str
    targets: tuple  # patterns of those that are searched


PLANTS = {
    # Two equal maxima, the others far below: a tail of hardly more than 1 is taken for that of a maximum alone.
    "tie": Plant(
        "cpp/src/ops/cross_entropy_term.hpp", "statistics.tail[i] < alone;", "statistics.tail[i] < 1 + 0x1p-20;",
        ("cross_entropy probabilities gradient: plain, float32",
         "cross_entropy probabilities gradient: plain, float64")),
    # One more level of the sum of a group in float32.
    "rounding": Plant(
        "cpp/src/kernels/walk/definition.hpp", "plain_packs = sizeof(T) == 4 ? 2 : 1;",
        "plain_packs = sizeof(T) == 4 ? 4 : 1;", ("log_softmax: plain, float32", "cross_entropy loss: plain, float32")),
    # An exponential of 1.1 ULP in float32: without the rounding errors of the table.
    "exponential": Plant(
        "cpp/src/kernels/math/exp.hpp", "set1(1.0f)), lo);", "set1(1.0f)), lo - lo);",
        ("softmax of two classes: plain, float32", "log_softmax: plain, float32")),
}


def build(plant, folder):
    """The package with the fault, in a folder for PYTHONPATH."""
    source, library = folder / "source", folder / "library"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    text = (source / plant.file).read_text()
    if text.count(plant.text) != 1:
        raise SystemExit(f"{plant.file} has {text.count(plant.text)} times, not once: {plant.text}")
    (source / plant.file).write_text(text.replace(plant.text, plant.fault))
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--target",
                    str(library), str(source)], check=True)
    return library


def errors(plant, library, seconds, folder):
    """{target: (confirmed error, its bar)}"""
    path = folder / "found.json"
    subprocess.run([sys.executable, str(ROOT / "tests/attack/run.py"), "--seconds", str(seconds), "--json", str(path),
                    "--targets", *plant.targets], env={**os.environ, "PYTHONPATH": str(library)}, check=False)
    return {name: (found["confirmed"], found["bar"]) for name, found in json.loads(path.read_text())["targets"].items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(PLANTS), help=", ".join(PLANTS))
    parser.add_argument("--seconds", type=float, default=60, help="of the search for each")
    given = parser.parse_args()
    missed = []
    for name in given.names:
        with tempfile.TemporaryDirectory() as folder:
            library = build(PLANTS[name], Path(folder))
            found = errors(PLANTS[name], library, given.seconds, Path(folder))
        if not any(error > limit for error, limit in found.values()):
            missed.append(name)
        print(f"{name}: {'NOT FOUND' if name in missed else 'found'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
