"""Make a wheel for Linux fit for PyPI: `python tools/repair_wheel.py WHEEL FOLDER [--libgomp FILE]`.

Adds GNU's OpenMP runtime with its licence, which crossent/_openmp.py loads where a machine has none. auditwheel then
strips what is compiled, finds the oldest Linux that the wheel runs on and says so in its name.
"""

import argparse
import os
import re
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NAME = "libgomp.so.1"
LICENCES = Path(__file__).parent / "libgomp"
EXPRESSION = "BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1"


def runtime_of_the_compiler() -> Path:
    compiler = os.environ.get("CXX", "g++")
    found = subprocess.run([compiler, f"-print-file-name={NAME}"], capture_output=True, text=True, check=True)
    path = Path(found.stdout.strip())
    if not path.is_absolute():  # the compiler prints the name alone
        sys.exit(f"{compiler} has no {NAME}")
    return path


def with_licences(metadata: str) -> str:
    """The metadata of the wheel, which tell of the second licence and of its files."""
    files = "".join(f"License-File: libgomp/{path.name}\n" for path in sorted(LICENCES.iterdir()))
    changed, expressions = re.subn(r"(?m)^License-Expression: .*$", f"License-Expression: {EXPRESSION}", metadata)
    changed, last_lines = re.subn(r"(?m)^License-File: LICENSE\n", rf"\g<0>{files}", changed)
    if (expressions, last_lines) != (1, 1):
        sys.exit("the metadata do not name BSD-3-Clause and the file LICENSE")
    return changed


def file_named(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)  # of 1980: the same wheel whenever it is made
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def add_runtime(wheel: Path, runtime: Path, to: Path) -> None:
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            content = old.read(entry)
            folder, _, name = entry.filename.rpartition("/")
            if name == "METADATA":
                content = with_licences(content.decode()).encode()
                for path in sorted(LICENCES.iterdir()):
                    new.writestr(file_named(f"{folder}/licenses/libgomp/{path.name}"), path.read_bytes())
            new.writestr(entry, content)
        new.writestr(file_named(f"crossent/{NAME}"), runtime.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--libgomp", type=Path, help="the runtime; else that of the C++ compiler")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder) / given.wheel.name
        add_runtime(given.wheel, given.libgomp or runtime_of_the_compiler(), wheel)
        # auditwheel writes RECORD anew.
        options = ("--strip", "--zip-compression-level", "9", "--exclude", NAME, "--wheel-dir", str(given.folder))
        subprocess.run(["auditwheel", "repair", *options, str(wheel)], check=True)


if __name__ == "__main__":
    main()
