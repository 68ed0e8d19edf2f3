"""A wheel as `tools/repair_wheel.py` makes it: its files, and an OpenMP runtime that gives way to others."""

import ctypes
import importlib.metadata
import platform
import sys
from pathlib import Path

import pytest
from support import run_python

import crossent

FILES = importlib.metadata.files("crossent")
METADATA = importlib.metadata.metadata("crossent")
COPY = Path(crossent.__file__).with_name("libgomp.so.1")

# Wheels for musl and for macOS are built without OpenMP.
with_runtime = pytest.mark.skipif(not (sys.platform == "linux" and platform.libc_ver()[0] == "glibc"),
                                  reason="not for Linux with the GNU C library")

COMMON = """
import sys, pathlib
from threadpoolctl import threadpool_info, threadpool_limits

def runtimes():
    lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
    return sorted({line.split()[-1] for line in lines if "libgomp" in line})

def check_limits():
    import crossent as xe
    assert xe.config()["openmp"] != "none"
    before = xe.get_num_threads()
    with threadpool_limits(1):
        assert xe.get_num_threads() == 1
    assert xe.get_num_threads() == before == 2
    assert xe.cross_entropy([[0.0, 1.0]], [0]) == 1.3132616875182228
"""
TWO_THREADS = {"OMP_NUM_THREADS": "2"}


def runtime_of_the_system():
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return None
    lines = Path("/proc/self/maps").read_text().splitlines()
    return next(line.split()[-1] for line in lines if "/libgomp.so.1" in line)


def test_files():
    """Code, types, the licence; no sources of the core, no tests, no second core for XLA."""
    folders = {file.parts[0] for file in FILES if file.parts[0] not in ("..", "__pycache__")}
    assert folders == {"crossent", f"crossent-{crossent.__version__}.dist-info"}
    names = {str(file) for file in FILES if file.parts[0] == "crossent" and "__pycache__" not in file.parts}
    compiled = {name for name in names if name.endswith(".so")}
    assert {"crossent/py.typed", "crossent/_core.pyi"} <= names
    assert len(compiled) == 1 and compiled.pop().startswith("crossent/_core.")
    assert {Path(name).suffix for name in names} <= {".css", ".py", ".pyi", ".so", ".typed", ".1"}
    assert any(file.name == "LICENSE" for file in FILES)


@with_runtime
def test_licences_of_the_runtime():
    assert METADATA["License-Expression"] == "BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1"
    for name in ("LICENSE", "libgomp/COPYING3", "libgomp/COPYING.RUNTIME"):
        assert name in METADATA.get_all("License-File")
        assert any(str(file).endswith(f".dist-info/licenses/{name}") for file in FILES)


@with_runtime
def test_runtime_of_the_system_or_the_copy():
    """On a machine with a runtime that one, in a slim container the copy."""
    run_python(COMMON + """
import crossent
assert runtimes() == [sys.argv[1]], runtimes()
check_limits()
""", runtime_of_the_system() or COPY, env=TWO_THREADS)


@with_runtime
def test_copy_where_there_is_no_other():
    """As on a machine without: the search of the system fails. `_core` has to be content with the copy."""
    run_python(COMMON + """
import ctypes
load = ctypes.CDLL
def only_paths(name, *args, **options):
    if name == "libgomp.so.1": raise OSError("not found")
    return load(name, *args, **options)
ctypes.CDLL = only_paths
import crossent
assert runtimes() == [sys.argv[1]], runtimes()
check_limits()
""", COPY, env=TWO_THREADS)


@with_runtime
def test_copy_gives_way_to_what_is_loaded(tmp_path):
    """By another library, from wherever; it has the limits of all, and a limit counts in its parallel regions."""
    other = tmp_path / "libgomp.so.1"
    other.write_bytes(COPY.read_bytes())
    run_python(COMMON + """
import ctypes
other = ctypes.CDLL(sys.argv[1])
import crossent as xe
assert runtimes() == [sys.argv[1]], runtimes()
check_limits()
Function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
seen = []
other.GOMP_parallel(Function(lambda _: seen.append(xe.get_num_threads())), None, 2, 0)
assert seen == [1, 1]
""", other, env=TWO_THREADS)


@with_runtime
def test_beside_a_copy_under_another_name(tmp_path):
    """scikit-learn's wheel has its own, under a name of its own: threadpoolctl limits both."""
    other = tmp_path / "libgomp-t.so"
    other.write_bytes(COPY.read_bytes().replace(b"libgomp.so.1\0", b"libgomp-t.so\0"))  # of the same length
    run_python(COMMON + """
import ctypes
other = ctypes.CDLL(sys.argv[1])
import crossent
assert len(runtimes()) == 2 and sys.argv[1] in runtimes(), runtimes()
check_limits()
with threadpool_limits(1):
    assert other.omp_get_max_threads() == 1
""", other, env=TWO_THREADS)
