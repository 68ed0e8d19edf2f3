"""Damaged files of every format: reading one gives its rows or one error that names it, and takes little memory.

    python tests/faults/fuzz_files.py --count 200000 --seed 1

prints how often each format was read and what came of it, and fails at the first finding, with the file kept.
"""

import argparse
import collections
import faulthandler
import importlib.util
import re
import shutil
import struct
import sys
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from evaluation.formats import LIBRARY, kld_bytes, write

from crossent.evaluation._inputs import open_rows, open_targets

NAMES = ("x.npy", "f.npy", "x.npz", "compressed.npz", "x.bin", "x.kld", "x.safetensors", "x.h5")
# Objects of Python, whatever a header says: the files have less than 4 KB. (That of HDF5 and safetensors is not seen.)
MOST_MEMORY = 1 << 20
HUGE = (0, 1, 2, 3, 127, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
WORDS = (b"-", b"(", b"[" * 100, b"1e9", b"True", b"'", b"\\", b"O", b">", b"V2", b"i8", b"\x00", b"\xff", b"9" * 11)


def valid_files(folder, names):
    """Writes a whole file of each format whose library is installed; their names and bytes."""
    x = np.random.default_rng(0).normal(size=(12, 7)).astype(np.float32)
    for name in names:
        library = LIBRARY.get(Path(name).suffix, "numpy").split(".")[0]
        if name == "x.kld":
            (folder / name).write_bytes(kld_bytes(6, 7, 4)[0])
        elif importlib.util.find_spec(library):
            write(folder / name, np.asfortranarray(x) if name == "f.npy" else x)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def damaged(rng, content):
    """One to four changes, most of them near the beginning or the end, where the sizes are."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        where = int(rng.integers(0, max(1, min(len(data), int(rng.choice([24, 130, 400, 10**6]))))))
        if rng.random() < 0.3:
            where = max(0, len(data) - 1 - where)
        kind = rng.integers(0, 7)
        if kind == 0:
            data[where : where + 1] = bytes([rng.integers(0, 256)])
        elif kind == 1:
            number = int(HUGE[rng.integers(0, len(HUGE))])
            width = int(rng.choice([2, 4, 8]))
            data[where : where + width] = struct.pack("<Q", number)[:width]
        elif kind == 2:
            del data[where:]
        elif kind == 3:
            data += bytes(int(rng.integers(1, 40)))
        elif kind == 4:
            numbers = list(re.finditer(rb"\d+", bytes(data[:400])))
            if numbers:
                found = numbers[rng.integers(0, len(numbers))]
                data[found.start() : found.end()] = str(int(HUGE[rng.integers(0, len(HUGE))])).encode()
        elif kind == 5:
            data[where:where] = WORDS[rng.integers(0, len(WORDS))]
        else:
            del data[where : where + int(rng.integers(1, 9))]
    return bytes(data)


def read(rng, path):
    """Read as rows or as targets, in blocks of some size; True if it is whole."""
    options = {"shape": (-1, 7), "dtype": "float32"} if path.suffix == ".bin" else {}
    try:
        if rng.random() < 0.1:
            open_targets(path, 84, classes=100, **({"dtype": "int32"} if options else {}))
        else:
            for _, block in open_rows(path, **options).blocks(int(rng.choice([1, 5, 1000]))):
                block.sum()
    except (ValueError, OSError, IndexError) as error:
        if str(path) not in str(error) or "\n" in str(error) or len(str(error)) > 1000:
            raise AssertionError(f"the error does not name {path}, or is not one line") from error
        return False
    return True


def run(count, seed, folder, names=NAMES):
    """How many damaged files of each format were read as whole, and how many were refused."""
    files = valid_files(folder, names)
    rng = np.random.default_rng(seed)
    for name in files:  # so that imports are not taken for memory of a file
        assert read(np.random.default_rng(0), folder / name)
    counts = collections.Counter()
    tracemalloc.start()
    try:
        for k in range(count):
            if k % 1000 == 0:
                faulthandler.dump_traceback_later(60, exit=True)  # a file takes less than a millisecond
            name = list(files)[k % len(files)]
            path = folder / name
            path.write_bytes(damaged(rng, files[name]))
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("error")
                counts[name, read(rng, path)] += 1
            used = tracemalloc.get_traced_memory()[1] - before
            assert used < MOST_MEMORY, f"{path} took {used} bytes"
    finally:
        tracemalloc.stop()
        faulthandler.cancel_dump_traceback_later()
    return counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--names", nargs="+", default=NAMES)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())  # left where it is if a file is a finding
    counts = run(arguments.count, arguments.seed, folder, arguments.names)
    for name in sorted({name for name, _ in counts}):
        print(f"{name}: {counts[name, False]} refused, {counts[name, True]} read")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
