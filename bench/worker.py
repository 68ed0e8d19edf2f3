"""Measures cells at one number of threads, in a process confined to as many processors. bench.py starts it.

It writes one JSON object per line: first about the process, then one per cell.
"""

from __future__ import annotations

import json
import os
import sys

import machine

if __name__ == "__main__":  # before anything is imported that starts threads
    OPTIONS = json.loads(sys.argv[1])
    PROCESSORS = machine.pin(OPTIONS["threads"])

import contextlib
import gc
import importlib.metadata
import platform
import time
import warnings
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import peers
from accuracy import largest_errors
from arrays import Buffers
from ceilings import ceiling_tasks, fastest_pass
from cells import CELLS, SLOWDOWN, Cell, bytes_moved, cached_cells, make_buffers, make_sets
from peers import ENTRIES, Call, Entry, Peer, disagreement, first_rows
from peers_crossent import Crossent
from rounds import Task, interleave, ratios

import crossent as xe

PAUSE, QUICK_PAUSE = 0.01, 0.003  # seconds; the threads of libgomp spin for some milliseconds after their work
NEAR_MEMORY = 0.85  # of the speed of memory: faster than that no bar asks for
DISTRIBUTIONS = (
    *("crossent", "numpy", "numba", "intel-cmplr-lib-rt", "torch", "jax", "jaxlib", "optax"),
    *("tensorflow-cpu", "openvino", "scipy", "scikit-learn", "ml_dtypes"),
)


@dataclass(frozen=True)
class Plan:
    threads: int
    rounds: int
    quick: bool
    budget: float  # seconds for each task of a cell
    peers: list[Entry]  # asked for
    loaded: dict[str, Peer]
    missing: dict[str, str]  # and why
    accuracy: bool  # to be measured, too


def versions() -> dict[str, str]:
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def described(cell: Cell) -> dict[str, Any]:
    """Its fields; the mask in words, because JSON has no infinity, and the share that is the bar of this machine."""
    fields = asdict(cell) | {"share": None if cell.shares is None else cell.shares[machine.kind()]}
    return fields | ({} if cell.mask is None else {"mask": str(cell.mask)})


def reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:200]


def load_peers(entries: list[Entry]) -> tuple[dict[str, Peer], dict[str, str]]:
    loaded, missing = {}, {}
    for entry in entries:
        try:
            loaded[entry.name] = peers.load(entry)
        except Exception as error:  # a library that cannot be imported is missing, whatever it raises
            missing[entry.name] = reason(error)
    return loaded, missing


def task_of(name: str, calls: list[Call], sets: list[Buffers], cell: Cell) -> Task:
    by_set = {id(b): call for b, call in zip(sets, calls, strict=True)}
    return Task(name, bytes_moved(cell, sets[0]), lambda b: peers.seconds(by_set[id(b)], cell.calls))


def accuracy(cell: Cell, plan: Plan) -> dict[str, tuple[float, float]]:
    """The largest errors of every library. Before the times: some forget what they have compiled."""
    if not plan.accuracy or cell.mask is not None:
        return {}
    found = {"crossent": largest_errors(Crossent(xe), cell, plan.threads)}
    for entry in plan.peers:
        if entry.name in plan.loaded and cell.bar(entry.name) is not None and entry.supports(cell):
            # one that fails is reported when it is timed
            with contextlib.suppress(Exception):
                found[entry.name] = largest_errors(plan.loaded[entry.name], cell, plan.threads)
    return found


def prepare_peers(cell: Cell, sets: list[Buffers], plan: Plan, expected: tuple[Any, Any]) -> tuple[list[Task], dict]:
    """The tasks of the peers that compute the same, and for the others why they are not compared."""
    tasks, excluded = [], {}
    for entry in ENTRIES:
        if cell.bar(entry.name) is None or not entry.supports(cell):
            continue
        if entry not in plan.peers:
            excluded[entry.name] = "not asked for"
        elif entry.name in plan.missing:
            excluded[entry.name] = "missing: " + plan.missing[entry.name]
        else:
            peer = plan.loaded[entry.name]
            try:
                calls = peer.prepare(cell, sets, plan.threads)
                theirs = first_rows(peer, calls[0], sets[0].logits.shape)
            except Exception as error:  # of any library: the cell goes on without it
                excluded[entry.name] = "failed: " + reason(error)
                continue
            if difference := disagreement(cell, expected, theirs):
                excluded[entry.name] = "disagrees: " + difference
            else:
                tasks.append(task_of(entry.name, calls, sets, cell))
    return tasks, excluded


def arithmetic_ceiling(cell: Cell) -> float:
    """Bytes/s of one thread over data in the L2 cache: of the difference between a size and a quarter of it.

    The best of five medians: a ceiling is not to be lowered by what else happened at the time.
    """
    big, quarter = (replace(c, calls=1) for c in cached_cells(cell))
    sets = [make_buffers(c) for c in (big, quarter)]
    calls = [Crossent(xe).prepare(cell, [b], 1)[0] for b in sets]
    moved = bytes_moved(big, sets[0]) - bytes_moved(quarter, sets[1])
    with xe.num_threads(1):
        times = np.array([[peers.seconds(call, 1) for call in calls] for _ in range(200)]).reshape(5, 40, 2)
    return moved / float(np.subtract(*np.median(times, axis=1).min(axis=0)))


def reference(cell: Cell, sets: list[Buffers], plan: Plan) -> Task:
    """The same cell without its mask, on as many sets of its own: what is in the cache is to be the same, too."""
    plain = replace(cell, mask=None)
    own = make_sets(plain, plan.quick)[: len(sets)]
    calls = Crossent(xe).prepare(plain, own, plan.threads)
    turn = {id(b): calls[number % len(own)] for number, b in enumerate(sets)}
    return Task("no mask", bytes_moved(plain, own[0]), lambda b: peers.seconds(turn[id(b)], 1))


def measure(cell: Cell, plan: Plan) -> dict[str, Any]:
    errors = accuracy(cell, plan)
    sets = make_sets(cell, plan.quick)
    ours = Crossent(xe).prepare(cell, sets, plan.threads)
    expected = first_rows(Crossent(xe), ours[0], sets[0].logits.shape)
    tasks, excluded = prepare_peers(cell, sets, plan, expected)
    compared = [task.name for task in tasks]
    own = [task_of("crossent", ours, sets, cell)]
    if cell.ceiling:
        own += ceiling_tasks(cell.ceiling, sets[0].logits, plan.threads)
    if cell.mask is not None:
        own.append(reference(cell, sets, plan))
    groups = [own, *([task] for task in tasks)]
    pause = (QUICK_PAUSE if plan.quick else PAUSE) if plan.threads > 1 else 0.0
    at_once = 1 if plan.quick else len(sets)
    others = machine.Others()
    rates = interleave(groups, sets, plan.rounds, at_once=at_once, pause=pause, budget=plan.budget)
    moved = {task.name: task.bytes for group in groups for task in group}
    result = {
        **described(cell),
        "shape": list(sets[0].logits.shape),  # fewer rows than the cell's where --quick or the memory asks for it
        "sets": len(sets),
        "threads": plan.threads,
        "others": others.processors(),
        "bytes": moved["crossent"],
        "ms": 1e3 * moved["crossent"] / float(np.median(rates["crossent"])),
        "gb_per_s": float(np.median(rates["crossent"])) / 1e9,
        **against_ceiling(cell, rates, plan.threads),
        **against_peers(cell, rates, compared, excluded, moved["crossent"]),
        "ulp": errors,
        "rounds_ms": {name: [round(1e3 * moved[name] / r, 5) for r in values] for name, values in rates.items()},
    }
    if cell.mask is not None:
        slowdown = float(np.median(ratios(rates["no mask"], rates["crossent"])))
        result |= {"slowdown": slowdown, "slowdown_bar": SLOWDOWN, "reached_share": slowdown <= SLOWDOWN}
    if cell.latency is not None:
        result["reached_share"] = result["ms"] <= 1e3 * cell.latency
    return result


def against_ceiling(cell: Cell, rates: dict[str, np.ndarray], threads: int) -> dict[str, Any]:
    if cell.ceiling is None:
        return {}
    best = fastest_pass(rates, cell.ceiling)
    share = float(np.median(ratios(rates["crossent"], rates[best])))
    return {
        "ceiling_kernel": best.split("/")[1],
        "ceiling_gb_per_s": float(np.median(rates[best])) / 1e9,
        "arithmetic_gb_per_s": arithmetic_ceiling(cell) * threads / 1e9,
        "share_of_ceiling": share,
        "reached_share": None if cell.shares is None else share >= cell.shares[machine.kind()],
    }


def ratio_bar(cell: Cell, peer: str, rates: dict[str, np.ndarray]) -> float:
    """How much faster than this peer crossent is to be: the bar of the cell, but no more than the memory allows."""
    bar = cell.bar(peer)
    assert bar is not None
    if cell.ceiling is None:
        return bar
    return min(bar, NEAR_MEMORY * float(np.median(ratios(rates[fastest_pass(rates, cell.ceiling)], rates[peer]))))


def against_peers(
    cell: Cell, rates: dict[str, np.ndarray], compared: list[str], excluded: dict[str, str], moved: int
) -> dict[str, Any]:
    """How much faster crossent is. The bars are reached only if every peer that has the operation was compared."""
    if cell.ratio is None and not cell.over:
        return {}
    factor = {name: float(np.median(ratios(rates["crossent"], rates[name]))) for name in compared}
    bars = {name: ratio_bar(cell, name, rates) for name in compared}
    fastest = min(factor, key=lambda name: factor[name], default=None)
    hardest = min(factor, key=lambda name: (factor[name] / bars[name], factor[name]), default=None)
    reached = None
    if hardest is not None and (factor[hardest] < bars[hardest] or not excluded):
        reached = factor[hardest] >= bars[hardest]
    return {
        "peer_ms": {name: 1e3 * moved / float(np.median(rates[name])) for name in compared},
        "peer_ratio": factor,
        "peer_bar": bars,
        "not_compared": excluded,
        "fastest_peer": fastest,
        "ratio_to_fastest": None if fastest is None else factor[fastest],
        "hardest_peer": hardest,
        "reached_ratio": reached,
    }


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints
    warnings.simplefilter("ignore")
    asked = [entry for entry in ENTRIES if entry.name in OPTIONS["peers"]]
    loaded, missing = load_peers(asked)
    limits = {key: OPTIONS[key] for key in ("threads", "rounds", "quick", "budget", "accuracy")}
    plan = Plan(**limits, peers=asked, loaded=loaded, missing=missing)
    about = {
        "threads": plan.threads,
        "processors": PROCESSORS,
        "crossent": xe.config(),
        "versions": versions(),
        "python": platform.python_version(),
        "last_level_cache": machine.last_level_cache(),
        "bars": machine.KINDS[machine.kind()],
        "missing": missing,
    }
    print(json.dumps(about), file=out, flush=True)
    with xe.num_threads(plan.threads):
        for cell in CELLS:
            if cell.name not in OPTIONS["cells"]:
                continue
            start = time.perf_counter()
            try:
                result = measure(cell, plan)
            except ImportError as error:  # ml_dtypes, for bfloat16
                result = {**described(cell), "threads": plan.threads, "not_measured": reason(error)}
            result["seconds"] = round(time.perf_counter() - start, 1)
            print(json.dumps(result), file=out, flush=True)
            gc.collect()


if __name__ == "__main__":
    main()
