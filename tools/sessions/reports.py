"""Pages and tables that take minutes or hours, and what they are about."""

import json
from pathlib import Path

import nox

from sessions.steps import for_bindings, isa_levels, jax_headers

CLANG_TIDY = "clang-tidy==23.1.4"  # each version finds something else


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmark table, all peers included; what follows `--` goes to bench/bench.py (`nox -s bench -- --quick`)."""
    session.install(".", "-r", "bench/requirements.txt")
    session.run("python", "bench/bench.py", *session.posargs)


@nox.session
def accuracy(session: nox.Session) -> None:
    """docs/explanation/accuracy.md and its figure, by the full report: an hour and a half. `-- --short`: a minute.

    What a stopped run has measured is in build/accuracy and is not measured again.
    """
    session.install(".[test]", "-r", "tests/peers/requirements.txt")
    options = session.posargs or ["--full", "--peers", "--markdown", "docs/explanation/accuracy.md"]
    session.run("python", "tests/accuracy/confidence.py", "docs/explanation/confidence.json")
    session.run("python", "docs/figures.py")
    session.run("python", "tests/accuracy/report.py", *options)


@nox.session
def attack(session: nox.Session) -> None:
    """A search for errors above their bars, an hour at every level, goes on from build/attack; then planted faults.

    What follows `--` goes to the search: `nox -s attack -- --seconds 60`.
    """
    session.install(".[test]")
    for level in isa_levels(session):
        session.run(*("python", "tests/attack/run.py", "--seconds", "3600", "--level", level),
                    *("--json", f"build/attack/{level}.json"), *session.posargs)
    session.install("pybind11>=3", "scikit-build-core")
    session.run("python", "tests/attack/plants.py")


@nox.session
def sweep(session: nox.Session) -> None:
    """Every float through the elementary functions, at every ISA level: many minutes."""
    session.run("cmake", "--preset", "release", external=True)
    session.run("cmake", "--build", "--preset", "release", external=True)
    session.run("ctest", "--test-dir", "build/release", "-L", "sweep", "--no-tests=error", "-V", external=True)


@nox.session
def tidy(session: nox.Session) -> None:
    """clang-tidy over the C++ code, the kernels at one level: by .clang-tidy. Five minutes.

    What follows `--` are regular expressions of files: `nox -s tidy -- cpp/src/ops`.
    """
    session.install(CLANG_TIDY)
    session.run(
        *("cmake", "--preset", "dev", "-B", "build/tidy", *for_bindings(session)),
        "-DCROSSENT_OPENMP=OFF",  # Clang of the wheel has no omp.h
        f"-DCROSSENT_JAX_INCLUDE={jax_headers(session)}",
        external=True,
    )
    database = Path("build/tidy/compile_commands.json")
    commands = json.loads(database.read_text())
    levels = [command["output"].partition("kernels_")[2].partition(".")[0] for command in commands]
    kept = [command for command, level in zip(commands, levels, strict=True) if level in ("", "avx2", "neon")]
    database.write_text(json.dumps(kept))
    session.run("run-clang-tidy.py", "-quiet", "-p", "build/tidy", *(session.posargs or ["/cpp/"]))
