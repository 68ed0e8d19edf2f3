"""The C++ compiler of the PyPI package ziglang, which brings the C library musl, as CMake calls a compiler.

    cmake -B build "-DCMAKE_CXX_COMPILER=python;tools/zig_musl.py" ..

The programs are linked statically and run on any Linux. Its names of instruction sets are written otherwise.
"""

import os
import sys

own = [argument.replace("-march=x86-64-v", "-march=x86_64_v") for argument in sys.argv[1:]]
command = [sys.executable, "-m", "ziglang", "c++", "-target", "x86_64-linux-musl", "-Wno-unused-command-line-argument"]
os.execv(sys.executable, [*command, *own])
