"""The libraries that are measured, each in a process of its own: crossent once per ISA level, which is chosen once per
process, and the peers. Arrays travel through shared memory, everything else through pipes.
"""

import ctypes
import hashlib
import importlib
import mmap
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
from inputs import DTYPES, Batch

ARENA = 2**30  # address space; only what is written takes memory
PEERS = ("PyTorch", "JAX", "optax", "SciPy", "scikit-learn")


class Arena:
    """Shared memory that arrays are written to one behind the other."""

    def __init__(self, fd=None):
        self.fd = os.memfd_create("arena") if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, ARENA)
        self.memory = np.frombuffer(mmap.mmap(self.fd, ARENA), np.uint8)

    def write(self, arrays):
        """{name: (dtype, shape, start)} of copies of the arrays."""
        places, start = {}, 0
        for name, array in arrays.items():
            array = np.asarray(array)
            self._view(array.dtype, array.shape, start)[...] = array
            places[name] = (array.dtype.name, array.shape, start)
            start += -(-array.nbytes // 64) * 64
        return places

    def read(self, places):
        return {name: self._view(DTYPES.get(dtype) or np.dtype(dtype), shape, start)
                for name, (dtype, shape, start) in places.items()}

    def _view(self, dtype, shape, start):
        size = dtype.itemsize * int(np.prod(shape))
        return self.memory[start:start + size].view(dtype).reshape(shape)


class Library:
    """A library in a process of its own. `start` and `finish` come in pairs."""

    def __init__(self, name, inputs, level=None):
        self.name = name if level is None else f"{name} {level}"
        self.is_peer = name in PEERS
        self.outputs = Arena()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"CROSSENT_ISA": level} if level else {})}
        self.process = subprocess.Popen(
            [sys.executable, __file__, name, str(inputs.fd), str(self.outputs.fd)], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(inputs.fd, self.outputs.fd))
        self.version = self._receive()  # None: not installed

    def start(self, family, rows, shared):
        pickle.dump((family, rows, shared), self.process.stdin)
        self.process.stdin.flush()

    def finish(self):
        """{operation: array}, valid until the next start; nothing where the family or dtype is not supported."""
        return self.outputs.read(self._receive())

    def _receive(self):
        answer = pickle.load(self.process.stdout)
        if isinstance(answer, Exception):
            raise RuntimeError(f"{self.name} failed") from answer
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Group:
    """Several libraries that are given the same batches."""

    def __init__(self, levels, peers):
        self.inputs = Arena()
        members = [Library("crossent", self.inputs, level) for level in levels]
        members += [Library(name, self.inputs) for name in peers]
        self.missing = [library.name for library in members if library.version is None]
        self.members = [library for library in members if library.version is not None]

    def evaluate(self, family, batch, with_peers=True):
        """{library: {operation: array}}."""
        asked = [library for library in self.members if with_peers or not library.is_peer]
        shared = {name: value for name, value in batch.shared.items() if isinstance(value, np.ndarray)}
        places = self.inputs.write({**batch.rows, **shared})
        rows = {name: places[name] for name in batch.rows}
        others = {name: places.get(name, value) for name, value in batch.shared.items()}
        for library in asked:
            library.start(family, rows, others)
        return {library.name: library.finish() for library in asked}

    def close(self):
        for library in self.members:
            library.close()


class Here:
    """crossent alone, in this process and at its level: a group for tests."""

    def evaluate(self, family, batch, with_peers):
        import crossent_calls

        return {"crossent": crossent_calls.FAMILIES[family](batch)}


def keep_memory():
    """glibc gives arrays of a megabyte back to the system and asks for them again: more work than what is in them."""
    if hasattr(ctypes.CDLL(None), "mallopt"):
        for parameter in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            ctypes.CDLL(None).mallopt(parameter, 2**30)


def core_hash():
    """Of the compiled core: measurements of another one are not its own."""
    import crossent

    return hashlib.sha256(Path(crossent._core.__file__).read_bytes()).hexdigest()[:16]


# ---- In the process of a library -------------------------------------------------------------------------------------


def load(name):
    """({family: function}, version)."""
    if name == "crossent":
        import crossent_calls

        import crossent

        return crossent_calls.FAMILIES, crossent.__version__
    return importlib.import_module("peer_calls").load(name)


def serve(name, inputs, outputs):
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer

    def answer(value):
        pickle.dump(value, answers)
        answers.flush()

    try:
        families, version = load(name)
    except ImportError:
        return answer(None)
    answer(version)
    while True:
        try:
            family, rows, shared = pickle.load(sys.stdin.buffer)
        except EOFError:
            return None
        places = {key: value for key, value in shared.items() if isinstance(value, tuple)}
        batch = Batch(inputs.read(rows), {**shared, **inputs.read(places)})
        try:
            function = families.get(family)
            answer(outputs.write(function(batch) if function else {}))
        except Exception as error:  # it is raised again where the question came from
            answer(error)


if __name__ == "__main__":
    np.seterr(all="ignore")
    keep_memory()
    serve(sys.argv[1], Arena(int(sys.argv[2])), Arena(int(sys.argv[3])))
