"""The arguments of the exact tests: one row each of everything that a row may be, 12 rows of 9 classes."""

import numpy as np
import oracle

from .kinds import BIASES, PER_CLASS, PER_ROW, TEMPERATURES

ROWS, CLASSES = 12, 9
WEIGHT = [0.5, 1.0, 2.0, 0.0, 0.25, 3.0, 1e-3, 1e3, 0.1]
SAMPLE_WEIGHT = [1.0, -0.5, 0.0, 2.0, 0.3, -1e-3, 7.0, -1.0, 1.0, 0.0, 0.1, 5.0]
BIAS = [0.0, 1.0, -2.0, -np.inf, 0.5, 3.0, -1e-3, 4.0, -0.1]  # of class 3, which some_logits mask as well
TEACHER_BIAS = [0.5, -1.0, 2.0, -np.inf, 0.0, 1e-3, 0.25, -3.0, 1.0]
TEMPERATURE = [1.0, 0.5, 2.0, 3.0, 1 / 3, 1.0, 0.7, 7.0, 1.5, 0.1, 1.0, 40.0]


def weights_of(name, kind):
    """What stands for a kind of weights in the option of this name."""
    if name in BIASES:
        return BIAS if name == "logit_bias" else TEACHER_BIAS
    if kind == TEMPERATURES:
        return TEMPERATURE
    if kind == PER_CLASS:
        return WEIGHT
    return SAMPLE_WEIGHT if kind == PER_ROW else of_elements(1, -2) if name == "weight" else of_elements(2, 0)


def of_elements(seed, low):
    """A weight per element, some of them 0; the same in every run."""
    w = np.random.default_rng(seed).uniform(low, 3, (ROWS, CLASSES)).astype(np.float32)
    w[:, 4] = 0
    return w


def spacing(dtype):
    """Of the numbers at 1."""
    return float(oracle.format_of(dtype).eps)


def some_logits(rng, dtype):
    """Ordinary rows, and one each: confident, offset, masked, equal."""
    x = rng.normal(0, 4, (ROWS, CLASSES))
    x[1] -= 3
    x[1, 2] = 16
    x[2] += 100
    x[3, 3] = -np.inf  # the class of weight 0
    x[4] = 0.5
    return x.astype(dtype)


def some_probabilities(rng, dtype):
    """Ordinary rows, and: a sharp one, 0 at the masked classes, one-hot, half of the classes."""
    q = np.exp(rng.normal(0, 2, (ROWS, CLASSES)))
    q[1, 0] = 1e5
    q[3, 3] = 0
    q[5] = np.eye(CLASSES)[3]
    q[6, ::2] = 0
    return (q / q.sum(axis=1, keepdims=True)).astype(dtype)


def some_log_probabilities(rng, dtype):
    with np.errstate(divide="ignore"):
        return np.log(some_probabilities(rng, np.float64)).astype(dtype)


def some_classes(rng):
    target = rng.integers(0, CLASSES, ROWS)
    target[1], target[3] = 2, 0
    return target


def student_and_teacher(divergence):
    """Each masked where the divergence stays finite: forward needs t = 0 where s is, reverse s = 0 where t is."""
    def draw(rng, first, second):
        x, t = (some_logits(rng, np.float64) for _ in range(2))
        t[5] = x[5] + rng.normal(0, 2**-5, CLASSES)
        if divergence != "reverse":
            t[6, 2:4] = -np.inf
        if divergence != "forward":
            x[6, 5:7] = -np.inf
        x, t = x.astype(first), t.astype(second)
        x[7] = t[7] = np.arange(CLASSES) / 4  # equal in every dtype
        return x, t
    return draw


def listed_teacher(rng, first, second):
    """(logits, classes, log-probabilities of these that add up to 0.9 at most): classes in any order, a few of them
    twice; a row with one, and a row with none."""
    x, z = some_logits(rng, np.float64), rng.normal(0, 2, (ROWS, CLASSES))
    x[6, 2:4] = -np.inf
    classes = np.array([rng.permutation(CLASSES) for _ in range(ROWS)])
    classes[:, 4:] = -1
    classes[1, 1], classes[8, 1:], classes[10] = classes[1, 0], -1, -1
    classes = rng.permuted(classes, axis=1)
    classes[6, np.isin(classes[6], (2, 3))] = -1
    classes[3, classes[3] == 3] = -1
    return x.astype(first), classes, (z - np.log(np.exp(z).sum(axis=1) / 0.9)[:, None]).astype(second)


def listed_logits(rng, first, second):
    x, classes, values = listed_teacher(rng, first, second)
    return x, classes, 3 * values


def indices(rng, first, second):
    return some_logits(rng, first), some_classes(rng)


def probabilities(rng, first, second):
    q = some_probabilities(rng, second)
    q[8] = 0  # no coefficient at all
    return some_logits(rng, first), q


def log_probabilities_and_classes(rng, first, second):
    return some_log_probabilities(rng, first), np.where(np.arange(ROWS) == 3, 0, some_classes(rng))


def logits_teacher_classes(rng, first, second):
    return *student_and_teacher("forward")(rng, first, second), some_classes(rng)


def logits_teacher_probabilities(rng, first, second):
    return *student_and_teacher("forward")(rng, first, second), some_probabilities(rng, second)


def log_probabilities_and_probabilities(rng, first, second):
    q, log_p = some_probabilities(rng, second), some_log_probabilities(rng, first)
    return log_p, np.where(np.isneginf(log_p.astype(np.float64)), 0, q.astype(np.float64)).astype(second)


def log_probabilities_twice(rng, first, second):
    log_t, log_p = some_log_probabilities(rng, second), some_log_probabilities(rng, first)
    return log_p, np.where(np.isneginf(log_p.astype(np.float64)), -np.inf, log_t.astype(np.float64)).astype(second)


def binary_targets(rng, dtype):
    y = rng.uniform(0, 1, (ROWS, CLASSES))
    y[:4] = rng.integers(0, 2, (4, CLASSES))
    y[4, :3] = 1e-4
    return y.astype(dtype)


def binary_probabilities(rng, first, second):
    """With 0, 1 and their neighbours."""
    p, y = rng.uniform(0, 1, (ROWS, CLASSES)).astype(first), binary_targets(rng, second)
    p[0] = np.where(np.arange(CLASSES) % 2, 0, 1)
    p[1, :4], p[1, 4:] = 1e-7, 1 - 2**-8
    y[0, :4] = [0, 0, 1, 1]  # p = 1, 0, 1, 0: both certainties, right and wrong
    return p, y


def binary_logits(rng, first, second):
    x = rng.normal(0, 6, (ROWS, CLASSES))
    x[1] = np.linspace(-80, 80, CLASSES)
    x[2] = np.linspace(-1e-3, 1e-3, CLASSES)
    return x.astype(first), binary_targets(rng, second)
