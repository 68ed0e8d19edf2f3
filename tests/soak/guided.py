"""Inputs of the parsers in parsers.py that Atheris finds, guided by which branches of this package they reach.

    python tests/soak/guided.py RowStates CORPUS -max_total_time=60      # what follows the name goes to libFuzzer

The corpus is a folder, where one run goes on from the one before.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["crossent"]):
    from soak import parsers


def mutated(data, longest, seed):
    """As libFuzzer does it, or, where it is a message, one fact of it exchanged."""
    rng = np.random.default_rng(seed)
    if rng.random() < 0.5:
        with contextlib.suppress(Exception):
            return parsers.with_odd_fact(rng, data)[:longest]
    return atheris.Mutate(data, longest)


def main():
    whole, read = parsers.PARSERS[sys.argv[1]]
    if not read(whole):
        raise AssertionError("the whole input is refused")

    def once(data):
        read(data)

    with tempfile.TemporaryDirectory() as seeds:
        Path(seeds, "whole").write_bytes(whole)
        atheris.Setup([sys.argv[0], *sys.argv[2:], seeds], once, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
