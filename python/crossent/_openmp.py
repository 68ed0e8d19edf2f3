"""The OpenMP runtime that `_core` is linked to, on a machine that has none.

The core has threads of its own and only asks `libgomp.so.1` how many to use. A wheel that `tools/repair_wheel.py` made
carries a copy, which gives way to the one that is loaded and to the system's: another library may need a newer one. A
path in `_core` (RPATH) would put the copy before the system's. A build from source carries none.
"""

import ctypes
import os

_NAME = "libgomp.so.1"
_COPY = os.path.join(os.path.dirname(__file__), _NAME)

if os.path.exists(_COPY):
    try:
        ctypes.CDLL(_NAME)
    except OSError:
        # The dynamic linker takes it for every later library that asks for its name, `_core` the first.
        ctypes.CDLL(_COPY)
