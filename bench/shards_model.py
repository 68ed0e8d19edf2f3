"""Where exact results cost more on many ranks: python bench/shards_model.py --from build/shards.json. See README.md.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from records import dumps
from scipy.optimize import nnls

from crossent import parallel

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "build" / "shards.json"
RESULT = ROOT / "docs" / "parallel-scale.json"
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


@dataclass(frozen=True)
class Costs:
    """Seconds of one rank by itself, on one thread."""

    logit: float  # a logit of the shard, forward and gradient
    once: float  # a call
    row: tuple[float, float]  # a row, of a call that is exact and of one that is not
    message: float  # a rank whose message is read
    branch: float  # a row and a branch, that is received and merged
    errors: tuple[float, float]  # of the fit, as shares of what was measured: the median and the largest

    @classmethod
    def fitted(cls, steps: list[dict[str, Any]]) -> Costs:
        """Least squares of the relative errors, to the shortest time of each call: other programs only add to it."""
        calls = [step for step in steps if step["step"] in CALLS]
        factors = np.array([_factors(step) for step in calls]) / [[min(step["rounds"])] for step in calls]
        costs, _ = nnls(factors, np.ones(len(calls)))
        errors = np.abs(factors @ costs - 1)
        logit, once, exact_row, row, message, branch = map(float, costs)
        return cls(logit, once, (exact_row, row), message, branch, (float(np.median(errors)), float(errors.max())))

    def parts(self, rows: int, ranks: int, split: Shards, exact: bool) -> dict[str, float]:
        """Computing is what cannot be left out, however the ranks learn of each other."""
        each = CALLS.index("exact" if exact else "not exact")
        return {
            "computing": rows * split.largest * self.logit,
            "rows": self.once + rows * self.row[each],
            "messages": ranks * self.message,
            "merging": rows * split.branches * self.branch * exact,
        }

    def described(self) -> str:
        return (f"A logit {1e9 * self.logit:.3f} ns, a branch of a row {1e9 * self.branch:.1f} ns, a row "
                f"{1e9 * self.row[0]:.0f} ns if exact and {1e9 * self.row[1]:.0f} if not, a message "
                f"{1e6 * self.message:.1f} us, a call {1e6 * self.once:.0f} us. Errors of the fit: "
                f"{self.errors[0]:.0%}, at most {self.errors[1]:.0%}.")  # fmt: skip


def _factors(step: dict[str, Any]) -> list[float]:
    """What each of the costs is multiplied by."""
    rows, ranks, exact = step["rows"], step["ranks"], step["step"] == "exact"
    split = shards(step["classes"], ranks)
    return [rows * split.largest, 1, rows * exact, rows * (not exact), ranks,
            rows * split.branches * exact]  # fmt: skip


def header(steps: list[dict[str, Any]]) -> float:
    """Bytes of a message but for the numbers of the rows."""
    sizes = [(step["bytes"] - step["rows"] * shards(step["classes"], step["ranks"]).bytes) / step["ranks"]
             for step in steps if step["step"] == "exact"]  # fmt: skip
    return float(max(sizes))


def model(costs: Costs, of_message: float, rows: int, classes: int, ranks: int) -> dict[str, Any]:
    """Seconds of a call with its gradient: of its parts, and by network of all of it."""
    split = shards(classes, ranks)
    parts = costs.parts(rows, ranks, split, exact=True)
    exact, other = sum(parts.values()), sum(costs.parts(rows, ranks, split, exact=False).values())
    networks = {}
    for name, network in NETWORKS.items():
        gather = network.allgather(ranks, rows * split.bytes + ranks * of_message)
        reduce = network.allgather(ranks, ranks * of_message) + network.allreduces(ranks, rows * REDUCED)
        networks[name] = {"exact": exact + gather, "not exact": other + reduce, "sending": gather}
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
    parser.add_argument("--json", type=Path, default=RESULT, help="for docs/figures.py")
    options = parser.parse_args()
    if not options.measured.is_file():
        parser.error(f"{options.measured} is no file: python bench/shards.py writes it")
    measured = json.loads(options.measured.read_text())
    costs, of_message = Costs.fitted(measured["steps"]), header(measured["steps"])
    print(costs.described(), f"{of_message:.0f} bytes of a message are not numbers.")
    points = [model(costs, of_message, options.rows, classes, ranks) for classes in CLASSES for ranks in RANKS]
    print(f"\nMicroseconds a row of {options.rows:,}, sending by {options.network}; exact over not exact by network:\n")
    print(table(points, options.network), limits(points), sep="\n\n")
    print("", *(sending_beside_model(shape, of_message) for shape in measured.get("processes", [])), sep="\n")
    options.json.write_text(dumps(figure(points)))


if __name__ == "__main__":
    main()
