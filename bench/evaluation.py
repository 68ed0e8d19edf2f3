"""The figures of docs/how-to/evaluation.md: evaluate and compare on cached files, beside NumPy and PyTorch scripts.

    pip install crossent numpy torch
    python bench/evaluation.py FOLDER [--rows 4000] [--classes 32000] [--rounds 5] [--threads 1,2] [--formats f32,kld]

All ways take turns in one process; a throughput is the bytes of the files over the median time, and the read ceiling is
reading them by as many threads into a buffer that is reused. The scripts compute the same figures in float32, but no
standard errors, no calibration errors, no quantiles, and keep no numbers of rows.
"""

import argparse
import functools
import statistics
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

AT_ONCE = 128  # rows, of the scripts: the fastest of 32, 128 and 512 for both
PIECE = 1 << 24  # bytes that are read at once

# ---- Files -----------------------------------------------------------------------------------------------------------


def make(folder, rows, classes):
    """A pair of models in all formats: rows of a confident model, and the same with some noise."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, classes, rows)
    np.save(folder / "targets.npy", targets)
    f32, f16 = ([np.lib.format.open_memmap(path, "w+", dtype, (rows, classes)) for path in paths(folder, form)]
                for form, dtype in (("f32", "f4"), ("f16", "f2")))
    with ExitStack() as stack:
        stored = [stack.enter_context(open(path, "wb")) for path in paths(folder, "kld")]
        for file in stored:
            write_header(file, rows, classes, targets)
        for k in range(rows):
            base = 2.5 * rng.standard_normal(classes, np.float32)
            base[targets[k]] += rng.normal(10, 4)
            for model, row in enumerate((base, base + 0.1 * rng.standard_normal(classes, np.float32))):
                f32[model][k] = f16[model][k] = row
                write_row(stored[model], row)


def write_header(file, rows, classes, targets):
    """One chunk of tokens, of which the second half is stored."""
    n_ctx = 2 * rows + 1
    tokens = np.zeros(n_ctx, "<i4")
    tokens[n_ctx - rows:] = targets
    file.write(b"_logits_" + struct.pack("<3i", n_ctx, classes, 1) + tokens.tobytes())


def write_row(file, x):
    low = max(x.min(), x.max() - 16)
    scale = np.float32((x.max() - low) / 65535)
    log_sum = np.log(np.exp(x - x.max()).sum())
    file.write(struct.pack("<ff", scale, low - x.max() - log_sum))
    file.write(np.round(np.maximum(x - low, 0) / scale).astype("<u2").tobytes())


def paths(folder, form):
    return [folder / (f"{name}.kld" if form == "kld" else f"{name}-{form}.npy") for name in ("base", "other")]


def blocks(path, classes):
    """float32 (128, classes) of any of the formats, as a script would read it."""
    if path.suffix == ".npy":
        file = np.load(path, mmap_mode="r")
        for k in range(0, len(file), AT_ONCE):
            yield np.asarray(file[k:k + AT_ONCE], np.float32)
        return
    with open(path, "rb") as file:
        n_ctx, = struct.unpack("<i", file.read(20)[8:12])
    row = np.dtype([("scale", "<f4"), ("low", "<f4"), ("codes", "<u2", (classes + classes % 2,))])
    stored = np.memmap(path, row, "r", 20 + 4 * n_ctx)
    for k in range(0, len(stored), AT_ONCE):
        some = stored[k:k + AT_ONCE]
        yield some["codes"][:, :classes] * some["scale"][:, None] + some["low"][:, None]


# ---- Ways ------------------------------------------------------------------------------------------------------------


def read(files, threads):
    """Every byte once into a buffer of each thread."""
    def part(path, first, stop):
        buffer = memoryview(bytearray(PIECE))
        with open(path, "rb", buffering=0) as file:
            file.seek(first)
            while first < stop:
                first += file.readinto(buffer[: min(PIECE, stop - first)])

    with ThreadPoolExecutor(threads) as pool:
        for path in files:
            size = path.stat().st_size
            edges = [size * k // threads for k in range(threads + 1)]
            list(pool.map(functools.partial(part, path), edges[:-1], edges[1:]))


def crossent_eval(files, targets, classes, threads):
    import crossent
    from crossent.evaluation import evaluate

    with crossent.num_threads(threads):
        return evaluate(files[0], targets).loss


def crossent_compare(files, targets, classes, threads):
    import crossent
    from crossent.evaluation import compare

    with crossent.num_threads(threads):
        return compare(*files, targets).kl


def numpy_eval(files, targets, classes, threads):
    sums, row = np.zeros(7), 0
    for x in blocks(files[0], classes):
        y = targets[row:row + len(x)]
        row += len(x)
        log_probs = numpy_log_softmax(x)
        p = np.exp(log_probs)
        chosen = np.arange(len(x)), y
        rank = (x > x[chosen][:, None]).sum(axis=1)
        brier = (p * p).sum(axis=1) + 1 - 2 * p[chosen]
        sums += [-log_probs[chosen].sum(), (rank < 1).sum(), (rank < 5).sum(), (rank < 10).sum(), rank.sum(),
                 -(p * log_probs).sum(), brier.sum()]
    return (sums / row)[0]


def numpy_compare(files, targets, classes, threads):
    sums, row = np.zeros(8), 0
    for x, z in zip(blocks(files[0], classes), blocks(files[1], classes), strict=True):
        y = targets[row:row + len(x)]
        row += len(x)
        chosen = np.arange(len(x)), y
        a, b = numpy_log_softmax(x), numpy_log_softmax(z)
        p, q = np.exp(a), np.exp(b)
        m = np.log((p + q) / 2)
        top = [np.argpartition(v, -10, axis=1)[:, -10:] for v in (x, z)]
        both = sum(np.intersect1d(*pair).size for pair in zip(*top, strict=True))
        sums += [(p * (a - b)).sum(), (q * (b - a)).sum(), (p * (a - m) + q * (b - m)).sum() / 2, a[chosen].sum(),
                 b[chosen].sum(), ((p - q)[chosen] ** 2).sum(), (x.argmax(axis=1) == z.argmax(axis=1)).sum(), both]
    return (sums / row)[0]


def numpy_log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def torch_eval(files, targets, classes, threads):
    import torch

    torch.set_num_threads(threads)
    sums, row = torch.zeros(7, dtype=torch.float64), 0
    for block in blocks(files[0], classes):
        x = torch.from_numpy(block)
        y = torch.from_numpy(targets[row:row + len(x)])[:, None]
        row += len(x)
        log_probs = torch.log_softmax(x, 1)
        p = log_probs.exp()
        rank = (x > x.gather(1, y)).sum(1)
        brier = (p * p).sum(1) + 1 - 2 * p.gather(1, y)[:, 0]
        sums += torch.stack([-log_probs.gather(1, y).sum(), (rank < 1).sum(), (rank < 5).sum(), (rank < 10).sum(),
                             rank.sum(), -(p * log_probs).sum(), brier.sum()])
    return float((sums / row)[0])


def torch_compare(files, targets, classes, threads):
    import torch

    torch.set_num_threads(threads)
    sums, row = torch.zeros(8, dtype=torch.float64), 0
    for blocks_of_both in zip(blocks(files[0], classes), blocks(files[1], classes), strict=True):
        x, z = map(torch.from_numpy, blocks_of_both)
        y = torch.from_numpy(targets[row:row + len(x)])[:, None]
        row += len(x)
        a, b = torch.log_softmax(x, 1), torch.log_softmax(z, 1)
        p, q = a.exp(), b.exp()
        m = ((p + q) / 2).log()
        top = [v.topk(10, 1).indices for v in (x, z)]
        both = (top[0][:, :, None] == top[1][:, None]).sum()
        sums += torch.stack([(p * (a - b)).sum(), (q * (b - a)).sum(), (p * (a - m) + q * (b - m)).sum() / 2,
                             a.gather(1, y).sum(), b.gather(1, y).sum(), ((p - q).gather(1, y) ** 2).sum(),
                             (top[0][:, 0] == top[1][:, 0]).sum(), both])
    return float((sums / row)[0])


WAYS = {"eval": {"crossent": crossent_eval, "NumPy": numpy_eval, "PyTorch": torch_eval},
        "compare": {"crossent": crossent_compare, "NumPy": numpy_compare, "PyTorch": torch_compare}}


# ---- Measuring -------------------------------------------------------------------------------------------------------


def measure(folder, classes, rounds, threads, forms):
    targets = np.load(folder / "targets.npy")
    for form in forms:
        for command, ways in WAYS.items():
            files = paths(folder, form)[: 1 if command == "eval" else 2]
            size = sum(path.stat().st_size for path in files)
            runs = {"read": functools.partial(read, files, threads)}
            for name, way in ways.items():
                runs[name] = functools.partial(way, files, targets, classes, threads)
            times = {name: [] for name in runs}
            for turn in range(rounds + 1):
                for name, run in runs.items():
                    start = time.perf_counter()
                    result = run()
                    if turn > 0:  # the first touches files and starts threads
                        times[name].append(time.perf_counter() - start)
                    elif result is not None:
                        print(f"    {command} {form} {name}: {result:.9g}", file=sys.stderr)
            report(command, form, threads, size, times)


def report(command, form, threads, size, times):
    ours = np.array(times["crossent"])
    rates = " ".join(f"{name} {size / statistics.median(t) / 1e9:.2f}" for name, t in times.items())
    share = np.median(np.array(times["read"]) / ours)
    multiples = ", ".join(f"{np.median(np.array(times[name]) / ours):.1f} x {name}" for name in ("NumPy", "PyTorch"))
    print(f"{command} {form}, {threads} threads: GB/s {rates}; {share:.2f} of reading, {multiples}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--classes", type=int, default=32000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--formats", default="f32,f16,kld")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)  # in a process with these threads
    options = parser.parse_args()
    if options.once:
        return measure(options.folder, options.classes, options.rounds, int(options.threads),
                       options.formats.split(","))
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "targets.npy").exists():
        make(options.folder, options.rows, options.classes)
    for threads in options.threads.split(","):
        subprocess.run([sys.executable, __file__, str(options.folder), "--once", f"--threads={threads}",
                        f"--classes={options.classes}", f"--rounds={options.rounds}", f"--formats={options.formats}"],
                       check=True)


if __name__ == "__main__":
    main()
