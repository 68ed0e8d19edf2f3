"""What array arguments hold."""

import numpy as np

# The kinds of arrays over (rows, classes), but for class indices: one per row.
LOGITS, PROBABILITIES, LOG_PROBABILITIES = "logits", "probabilities", "log-probabilities"
FRACTIONS = "fractions"  # any numbers in [0, 1], such as the probabilities of events
CLASS_INDICES = "class indices"
# Of a teacher that is known of some classes: which, of every row, and a number for each; as many as there are classes,
# some of them -1. The log-probabilities of a row add up to at most 1.
LISTED_CLASSES, LISTED_LOG_PROBABILITIES, LISTED_LOGITS = "listed classes", "listed log-probabilities", "listed logits"
INDICES = (CLASS_INDICES, LISTED_CLASSES)
# The kinds of weights.
PER_CLASS, PER_ROW, PER_ELEMENT = "per class", "per row", "per element"
TEMPERATURES = "a temperature of each row"
WEIGHTS = (PER_CLASS, PER_ROW, PER_ELEMENT, TEMPERATURES)
BIASES = ("logit_bias", "teacher_logit_bias")


def may_be_negative(option, kind):
    """Weights of rows and of elements have any sign; those of classes and of the positive class have not."""
    return kind == PER_ROW or (kind == PER_ELEMENT and option == "weight")


def may_be(option, kind, value):
    """Whether a number may stand in such an array."""
    if option in BIASES:
        return bool(value < np.inf)
    least = -np.inf if may_be_negative(option, kind) else 5e-324 if kind == TEMPERATURES else 0
    return bool(np.isfinite(value)) and value >= least


def normalised(rng, rows, classes):
    p = rng.uniform(0.1, 1, (rows, classes))
    return p / p.sum(axis=1, keepdims=True)


# Ordinary arrays of each kind: rng, rows, classes.
DRAW = {
    LOGITS: lambda rng, rows, classes: rng.normal(0, 3, (rows, classes)),
    PROBABILITIES: normalised,
    LOG_PROBABILITIES: lambda *shape: np.log(normalised(*shape)),
    FRACTIONS: lambda rng, rows, classes: rng.uniform(0.1, 0.9, (rows, classes)),
    CLASS_INDICES: lambda rng, rows, classes: rng.integers(0, classes, rows),
    LISTED_CLASSES: lambda rng, rows, classes: rng.integers(-1, classes, (rows, classes)),
    LISTED_LOG_PROBABILITIES: lambda rng, rows, classes: -np.log(classes) - rng.exponential(1, (rows, classes)),
    LISTED_LOGITS: lambda rng, rows, classes: rng.normal(0, 3, (rows, classes)),
    PER_CLASS: lambda rng, rows, classes: rng.uniform(0.5, 2, classes),
    PER_ROW: lambda rng, rows, classes: rng.uniform(0.5, 2, rows),
    TEMPERATURES: lambda rng, rows, classes: rng.uniform(0.5, 2, rows),
    PER_ELEMENT: lambda rng, rows, classes: rng.uniform(0.5, 2, (rows, classes)),
}


def resolved(options, array):
    """The options with `array(name, kind)` in place of each kind of weights."""
    return {name: array(name, value) if isinstance(value, str) and value in WEIGHTS else value
            for name, value in options.items()}
