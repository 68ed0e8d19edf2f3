"""The source distribution that CROSSENT_SDIST names: it has what git has, and no more."""

import os
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_SHIPPED = (".ci/", ".github/")


def test_files():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True)
    wanted = {name for name in listed.stdout.splitlines() if not name.startswith(NOT_SHIPPED)}
    with tarfile.open(os.environ["CROSSENT_SDIST"]) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert names == wanted | {"PKG-INFO"}
