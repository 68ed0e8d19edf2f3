"""The C++ compiler of the PyPI package ziglang, which brings the C library musl, as CMake calls a compiler.

    cmake -B build "-DCMAKE_CXX_COMPILER=python;tools/zig_musl.py" ..

The programs are linked statically and run on any Linux. To find out what the processor has, they ask libgcc, as wheels
for Alpine do: what ziglang has for that finds nothing.
"""

import os
import subprocess
import sys

own = [argument.replace("-march=x86-64-v", "-march=x86_64_v") for argument in sys.argv[1:]]
if "-c" not in own:
    own.append(subprocess.check_output(["g++", "-print-libgcc-file-name"], text=True).strip())
command = [sys.executable, "-m", "ziglang", "c++", "-target", "x86_64-linux-musl", "-Wno-unused-command-line-argument"]
os.execv(sys.executable, [*command, *own])
