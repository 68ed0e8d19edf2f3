"""Where exact results cost more on many ranks: python bench/shards_model.py [--rows 4096]. See README.md.

It is a model: what a rank does by itself follows from what shards.py has measured, communication from the latency and
the bandwidth of a network. The costs of collectives are those of R. Thakur, R. Rabenseifner and W. Gropp, Optimization
of collective communication operations in MPICH (2005).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from records import dumps
from scipy.optimize import nnls

from crossent import parallel

MEASURED = Path(__file__).resolve().parent.parent / "build" / "shards.json"
CLASSES = (32_768, 131_072, 262_144)
RANKS = tuple(2**k for k in range(1, 11))
LIMIT = 1.05
REDUCED = 48  # bytes a row of the two all-reduces: the maximum; then five sums
CALLS = ("exact", "not exact")


class Network(NamedTuple):
    latency: float  # seconds
    bandwidth: float  # bytes a second

    def allgather(self, ranks: int, total: float) -> float:
        """Of `total` bytes by recursive doubling, and before it of their lengths, as mpi4py does."""
        steps = math.ceil(math.log2(ranks))
        return 2 * steps * self.latency + total * (ranks - 1) / ranks / self.bandwidth

    def allreduces(self, ranks: int, size: float) -> float:
        """Two of `size` bytes in all, each a reduce-scatter and an all-gather."""
        steps = math.ceil(math.log2(ranks))
        return 2 * 2 * steps * self.latency + 2 * size * (ranks - 1) / ranks / self.bandwidth


# Bandwidth is of the line, and of shared memory that of one core's copies. The latencies are orders
# of magnitude, of small messages of MPI: on Ethernet by TCP.
NETWORKS = {
    "shared memory": Network(1e-6, 5e9),
    "25 GbE": Network(30e-6, 25e9 / 8),
    "InfiniBand NDR": Network(2e-6, 400e9 / 8),
}


class Shards(NamedTuple):
    """How some classes are split by `shard_range`."""

    largest: int  # classes of rank 0
    branches: int  # of all ranks
    bytes: int  # of the states of a row, of all ranks


def shards(classes: int, ranks: int) -> Shards:
    largest = parallel.shard_range(classes, 0, ranks)[1]
    size = branches = 0
    for rank in range(ranks):
        start, stop = parallel.shard_range(classes, rank, ranks)
        states = parallel.partial(np.zeros((1, stop - start), np.float32), [0], start, n_classes=classes)
        size += states.nbytes
        branches += (states.nbytes - 8) // 32  # 8 are the logit of the target
    return Shards(largest, branches, size)


def counts(rows: int, ranks: int, split: Shards, exact: bool) -> dict[str, float]:
    """How often a rank by itself has each cost. Computing is what cannot be left out."""
    return {
        "computing": rows * split.largest,  # a logit, forward and gradient
        "call": 1,
        "row": rows,
        "row, not exact": rows * (not exact),  # what it takes more
        "message": ranks,
        "branch": rows * split.branches * exact,
    }


def fitted(steps: list[dict[str, Any]]) -> dict[str, float]:
    """The costs in seconds: least squares of the relative errors.

    They are fitted to the shortest time of each call, as other programs only add to it, and none is negative.
    """
    calls = [step for step in steps if step["step"] in CALLS]
    often = [counts(step["rows"], step["ranks"], shards(step["classes"], step["ranks"]), step["step"] == "exact")
             for step in calls]  # fmt: skip
    factors = np.array([[*one.values()] for one in often]) / [[min(step["rounds"])] for step in calls]
    costs, _ = nnls(factors, np.ones(len(calls)))
    errors = np.abs(factors @ costs - 1)
    print("Nanoseconds:", ", ".join(f"{name} {1e9 * cost:,.4g}" for name, cost in zip(often[0], costs, strict=True)),
          f"(errors of the fit: {np.median(errors):.0%}, at most {errors.max():.0%})")  # fmt: skip
    return dict(zip(often[0], map(float, costs), strict=True))


def header(steps: list[dict[str, Any]]) -> float:
    """Bytes of a message but for the numbers of the rows."""
    sizes = [(step["bytes"] - step["rows"] * shards(step["classes"], step["ranks"]).bytes) / step["ranks"]
             for step in steps if step["step"] == "exact"]  # fmt: skip
    return float(max(sizes))


def model(costs: dict[str, float], of_message: float, rows: int, classes: int, ranks: int) -> dict[str, Any]:
    """Seconds of a call with its gradient: of its parts if it is exact, and by network of all of it."""
    split = shards(classes, ranks)
    exact, other = ({name: costs[name] * often for name, often in counts(rows, ranks, split, kind == "exact").items()}
                    for kind in CALLS)  # fmt: skip
    networks = {}
    for name, network in NETWORKS.items():
        gather = network.allgather(ranks, rows * split.bytes + ranks * of_message)
        reduce = network.allgather(ranks, ranks * of_message) + network.allreduces(ranks, rows * REDUCED)
        networks[name] = {
            "exact": sum(exact.values()) + gather, "not exact": sum(other.values()) + reduce, "sending": gather,
        }  # fmt: skip
    parts = {"computing": exact["computing"], "rows": exact["call"] + exact["row"], "messages": exact["message"],
             "merging": exact["branch"]}  # fmt: skip
    return {"rows": rows, "classes": classes, "ranks": ranks, "split": split, "parts": parts, "networks": networks}


# ---- What is said about it -------------------------------------------------------------------------------------------


def over_not_exact(point: dict[str, Any], network: str) -> float:
    times = point["networks"][network]
    ratio: float = times["exact"] / times["not exact"]
    return ratio


def over_computing(point: dict[str, Any], network: str) -> float:
    ratio: float = point["networks"][network]["exact"] / point["parts"]["computing"]
    return ratio


def most(point: dict[str, Any], network: str) -> str:
    """The largest part of what an exact call takes beside the computing."""
    parts = {name: seconds for name, seconds in point["parts"].items() if name != "computing"}
    parts["sending"] = point["networks"][network]["sending"]
    return str(max(parts, key=lambda name: parts[name]))


def table(points: list[dict[str, Any]], network: str) -> str:
    heads = ["classes", "ranks", "branches", "bytes a row", *points[0]["parts"], "sending", "exact / computing",
             "most of it", *NETWORKS]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---:" for _ in heads) + " |"]
    for point in points:
        split, rows = point["split"], point["rows"]
        seconds = [*point["parts"].values(), point["networks"][network]["sending"]]
        cells = [f"{point['classes']:,}", f"{point['ranks']:,}", str(split.branches), f"{split.bytes:,}",
                 *(f"{1e6 * x / rows:.3f}" for x in seconds), f"{over_computing(point, network):.2f}",
                 most(point, network), *(f"{over_not_exact(point, name):.2f}" for name in NETWORKS)]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def first_above(points: list[dict[str, Any]], ratio: Callable[[dict[str, Any], str], float], network: str) -> str:
    """The smallest number of ranks at which a ratio is above the limit."""
    return next((f"{p['ranks']:,}" for p in points if ratio(p, network) > LIMIT), "none")


def limits(points: list[dict[str, Any]]) -> str:
    lines = []
    for classes in CLASSES:
        own = [point for point in points if point["classes"] == classes]
        for what, ratio in (("not exact", over_not_exact), ("computing", over_computing)):
            listed = ", ".join(f"{name} {first_above(own, ratio, name)}" for name in NETWORKS)
            lines.append(f"{classes:,} classes: exact takes more than {LIMIT} x {what} from so many ranks on: {listed}")
    return "\n".join(lines)


def sending_beside_model(shape: dict[str, Any], of_message: float) -> str:
    """What the processes of shards.py have spent in collectives beside the model of shared memory."""
    rows, ranks, network = shape["rows"], shape["processes"], NETWORKS["shared memory"]
    size = rows * shards(shape["classes"], ranks).bytes + ranks * of_message
    seconds = statistics.median(shape["tasks"]["processes, exact"]["sending"])
    return (f"{rows:,} rows, {shape['classes']:,} classes, {ranks} processes: {1e6 * seconds:.0f} us in the all-gather "
            f"of the states, {1e6 * network.allgather(ranks, size):.0f} by the model")  # fmt: skip


def figure(points: list[dict[str, Any]]) -> dict[str, Any]:
    """What docs/figures.py draws."""
    lines = [{"classes": classes, "network": network,
              "ratios": [round(over_not_exact(p, network), 4) for p in points if p["classes"] == classes]}
             for classes in CLASSES for network in NETWORKS]  # fmt: skip
    return {"rows": points[0]["rows"], "limit": LIMIT, "ranks": RANKS, "lines": lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="measured", type=Path, default=MEASURED, help="what bench/shards.py has written")
    parser.add_argument("--rows", type=int, default=4096, help="default: 4096")
    parser.add_argument("--network", choices=NETWORKS, default="25 GbE", help="of the table's times; default: 25 GbE")
    parser.add_argument("--json", type=Path, help="where to write what docs/figures.py draws (parallel-scale.json)")
    options = parser.parse_args()
    if not options.measured.is_file():
        parser.error(f"{options.measured} is no file: python bench/shards.py writes it")
    measured = json.loads(options.measured.read_text())
    costs, of_message = fitted(measured["steps"]), header(measured["steps"])
    print(f"{of_message:.0f} bytes of a message are not numbers.")
    points = [model(costs, of_message, options.rows, classes, ranks) for classes in CLASSES for ranks in RANKS]
    print(f"\nMicroseconds a row of {options.rows:,}, sending by {options.network}; exact over not exact by network:\n")
    print(table(points, options.network), limits(points), sep="\n\n")
    print("", *(sending_beside_model(shape, of_message) for shape in measured.get("processes", [])), sep="\n")
    if options.json:
        options.json.write_text(dumps(figure(points)))


if __name__ == "__main__":
    main()
