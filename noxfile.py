"""The jobs of this project. `nox` runs the default ones, `nox -l` lists all, `nox -s asan` runs one."""

import os
import shutil

import nox

nox.options.sessions = ["ctest", "tests"]


def workflow(session: nox.Session, preset: str) -> None:
    """Configure, build and run ctest as CMakePresets.json says."""
    session.run("cmake", "--workflow", "--preset", preset, external=True)


def build_and_test(session: nox.Session, compiler: str, preset: str, *definitions: str, skip: str = "^$") -> None:
    """As `workflow`, with another compiler and in a build folder of the session's own."""
    if shutil.which(compiler) is None:
        session.error(f"{compiler} is not installed")
    folder = f"build/{session.name}"
    session.run(
        "cmake", "--preset", preset, "-B", folder, f"-DCMAKE_CXX_COMPILER={compiler}", *definitions, external=True
    )
    session.run("cmake", "--build", folder, "--parallel", "4", external=True)
    session.run(
        *("ctest", "--test-dir", folder, "--label-exclude", "sweep", "--exclude-regex", skip),
        *("--no-tests=error", "--output-on-failure", "--parallel", "2"),
        external=True,
    )


def strict_build(session: nox.Session, compiler: str) -> None:
    """Build all there is, the extension modules too, with warnings as errors, then run ctest."""
    session.install("pybind11>=3")
    pybind11_dir = session.run("python", "-m", "pybind11", "--cmakedir", silent=True)
    build_and_test(
        session,
        compiler,
        "release",
        "-DCROSSENT_WERROR=ON",
        "-DCROSSENT_BINDINGS=ON",
        f"-Dpybind11_DIR={pybind11_dir.strip()}",
        f"-DPython_EXECUTABLE={os.path.join(session.bin, 'python')}",
    )


@nox.session
def ctest(session: nox.Session) -> None:
    """The C++ tests at every ISA level, and the check of the symbols in the objects."""
    workflow(session, "dev")


@nox.session
def tests(session: nox.Session) -> None:
    """The Python tests at every ISA level on an installed wheel; the examples in the docstrings; the demo."""
    session.install(".[demo,test]")
    session.run("python", "tests/run_levels.py", *session.posargs)
    session.run("python", "-m", "pytest", "--doctest-modules", "--pyargs", "crossent")
    session.run("python", "-m", "doctest", "docs/derivation.md")
    session.run("crossent", "demo", "--out", session.create_tmp())


@nox.session
def peers(session: nox.Session) -> None:
    """100,000 random calls compared with PyTorch, JAX, optax, SciPy and scikit-learn; their known defects. Minutes."""
    session.install(".[test]", "-r", "tests/peers/requirements.txt")
    session.run("python", "-m", "pytest", "tests/peers", *session.posargs)


@nox.session
def large(session: nox.Session) -> None:
    """Arrays of more than 2^31 elements: needs about 6 GB."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", "tests/large/more_than_32_bits.py", *session.posargs)


@nox.session
def asan(session: nox.Session) -> None:
    """The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer."""
    workflow(session, "asan")


@nox.session
def tsan(session: nox.Session) -> None:
    """The C++ tests under ThreadSanitizer, with Clang 19: its libomp tells the sanitizer what synchronises."""
    # libomp itself reads as racy now and then; a test forks, after which libomp starts threads anew.
    session.env["TSAN_OPTIONS"] = "ignore_noninstrumented_modules=1 die_after_fork=0"
    build_and_test(session, "clang++-19", "tsan", "-DCROSSENT_OPENMP=ON", skip="^symbols$")


@nox.session
def no_openmp(session: nox.Session) -> None:
    """The C++ and the Python tests of a build without OpenMP."""
    workflow(session, "no-openmp")
    session.install(".[test]", "--config-settings=cmake.define.CROSSENT_OPENMP=OFF")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def gcc_werror(session: nox.Session) -> None:
    """Everything with GCC, warnings as errors."""
    strict_build(session, "g++")


@nox.session
def clang(session: nox.Session) -> None:
    """Everything with Clang 19, warnings as errors."""
    strict_build(session, "clang++-19")


@nox.session
def sweep(session: nox.Session) -> None:
    """Every float through the elementary functions, at every ISA level: many minutes."""
    session.run("cmake", "--preset", "release", external=True)
    session.run("cmake", "--build", "--preset", "release", external=True)
    session.run("ctest", "--test-dir", "build/release", "-L", "sweep", "--no-tests=error", "-V", external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmark table, all peers included; what follows `--` goes to bench/bench.py (`nox -s bench -- --quick`)."""
    session.install(".", "-r", "bench/requirements.txt")
    session.run("python", "bench/bench.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff over the Python code, mypy over the package."""
    session.install("ruff", "mypy", "numpy>=1.26")
    session.run("ruff", "check", ".")
    session.run("mypy", "python/crossent")


@nox.session
def accuracy(session: nox.Session) -> None:
    """docs/accuracy.md and its figure, by the full accuracy report: an hour and a half. `-- --short`: a minute.

    What a stopped run has measured is in build/accuracy and is not measured again.
    """
    session.install(".[test]", "-r", "tests/peers/requirements.txt", "matplotlib")
    options = session.posargs or ["--full", "--peers", "--markdown", "docs/accuracy.md"]
    session.run("python", "tests/accuracy/figure.py", "docs/accuracy.svg")
    session.run("python", "tests/accuracy/report.py", *options)
