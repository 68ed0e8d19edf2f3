"""What several sessions do."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nox


def one_of(*jobs: Callable[[nox.Session], None]) -> Callable:
    """Makes a session of several: `nox -s 'NAME(JOB)'` runs one of these functions, `nox -s NAME` all."""
    return nox.parametrize("job", [nox.param(job, id=job.__name__) for job in jobs])


# One name for all: each Python has a name of its own for the same one, and ccache takes it for another then.
COMPILER = os.environ.get("CXX", "c++")
# Those of this run of nox, by the Python that they are for, and whether the C++ tests were built with them.
WHEELS: dict[tuple[str, bool], str] = {}


def wheel_of(session: nox.Session, with_tests: bool = False) -> tuple[str, str]:
    """The wheel for the Python of the session, built once, and the folder of the build, with C++ tests or without."""
    python = session.run("python", "-c", "import sys; print(sys.implementation.cache_tag)", silent=True).strip()
    build = f"build/{python}"
    wheel = WHEELS.get((python, True)) or WHEELS.get((python, with_tests))
    if wheel is None:
        folder = Path(session.create_tmp()).resolve() / "wheel"
        shutil.rmtree(folder, ignore_errors=True)
        settings = [f"build-dir={build}", f"cmake.define.CROSSENT_TESTS={'ON' if with_tests else 'OFF'}"]
        if shutil.which("ccache"):  # a build for another Python compiles the kernels no second time
            settings.append("cmake.define.CMAKE_CXX_COMPILER_LAUNCHER=ccache")
        session.run(*("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "."),
                    *(f"--config-settings={setting}" for setting in settings), env={"CXX": COMPILER})
        wheel = WHEELS[python, with_tests] = str(next(folder.iterdir()))
    return wheel, build


def install(session: nox.Session, extras: str, *others: str) -> None:
    """The package with these extras."""
    session.install(f"{wheel_of(session)[0]}[{extras}]", *others)


def pages(session: nox.Session, names: str) -> None:
    """The code of these pages, of which no block may be skipped."""
    session.install("sybil")
    session.run("python", "-m", "pytest", "tests/docs", "-k", names, env={"CROSSENT_PAGES": "all"})


def workflow(session: nox.Session, preset: str) -> None:
    """Configure, build and run ctest as CMakePresets.json says."""
    session.run("cmake", "--workflow", "--preset", preset, external=True)


def jax_headers(session: nox.Session) -> str:
    """The folder of the headers of JAX, which is installed."""
    session.install("jax>=0.8")
    return session.run("python", "-c", "import jax.ffi; print(jax.ffi.include_dir())", silent=True).strip()


def for_bindings(session: nox.Session) -> tuple[str, ...]:
    """What CMake has to know to build the extension modules for the Python of the session."""
    session.install("pybind11>=3")
    pybind11_dir = session.run("python", "-m", "pybind11", "--cmakedir", silent=True).strip()
    return (
        "-DCROSSENT_BINDINGS=ON",
        f"-Dpybind11_DIR={pybind11_dir}",
        f"-DPython_EXECUTABLE={Path(session.bin, 'python')}",
    )


def isa_levels(session: nox.Session, env: dict[str, str] | None = None) -> list[str]:
    """Those of this machine, as the installed package says."""
    code = "import crossent; print(*crossent.config()['isa_levels'])"
    return session.run("python", "-c", code, env=env, silent=True).split()
