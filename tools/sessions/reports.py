"""Pages and tables that take minutes or hours, and what they are about."""

import json
from pathlib import Path

import nox

from sessions.long import NOT_SANITIZED
from sessions.steps import for_bindings, isa_levels, jax_headers, one_of

CLANG_TIDY = "clang-tidy==23.1.4"  # each version finds something else


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
    session.run("python", "tests/plants/run.py", "--search", "60")


def bench(session: nox.Session) -> None:
    """The benchmark table, all peers included; what follows `--` goes to bench/bench.py (`-- --quick`)."""
    session.install(".", "-r", "bench/requirements.txt")
    session.run("python", "bench/bench.py", *session.posargs)


def accuracy(session: nox.Session) -> None:
    """docs/explanation/accuracy.md and its figure, by the full report: an hour and a half. `-- --short`: a minute.

    What a stopped run has measured is in build/accuracy and is not measured again.
    """
    session.install(".[test]", "-r", "tests/peers/requirements.txt")
    options = session.posargs or ["--full", "--peers", "--markdown", "docs/explanation/accuracy.md"]
    session.run("python", "tests/accuracy/confidence.py", "docs/explanation/confidence.json")
    session.run("python", "docs/figures.py")
    session.run("python", "tests/accuracy/report.py", *options)


def coverage(session: nox.Session) -> None:
    """Lines and branches that the tests reach, in build/coverage: of the C++ code at one level, of the package.

    By ctest, random calls, and most of the Python tests, as in `asan_python`. What follows `--` goes to pytest.
    """
    folder = Path("build/coverage")
    counted = {
        "build-dir": f"{folder}/core",
        "cmake.build-type": "RelWithDebInfo",
        "cmake.define.CMAKE_CXX_FLAGS": "--coverage -fprofile-update=atomic",
        "cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO": "-O1",
        "cmake.define.CROSSENT_TESTS": "ON",
        "install.strip": "false",
    }
    session.env["CXX"] = "g++"  # the compiler that gcov belongs to
    settings = (f"--config-settings={name}={value}" for name, value in counted.items())
    session.install(".[dask,demo,evaluation,evaluation-files,test]", "coverage>=7.10", "gcovr>=8", *settings)
    levels = isa_levels(session)
    level = "avx2" if "avx2" in levels else levels[-1]
    session.run("ctest", "--test-dir", f"{folder}/core", "-R", f"kernels.{level}", "--no-tests=error", external=True)
    env = {"CROSSENT_ISA": level, "COVERAGE_FILE": f"{folder.resolve()}/python", "COVERAGE_RCFILE": "pyproject.toml"}
    ignored = (f"--ignore={name}" for name in NOT_SANITIZED)
    session.run("python", "tests/faults/fuzz.py", "--calls", "20000", "--seed", "1", "--jobs", "2", env=env)
    # Counts are files, too, which these tests leave no room for.
    session.run("coverage", "run", "-m", "pytest", "-k", "not full_disk", *ignored, *session.posargs, env=env)
    session.run("coverage", "combine", env=env)
    session.run("coverage", "html", "-d", f"{folder}/python-pages", env=env)
    session.run("coverage", "report", "--skip-covered", env=env)
    others = (f"--gcov-exclude-directory=.*/crossent_kernels_{other}" for other in levels if other != level)
    session.run(
        *("gcovr", "--filter", "cpp/(bindings|include|src)/", "--exclude-throw-branches", *others),
        "--gcov-ignore-parse-errors=suspicious_hits.warn_once_per_file",  # of loops that are entered billions of times
        *("--merge-mode-functions=separate", "--html-nested", f"{folder}/core.html", "--txt", "--print-summary"),
        f"{folder}/core",
    )


def tidy(session: nox.Session) -> None:
    """clang-tidy over the C++ code, the kernels at one level: by .clang-tidy. Five minutes.

    What follows `--` are regular expressions of files: `nox -s 'report(tidy)' -- cpp/src/ops`.
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


@nox.session
@one_of(bench, accuracy, coverage, tidy)
def report(session: nox.Session, job) -> None:
    """The table of the benchmark, the page on accuracy, what the tests reach, what clang-tidy finds."""
    job(session)
