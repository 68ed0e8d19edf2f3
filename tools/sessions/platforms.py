"""Other compilers, processors and Pythons."""

import shutil
from pathlib import Path

import nox

from sessions.steps import for_bindings, one_of, workflow

NOT_EMULATED = (
    # Times, memory and stacks of an emulator; processes that it does not emulate.
    "tests/contract/test_memory.py",
    "tests/contract/test_helpers.py",
    "tests/contract/test_package.py",
    "tests/faults/*",
    "tests/soak/*",
)

THREAD_TESTS = (
    "tests/contract/test_threads.py",
    "tests/faults/test_changed_by_threads.py",
    "tests/faults/test_sub_interpreter.py",
    "tests/soak/test_soak.py",
)


def build_and_test(session: nox.Session, compiler: str, preset: str, *definitions: str) -> None:
    """As `workflow`, with another compiler, which may be a list, and in a build folder of its own."""
    if shutil.which(compiler.split(";")[0]) is None:
        session.error(f"{compiler} is not installed")
    folder = f"build/{Path(compiler.split(';')[-1]).stem}-{preset}"
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
    build_and_test(session, compiler, "release", "-DCROSSENT_WERROR=ON", *for_bindings(session))


def gcc(session: nox.Session) -> None:
    """Everything with GCC, warnings as errors."""
    strict_build(session, "g++")


def clang(session: nox.Session) -> None:
    """Everything with Clang 19, warnings as errors."""
    strict_build(session, "clang++-19")


def no_openmp(session: nox.Session) -> None:
    """The C++ and the Python tests of a build without OpenMP."""
    workflow(session, "no-openmp")
    session.install(".[test]", "--config-settings=cmake.define.CROSSENT_OPENMP=OFF")
    session.run("python", "-m", "pytest", *session.posargs)


def aarch64(session: nox.Session) -> None:
    """The C++ tests compiled for 64-bit Arm and run by qemu-user. Debian: g++-aarch64-linux-gnu, qemu-user."""
    workflow(session, "aarch64")


def musl(session: nox.Session) -> None:
    """The C++ tests on the C library of Alpine, whose threads have small stacks, by the compiler of ziglang.

    Debian and PyPI have no Python that runs on it.
    """
    session.install("ziglang")
    compiler = f"{Path(session.bin, 'python')};{Path('tools/zig_musl.py').resolve()}"
    build_and_test(session, compiler, "release", "-DCROSSENT_OPENMP=OFF")


def emulated(session: nox.Session, processor: str) -> None:
    """The Python tests on processors without AVX, and without AVX-512, by qemu-user. Hours; goes on where it stopped.

    What follows `--` goes to tests/by_parts.py: `-- --minutes 30`. Scripts that tests start as processes
    run on the machine's own processor.
    """
    session.install(".[test]")
    under = f"qemu-x86_64 -cpu {processor}"
    code = "import crossent; print(crossent.config()['isa'])"
    found = session.run(*under.split(), "python", "-c", code, external=True, silent=True).strip()
    if found != {"Nehalem": "baseline", "Haswell": "avx2"}[processor]:
        session.error(f"{processor} has level {found}")
    session.run("python", "tests/by_parts.py", f"emulated-{processor}", "--under", under, "--skip", *NOT_EMULATED,
                *session.posargs, env={"CROSSENT_EXAMPLES": "5"})  # of each property


def nehalem(session: nox.Session) -> None:
    """`emulated` without AVX."""
    emulated(session, "Nehalem")


def haswell(session: nox.Session) -> None:
    """`emulated` without AVX-512."""
    emulated(session, "Haswell")


def free_threaded(session: nox.Session) -> None:
    """The tests of threads on a Python without the GIL: `nox -s 'platform(free_threaded)' -- python3.13t`.

    Debian has none: `./configure --disable-gil` in `apt-get source python3.13`.
    """
    session.run(*session.posargs[:1], "-m", "venv", "--clear", "build/free-threaded", external=True)
    for folder in Path("build/free-threaded/lib").glob("python*t"):  # without the t for Debian's site.py
        folder.with_name(folder.name.removesuffix("t")).symlink_to(folder.name)
    python = "build/free-threaded/bin/python"
    # The newest NumPy has wheels for the newest such Python alone.
    session.run(python, "-m", "pip", "install", "-q", "--prefer-binary", ".[test]", external=True)
    session.run(python, "-c", "import crossent, sys; sys.exit(sys._is_gil_enabled())", external=True)
    session.run(python, "tests/soak/calls_at_once.py", "--seconds", "60", external=True)
    session.run(python, "-m", "pytest", *THREAD_TESTS, *session.posargs[1:], external=True)


@nox.session
@one_of(gcc, clang, no_openmp, aarch64, musl, nehalem, haswell, free_threaded)
def platform(session: nox.Session, job) -> None:
    """The tests with another compiler, C library, processor or Python."""
    job(session)
