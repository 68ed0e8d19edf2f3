"""Rows of logits whose classes are split, and calls of cross-entropy on them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import crossent as xe

BLOCK = 1024


def aligned_cuts(rng, classes, parts):
    """Where each of so many parts of the classes begins, at multiples of 1,024, and where the last one ends."""
    blocks = -(-classes // BLOCK)
    cuts = np.sort(rng.integers(0, blocks + 1, parts - 1)) * BLOCK
    return [0, *np.minimum(cuts, classes).tolist(), classes]


@dataclass
class Case:
    """A call of cross_entropy with the classes at `axis`."""

    logits: Any
    target: Any
    axis: int = 1
    options: dict = field(default_factory=dict)  # but for the reduction and what follows
    reduction: dict = field(default_factory=dict)

    @property
    def classes(self):
        return self.logits.shape[self.axis]

    @property
    def again(self):
        """The options that are given again where the logits are read again: of these a state has digests alone."""
        arrays = {"temperature": self.options["temperature"]} if np.ndim(self.options.get("temperature")) else {}
        return arrays | {name: self.options[name] for name in ("logit_bias",) if name in self.options}

    def expected(self):
        return xe.cross_entropy(
            self.logits, self.target, axis=self.axis, return_grad=True, **self.options, **self.reduction)

    def part(self, x, begin, end):
        return x[(slice(None),) * self.axis + (slice(begin, end),)]

    def shard(self, begin, end):
        """The logits and the target of these classes."""
        by_index = self.target.dtype.kind in "iu"
        return self.part(self.logits, begin, end), self.target if by_index else self.part(self.target, begin, end)


def random_case(rng, classes=None, with_entropy=True):
    """Of any dtype, layout and options; about a fifth of the class indices are ignored."""
    if classes is None:
        classes = int(rng.choice([1, 5, 1000, 1024, 1025, 3000, 5120, 9000]))
    dtype = rng.choice([np.float32, np.float64, np.float16])
    rows = tuple(int(n) for n in rng.integers(1, 9, rng.integers(1, 3)))
    axis = int(rng.integers(0, len(rows) + 1))
    shape = (*rows[:axis], classes, *rows[axis:])
    x = rng.standard_normal(shape) * rng.choice([1, 30, 200]) + rng.choice([0, 0, 2000])
    if rng.random() < 0.3:
        x[rng.random(shape) < 0.01] = -np.inf
    if rng.random() < 0.1:
        x[rng.random(shape) < 0.001] = np.nan
    x = x.astype(dtype)
    if rng.random() < 0.3:
        x = np.asfortranarray(x)
    options = {"temperature": float(rng.choice([1, 1, 2, 0.7])), "label_smoothing": float(rng.choice([0, 0.1, 1]))}
    if with_entropy and rng.random() < 0.3:
        options["entropy_weight"] = float(rng.choice([0.5, -0.25]))
    if rng.random() < 0.5:
        weight = rng.random(classes) * (rng.random(classes) < 0.8)
        options["weight"] = weight.astype(rng.choice([np.float32, np.float64]))
    if rng.random() < 0.4:
        target = rng.random(shape).astype(rng.choice([np.float32, np.float64]))
        target[rng.random(shape) < 0.3] = 0
    else:
        target = rng.integers(0, classes, rows)
        target[rng.random(rows) < 0.2] = -100
    reduction = {"reduction": str(rng.choice(["mean", "sum", "none"])), "z_loss": float(rng.choice([0, 0.01]))}
    if rng.random() < 0.3:
        reduction["sample_weight"] = rng.normal(size=rows)
    return Case(x, target, axis, options, reduction)


# What comes between the logits that are given and those of the softmax.
OF_LOGITS = ("softcap", "logit_bias", "temperatures", "all")


def of_logits(rng, which, classes, rows):
    """The options of one of `OF_LOGITS`; of a bias some are -inf."""
    options = {}
    if which in ("softcap", "all"):
        options["softcap"] = float(rng.choice([2, 30]))
    if which in ("logit_bias", "all"):
        bias = rng.normal(size=classes)
        bias[rng.random(classes) < 0.3 * (classes > 5)] = -np.inf
        options["logit_bias"] = bias.astype(rng.choice([np.float16, np.float32, np.float64]))
    if which in ("temperatures", "all"):
        shape = rows if rng.random() < 0.7 else (*rows[:-1], 1)
        options["temperature"] = rng.choice([0.5, 1, 3], shape).astype(rng.choice([np.float32, np.float64]))
    return options


def transformed_case(rng, which, classes=None, with_entropy=True):
    """As `random_case`, with the options of one of `OF_LOGITS`."""
    case = random_case(rng, classes, with_entropy)
    rows = case.logits.shape[: case.axis] + case.logits.shape[case.axis + 1 :]
    case.options |= of_logits(rng, which, case.classes, rows)
    return case
