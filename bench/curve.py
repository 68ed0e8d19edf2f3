"""The cost per element of the cross-entropy over the number of classes, of one build or of two. See README.md."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import machine
import numpy as np
import peers
from arrays import Buffers, aligned_empty, random_logits
from cells import Cell
from compare_worker import load
from peers import Call
from peers_crossent import Crossent
from records import dumps

RESULT = Path(__file__).resolve().parent.parent / "build" / "curve.json"
CLASSES = (*range(1, 201), *range(1000, 1051))
MODES = ("forward", "gradient")
ELEMENTS = 1_000_000  # of a call: logits and output lie in the last-level cache
IN_A_ROW = 4  # calls of each build that are timed at a time
WORST = 5  # how many are printed


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("builds", type=Path, nargs="*", help="one or two folders that have a package crossent in them")
    parser.add_argument("--points", type=int, default=len(CLASSES), help="how many numbers of classes; default: all")
    parser.add_argument("--rounds", type=int, default=40, help="over all of them; default: 40")
    parser.add_argument("--json", type=Path, default=RESULT, help="where to write the curve; default: build/curve.json")
    parser.add_argument("--picture", type=Path, help="also draw it into this SVG file; needs matplotlib")
    parser.add_argument("--from", dest="earlier", type=Path, help="measure nothing: draw this JSON file")
    options = parser.parse_args()
    if options.earlier:
        return options
    if not 1 <= len(options.builds) <= 2 or not all((b / "crossent" / "__init__.py").is_file() for b in options.builds):
        parser.error("one or two folders are needed that have crossent in them")
    if options.points < 2 or options.rounds < 1:
        parser.error("--points must be at least 2, --rounds at least 1")
    return options


def spread(count: int) -> list[int]:
    """So many of the numbers of classes, evenly, with both ends."""
    places = np.linspace(0, len(CLASSES) - 1, min(count, len(CLASSES))).round().astype(int)
    return [CLASSES[place] for place in places]


def make_calls(packages: list[Any], classes: list[int]) -> dict[tuple[int, str], list[Call]]:
    """By number of classes and mode, one for each build. All work on the same logits and the same output."""
    logits, output = random_logits((ELEMENTS,)), aligned_empty((ELEMENTS,), np.float32)
    output.fill(0)
    generator = np.random.default_rng(1)
    calls = {}
    for c in classes:
        shape = (ELEMENTS // c, c)
        x, out = (array[: shape[0] * c].reshape(shape) for array in (logits, output))
        buffers = Buffers(x, generator.integers(c, size=shape[0]), out)
        for mode in MODES:
            cell = Cell(f"c{c}", "cross_entropy", mode, shape, None, None, None)
            calls[c, mode] = [Crossent(package).call(cell, buffers) for package in packages]
    return calls


def measure(calls: dict[tuple[int, str], list[Call]], rounds: int) -> list[dict[str, Any]]:
    """Each round goes through all points in another order: what slows the machine for a second is spread over them.

    At each point the builds take turns; the first calls fetch the arrays and do not count.
    """
    shuffle = random.Random(0).shuffle
    times: dict[tuple[int, str], list[list[float]]] = {key: [[] for _ in of] for key, of in calls.items()}
    order = list(calls)
    for number in range(rounds):
        shuffle(order)
        for key in order:
            builds = list(zip(calls[key], times[key], strict=True))[:: -1 if number % 2 else 1]
            for call, _ in builds:
                peers.seconds(call, 1)
            for _ in range(IN_A_ROW):
                for call, taken in builds:
                    taken.append(peers.seconds(call, 1))
    return [point(*key, taken) for key, taken in times.items()]


def point(classes: int, mode: str, times: list[list[float]]) -> dict[str, Any]:
    """The shortest call of each build: other programs only add to it. The ratio is the median of the pairs'."""
    elements = ELEMENTS // classes * classes
    return {
        "classes": classes,
        "mode": mode,
        "ns_per_element": [1e9 * min(taken) / elements for taken in times],
        "ratio": statistics.median(b / a for a, b in zip(times[0], times[-1], strict=True)),
    }


def report(points: list[dict[str, Any]]) -> None:
    """The numbers of classes at which the new build does worst, or those more costly than their neighbours."""
    for mode in MODES:
        own = [p for p in points if p["mode"] == mode]
        if len(own[0]["ns_per_element"]) == 2:
            worst = sorted(own, key=lambda p: -p["ratio"])[:WORST]
            listed = ", ".join(f"{p['classes']}: {p['ratio']:.3f}" for p in worst)
            middle = statistics.geometric_mean(p["ratio"] for p in own)
            print(f"{mode}: new/old {middle:.3f}, its geometric mean; the largest at {listed}")
        costs = [p["ns_per_element"][-1] for p in own]
        steps = sorted(zip(own, own[1:], np.divide(costs[1:], costs[:-1]), strict=False), key=lambda s: -s[2])[:WORST]
        listed = ", ".join(f"{a['classes']} to {b['classes']}: {step:.3f}" for a, b, step in steps)
        print(f"{mode}: the largest steps up, as factors of the cost per element, from {listed}")


def run(options: argparse.Namespace) -> dict[str, Any]:
    machine.pin(1)
    names = [f"xe_{number}" for number in range(len(options.builds))]
    packages = load(dict(zip(names, map(str, options.builds), strict=True)), new_first=False)
    calls = make_calls([packages[name] for name in names], spread(options.points))
    for package in packages.values():
        package.set_num_threads(1)
    started, others, start = time.strftime("%Y-%m-%d %H:%M:%S"), machine.Others(), time.perf_counter()
    points = measure(calls, options.rounds)
    return {
        "processor": machine.processor(),
        "started": started,
        "builds": [packages[name].config() for name in names],
        "rounds": options.rounds,
        "seconds": round(time.perf_counter() - start, 1),
        "others": others.processors(),  # busy with other programs, on average
        "points": points,
    }


def main() -> None:
    options = parse()
    result = json.loads(options.earlier.read_text()) if options.earlier else run(options)
    report(result["points"])
    print(f"{result['seconds']} s; other programs kept {result['others']} processors busy")
    if not options.earlier:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(dumps(result))
    if options.picture:
        import figures

        figures.draw_curve(result, options.picture)


if __name__ == "__main__":
    main()
