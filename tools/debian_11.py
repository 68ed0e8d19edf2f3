"""Unpack the C and C++ libraries of Debian 11, to link wheels for old systems to: `python tools/debian_11.py FOLDER`.

Needs mmdebstrap, a package of Debian. debian_11.cmake uses the folder.
"""

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = "libc6-dev,libgomp1,libstdc++-10-dev"


def keep_links_inside(folder: Path) -> None:
    """Make links to absolute paths relative: on this system they lead out of the folder."""
    for path in folder.rglob("*"):
        if path.is_symlink() and os.path.isabs(target := os.readlink(path)):
            path.unlink()
            path.symlink_to(os.path.relpath(f"{folder}{target}", path.parent.resolve()))


def keep_to_version_2_28(folder: Path) -> None:
    """Do without the one function that crossent would use of a later C library than 2.28, by way of the C++ library."""
    config = folder / "usr/include/x86_64-linux-gnu/c++/10/bits/c++config.h"
    lines = config.read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if "define _GLIBCXX_USE_PTHREAD_COND_CLOCKWAIT" not in line))


if __name__ == "__main__":
    root = Path(sys.argv[1]).resolve()
    command = ("mmdebstrap", "--variant=extract", f"--include={PACKAGES}", "bullseye", str(root))
    subprocess.run(command, check=True)
    keep_links_inside(root)
    keep_to_version_2_28(root)
