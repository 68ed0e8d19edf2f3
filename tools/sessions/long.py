"""What takes minutes or hours: whole products of options, random calls, sanitizers."""

import shutil

import nox

from sessions.steps import isa_levels, one_of, workflow

SANITIZED = (
    "build-dir=build/asan_python",
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


# ---- Long forms of the tests -----------------------------------------------------------------------------------------


def products(session: nox.Session) -> None:
    """All tests at every level, with whole products of options, dtypes and kinds of rows where `tests` has a part."""
    session.install(".[evaluation,mpi,test]", "mpich>=5")
    for level in isa_levels(session):
        session.run("python", "-m", "pytest", *session.posargs,
                    env={"CROSSENT_ISA": level, "CROSSENT_PRODUCTS": "all"})


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


def large(session: nox.Session) -> None:
    """Arrays of more than 2^31 elements: needs about 6 GB."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", "tests/large/more_than_32_bits.py", *session.posargs)


def sweep(session: nox.Session) -> None:
    """Every float through the elementary functions, at every ISA level: many minutes."""
    session.run("cmake", "--preset", "release", external=True)
    session.run("cmake", "--build", "--preset", "release", external=True)
    session.run("ctest", "--test-dir", "build/release", "-L", "sweep", "--no-tests=error", "-V", external=True)


def plants(session: nox.Session) -> None:
    """Whether the tests find the planted faults: an hour. What follows `--` goes to tests/plants/run.py."""
    session.install(".[boosting,dask,evaluation,jax,sklearn,test,torch]", "pybind11>=3", "scikit-build-core")
    session.run("python", "tests/plants/run.py", *session.posargs)


@nox.session
@one_of(products, faults, large, sweep, plants)
def long(session: nox.Session, job) -> None:
    """Long forms of the tests: products of all options, random calls, large arrays, every float, planted faults."""
    job(session)


@nox.session
def soak(session: nox.Session) -> None:
    """Fuzzers, threads, forks, leaks and properties in turn: `nox -s soak -- --hours 2`. Goes on where it stopped.

    libFuzzer comes with Clang 19 (Debian: clang-19), without which its parts are left out. They run under
    AddressSanitizer and UndefinedBehaviorSanitizer, and under MemorySanitizer.
    """
    if shutil.which("clang++-19"):
        for preset in ("fuzz", "msan"):
            session.run("cmake", "--preset", preset, external=True)
            session.run("cmake", "--build", "--preset", preset, external=True)
    session.install(".[boosting,evaluation,evaluation-files,sklearn,test,torch]", "atheris", "joblib")
    session.run("python", "tests/soak/run.py", *session.posargs)


# ---- Sanitizers ------------------------------------------------------------------------------------------------------


def asan(session: nox.Session) -> None:
    """The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer."""
    workflow(session, "asan")


def asan_python(session: nox.Session) -> None:
    """The package under both sanitizers: random calls at every level, then the tests. Hours; goes on where it stopped.

    What follows `--` goes to tests/by_parts.py: `nox -s 'sanitizer(asan_python)' -- --minutes 30`.
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
                "--", "--capture=no", "-p", "no:faulthandler",
                "-k", "not more_elements_than_32_bits",  # minutes, for one addition
                env=env)


def tsan(session: nox.Session) -> None:
    """The C++ tests under ThreadSanitizer, by Clang 19 and without OpenMP."""
    workflow(session, "tsan")


def valgrind(session: nox.Session) -> None:
    """The C++ tests under memcheck, which knows no AVX-512: at the other two levels. Half an hour each.

    What follows `--` goes to the tests: `-- --source-file=*test_half.cpp`. Some are left out: memcheck has no rounding
    modes and no flushing to zero, and its long doubles, which doubles are measured by, are doubles.
    """
    session.run("cmake", "--preset", "no-openmp", external=True)
    session.run("cmake", "--build", "--preset", "no-openmp", external=True)
    unknown = ",".join(("the caller's floating-point environment*", "vmath is within 1 ULP: double",
                        "the exponential of the kernels*<double>", "softplus and the sigmoid<double>"))
    forks = "a fork after use*,a call does not wait for a helper*"
    for level in ("baseline", "avx2"):
        # The child of a fork leaves the threads of its parent and their memory alone.
        for leaks, cases in (("definite", f"--test-case-exclude={unknown},{forks}"),
                             ("none", f"--test-case={forks}")):
            session.run("valgrind", "-q", "--error-exitcode=9", "--leak-check=full",
                        f"--errors-for-leak-kinds={leaks}", "--fair-sched=yes",
                        "build/no-openmp/cpp/tests/crossent_tests", cases, *session.posargs,
                        env={"CROSSENT_ISA": level}, external=True)


@nox.session
@one_of(asan, asan_python, tsan, valgrind)
def sanitizer(session: nox.Session, job) -> None:
    """The C++ tests under a sanitizer or memcheck; the package under two of them."""
    job(session)
