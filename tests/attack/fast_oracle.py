"""The oracle in extended precision: oracle.cpp, built on first use, and called for a batch of rows at once.

    errors("cross_entropy_loss", rows, shared, result)

`rows` has arrays of one entry for each row and `shared` what all rows have, under the names of `call` in oracle.hpp.
Any of them may be missing. Values of every dtype are exact in float64. The result's dtype says what its ULP is.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from oracle import format_of

HERE = Path(__file__).parent
FLAGS = ("-O2", "-ffp-contract=off", "-std=gnu++17", "-shared", "-fPIC")
PER_ROW = ("x", "t", "q", "y", "v", "g", "w", "listed_classes", "listed_values")
NUMBERS = {"temperature": 1.0, "smoothing": 0.0, "z_loss": 0.0, "denominator": 1.0, "alpha": 1.0, "beta": 0.5,
           "divergence": 0, "tail": 0}
NUMBERED = {"divergence": ("forward", "reverse", "js"), "tail": ("bucket", "zero", "renormalize", "uniform")}
Address, Int = ctypes.c_void_p, ctypes.c_int64


class Call(ctypes.Structure):
    _fields_ = (*((name, Int) for name in ("rows", "classes", "listed", "digits", "least_exponent")),
                ("largest", ctypes.c_double), *((name, Address) for name in PER_ROW),
                *((name, ctypes.c_double) for name in NUMBERS),
                *((name, Address) for name in ("result", "error", "where")))


def unavailable():
    """Why there is no oracle on this machine; None where there is one."""
    if np.finfo(np.longdouble).nmant < 63 or sys.platform == "darwin":
        return "the fast oracle needs a long double that is wider than double, and a wider type beside it"
    if compiler() is None:
        return "the fast oracle needs a C++ compiler: c++, g++ or what CXX says"
    return None


def compiler():
    return shutil.which(os.environ.get("CXX", "").split(" ")[0]) or shutil.which("c++") or shutil.which("g++")


@functools.cache
def library():
    """The compiled oracle; in build/attack, where it is left for other processes, by what it was made of."""
    if reason := unavailable():
        raise RuntimeError(reason)
    made_of = [path.read_bytes() for path in sorted(HERE.glob("oracle*.?pp"))]
    made_of += [text.encode() for text in (compiler(), platform.machine(), *FLAGS)]
    built = HERE.parents[1] / "build" / "attack" / f"oracle-{hashlib.sha256(b''.join(made_of)).hexdigest()[:16]}.so"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            part = Path(folder, "oracle.so")
            subprocess.run([compiler(), *FLAGS, str(HERE / "oracle.cpp"), "-o", str(part)], check=True)
            part.rename(built)  # at once, so that others find all of it or nothing
    return ctypes.CDLL(str(built))


def plain(name, array):
    """Contiguous, in the type that the C++ code reads."""
    return np.ascontiguousarray(array, np.int64 if name in ("y", "listed_classes") else np.float64)


def errors(judge, rows, shared, result):
    """(errors, where): the largest error of each row in ULP, and the class that has it."""
    info = format_of(result.dtype)
    arrays = {name: plain(name, values) for name, values in {**rows, **shared}.items() if name in PER_ROW}
    arrays["result"] = plain("result", result)
    n = len(result)
    arrays["error"], arrays["where"] = np.empty(n), np.empty(n, np.int64)
    widest = next(arrays[name] for name in ("x", "q", "t") if name in arrays)
    numbers = {name: NUMBERED[name].index(shared[name]) if name in NUMBERED else shared[name]
               for name in NUMBERS if shared.get(name) is not None}
    listed = arrays["listed_classes"].shape[1] if "listed_classes" in arrays else 0
    call = Call(rows=n, classes=widest.shape[1], listed=listed, digits=int(info.nmant) + 1,
                least_exponent=int(info.minexp) - int(info.nmant), largest=float(info.max),
                **{**NUMBERS, **numbers}, **{name: array.ctypes.data for name, array in arrays.items()})
    if library().judge(judge.encode(), ctypes.byref(call)):
        raise ValueError(f"the oracle has no function {judge}")
    return arrays["error"], arrays["where"]
