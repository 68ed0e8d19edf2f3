"""The jobs of this project. `nox` runs the default ones, `nox -l` lists all, `nox -s asan` runs one."""

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.sessions = ["lint", "ctest", "tests", "exits", "docs"]

CLANG_FORMAT = "clang-format==23.1.5"  # each version makes something else of .clang-format


def can_build(version: str) -> bool:
    """Whether there is a Python of this version that runs, with the headers that an extension module needs."""
    python = shutil.which(f"python{version}")
    code = "import os, sysconfig; open(os.path.join(sysconfig.get_path('include'), 'Python.h'))"
    return python is not None and subprocess.run([python, "-c", code], capture_output=True).returncode == 0


# The oldest Python that is supported, and the last that ends threads by pthread_exit. Looked for here, as nox takes one
# that is missing for an error in CI, and may download it elsewhere.
EXIT_VERSIONS = ("3.11", "3.13")
EXIT_PYTHONS = [version for version in EXIT_VERSIONS if can_build(version)]

SANITIZED = (
    "cmake.build-type=RelWithDebInfo",
    "install.strip=false",
    "cmake.define.CMAKE_CXX_FLAGS=-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer",
    "cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1",  # -g would double the time of compilation
)
NOT_SANITIZED = (  # of tests/
    # They measure memory, replace malloc, or run on small stacks: sanitizers need more of each.
    "contract/test_memory*.py",
    "faults/test_allocation.py",
    "faults/test_small_stacks.py",
    "contract/test_helpers.py",
    # Many processes, with limits of time.
    "contract/test_threads.py",
    "faults/test_changed_by_threads.py",
    "faults/test_exit.py",
    "faults/test_interrupt.py",
    # The session has more random calls.
    "faults/test_fuzz.py",
    # About the formulas that results are compared with.
    "accuracy",
    "oracle",
    # Minutes of arithmetic with 60 digits, or of one call again and again; memory is used as in the other tests.
    "contract/test_bits*.py",
    "losses/test_cross_entropy.py",
    "losses/test_divergence.py",
    "losses/test_every_loss.py",
    "losses/test_information.py",
    "losses/test_normalisers.py",
)


WHEELS: dict[str, str] = {}  # of this run of nox, by the Python that they are for


def install(session: nox.Session, extras: str, *others: str) -> None:
    """The package with these extras, from a wheel that is built once for each Python."""
    python = session.run("python", "-c", "import sys; print(sys.implementation.cache_tag)", silent=True).strip()
    if python not in WHEELS:
        folder = Path(session.create_tmp()).resolve() / "wheel"
        shutil.rmtree(folder, ignore_errors=True)
        session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), ".")
        (wheel,) = folder.iterdir()
        WHEELS[python] = str(wheel)
    session.install(f"{WHEELS[python]}[{extras}]", *others)


def pages(session: nox.Session, names: str) -> None:
    """The code of these pages, and of these blocks of README.md, of which none may be skipped."""
    session.install("sybil")
    session.run("python", "-m", "pytest", "tests/docs", "-k", names, env={"CROSSENT_PAGES": "all"})


def workflow(session: nox.Session, preset: str) -> None:
    """Configure, build and run ctest as CMakePresets.json says."""
    session.run("cmake", "--workflow", "--preset", preset, external=True)


def build_and_test(session: nox.Session, compiler: str, preset: str, *definitions: str) -> None:
    """As `workflow`, with another compiler and in a build folder of the session's own."""
    if shutil.which(compiler) is None:
        session.error(f"{compiler} is not installed")
    folder = f"build/{session.name}"
    session.run(
        "cmake", "--preset", preset, "-B", folder, f"-DCMAKE_CXX_COMPILER={compiler}", *definitions, external=True
    )
    session.run("cmake", "--build", folder, "--parallel", "4", external=True)
    session.run(
        *("ctest", "--test-dir", folder, "--label-exclude", "sweep"),
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


def isa_levels(session: nox.Session, env: dict[str, str] | None = None) -> list[str]:
    """Those of this machine, as the installed package says."""
    code = "import crossent; print(*crossent.config()['isa_levels'])"
    return session.run("python", "-c", code, env=env, silent=True).split()


@nox.session
def ctest(session: nox.Session) -> None:
    """The C++ tests at every ISA level, and the check of the symbols in the objects."""
    workflow(session, "dev")


@nox.session
def tests(session: nox.Session) -> None:
    """The Python tests at every ISA level on an installed wheel; the examples in the docstrings; the demo."""
    install(session, "demo,mpi,test", "mpich>=5")
    session.run("python", "tests/run_levels.py", *session.posargs)
    # One number of processes; the session `parallel` has the others, and gloo.
    session.run("python", "-m", "pytest", "tests/processes/test_classes_of_processes.py", "-k", "hashes and mpi-3")
    # Modules for libraries that are not installed here have sessions of their own.
    session.run("python", "-m", "pytest", "--doctest-modules", "--doctest-ignore-import-errors", "--pyargs", "crossent")
    session.run("crossent", "demo", "--out", session.create_tmp())


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
def faults(session: nox.Session) -> None:
    """The long forms of tests/faults, 300,000 random calls at every level, as many damaged files, Ctrl-C.

    What follows `--` goes to pytest.
    """
    session.install(".[evaluation,evaluation-files,test]")
    session.run("python", "-m", "pytest", "tests/faults", *session.posargs, env={"CROSSENT_FAULTS": "long"})
    for level in isa_levels(session):
        session.run(
            *("python", "tests/faults/fuzz.py", "--calls", "300000", "--jobs", "2"), env={"CROSSENT_ISA": level}
        )
    session.run("python", "tests/faults/interrupt.py")
    session.run("python", "tests/faults/fuzz_files.py", "--count", "300000")


@nox.session
def docs(session: nox.Session) -> None:
    """The code of all pages, and the site of them in build/docs, where warnings are errors. A minute and a half.

    Pages whose libraries are large (PyTorch, JAX, XGBoost, LightGBM) run in the sessions of these libraries.
    """
    extras = "dask,evaluation,evaluation-files,mpi,sklearn,test"
    install(session, extras, "mpich>=5", "-r", "docs/requirements.txt")
    session.run("python", "-m", "pytest", "tests/docs", *session.posargs)
    options = ("--quiet", "--fail-on-warning", "--fresh-env", "--doctree-dir", "build/doctrees")
    session.run("sphinx-build", *options, "docs", "build/docs")


@nox.session
def peers(session: nox.Session) -> None:
    """100,000 random calls compared with PyTorch, JAX, optax, SciPy and scikit-learn; their known defects. Minutes."""
    session.install(".[test]", "-r", "tests/peers/requirements.txt")
    session.run("python", "-m", "pytest", "tests/peers", *session.posargs)


@nox.session
def sklearn(session: nox.Session) -> None:
    """crossent.sklearn with scikit-learn's own checks, data frames among them. Half a minute."""
    session.install(".[sklearn,test]", "pandas")
    session.run("python", "-m", "pytest", "tests/scikit_learn", *session.posargs)


@nox.session
def boosting(session: nox.Session) -> None:
    """crossent.boosting with XGBoost and LightGBM, with Dask, in the demo. Half a minute.

    The session `tests` runs what is installed.
    """
    session.install(".[boosting,demo,test]", "dask[dataframe,distributed]")
    session.run("python", "-m", "pytest", "tests/boosting", *session.posargs)
    pages(session, "boosting or xgboost")


@nox.session
def dask(session: nox.Session) -> None:
    """crossent.dask on threads and on several processes, of which some are killed; files of every format. A minute."""
    session.install(".[dask,evaluation,evaluation-files,test]")
    session.run("python", "-m", "pytest", "tests/dask_arrays", *session.posargs)


@nox.session
def evaluation(session: nox.Session) -> None:
    """crossent.evaluation with the libraries of every file format. Half a minute.

    The session `tests` runs all but the formats whose library is not installed.
    """
    session.install(".[evaluation,evaluation-files,test]")
    session.run("python", "-m", "pytest", "tests/evaluation", *session.posargs)


@nox.session
def torch(session: nox.Session) -> None:
    """crossent.torch with PyTorch, torch.compile by its default backend included: four minutes.

    The session `tests` runs all but that backend where PyTorch is installed.
    """
    session.install(".[test,torch]", "expecttest")
    session.run("python", "-m", "pytest", "tests/pytorch", *session.posargs, env={"CROSSENT_TORCH": "long"})
    session.run("python", "-m", "pytest", "--doctest-modules", "--pyargs", "crossent.torch")
    pages(session, "torch or index")


@nox.session
def jax(session: nox.Session) -> None:
    """crossent.jax with its module for XLA: every dtype and option, both ways to the core. Minutes."""
    session.install("jax>=0.8")
    code = "import jax.ffi; print(jax.ffi.include_dir())"
    include = session.run("python", "-c", code, silent=True).strip()
    definitions = {"CROSSENT_JAX_INCLUDE": include, "CROSSENT_WERROR": "ON"}
    settings = (f"--config-settings=cmake.define.{name}={value}" for name, value in definitions.items())
    session.install(".[jax,test]", *settings)
    env = {"CROSSENT_JAX": "long", "CROSSENT_JAX_WAYS": "ffi callback"}
    session.run("python", "-m", "pytest", "tests/jax_arrays", "tests/contract/test_extension_module.py",
                *session.posargs, env=env)
    session.install("optax")
    pages(session, "jax or optax")


@nox.session
def parallel(session: nox.Session) -> None:
    """crossent.parallel between processes: of MPI, and of PyTorch's gloo. Two minutes.

    The session `tests` runs the same between threads.
    """
    session.install(".[mpi,test,torch]", "mpich>=5")
    session.run("python", "-m", "pytest", "tests/processes", *session.posargs)


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
def asan_python(session: nox.Session) -> None:
    """The package under both sanitizers: random calls at every level, then most of the tests. Ten minutes.

    What follows `--` goes to the random calls: `nox -s asan_python -- --calls 300000 --seed 2`.
    """
    session.env["CXX"] = "g++"  # the compiler whose runtime libraries are loaded below
    session.install(".[test]", *(f"--config-settings={setting}" for setting in SANITIZED))
    # Python knows nothing of the sanitizers, so they are loaded before it. libubsan brings libstdc++, without which
    # libasan does not find the __cxa_throw that it wraps.
    libraries = [
        session.run("g++", f"-print-file-name={name}", external=True, silent=True).strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    env = {
        "LD_PRELOAD": ":".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # Python leaks; too large is a MemoryError
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # so that the small objects of Python are guarded, too
    }
    random_calls = session.posargs or ["--calls", "20000", "--seed", "1", "--jobs", "2"]
    for level in isa_levels(session, env):
        session.run("python", "tests/faults/fuzz.py", *random_calls, env={**env, "CROSSENT_ISA": level})
    # A sanitizer ends the process: what it wrote must not be in a file of pytest's by then.
    session.run(
        *("python", "-m", "pytest", "--capture=sys", "-p", "no:faulthandler"),
        *(f"--ignore-glob=tests/{name}" for name in NOT_SANITIZED),
        *("-k", "not more_elements_than_32_bits"),  # minutes, for one addition
        env=env,
    )


@nox.session
def tsan(session: nox.Session) -> None:
    """The C++ tests under ThreadSanitizer."""
    workflow(session, "tsan")


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
    """clang-format over the C++ code, Ruff over the Python code, mypy (strict, by pyproject.toml) over the package."""
    session.install(CLANG_FORMAT, "ruff", "mypy", "numpy>=1.26")
    sources = [str(path) for folder in ("bench", "cpp", "tests") for path in Path(folder).rglob("*.[ch]pp")]
    session.run("clang-format", "--dry-run", "-Werror", *sources)
    session.run("ruff", "check", ".")
    session.run("mypy", "python/crossent")


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
