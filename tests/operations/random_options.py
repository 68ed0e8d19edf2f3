"""Random options, from the table of arguments: what the fuzzer, the search of attack/ and peers/ give their calls."""

import numpy as np

from .arguments import OPTIONS


def value(rng, name):
    """One that the table lists."""
    return OPTIONS[name].values[rng.integers(len(OPTIONS[name].values))]


def some(rng, names, chance=0.5):
    """{name: value} of those that have values, each of them so often."""
    return {name: value(rng, name) for name in names if OPTIONS[name].values and rng.random() < chance}


def random_number(rng, option):
    """Any of its span; one in twelve is the least, and as many are the largest."""
    (low, high), at = option.span, np.clip(rng.uniform(-0.1, 1.1), 0, 1)
    return float(low + (high - low) * at if high <= 1 else low * (high / low) ** at)
