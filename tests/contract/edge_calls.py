"""Plain calls of every form, of an array that an edge case is about."""

import numpy as np
from operations import FORMS, kinds

INF, NAN = np.inf, np.nan
PLAIN = {
    kinds.LOGITS: np.zeros_like,
    kinds.PROBABILITIES: lambda x: np.full_like(x, 0.25),
    kinds.FRACTIONS: lambda x: np.full_like(x, 0.25),
    kinds.LOG_PROBABILITIES: lambda x: np.full_like(x, -1),
    kinds.CLASS_INDICES: lambda x: np.zeros(rows_of(x), int),
    kinds.LISTED_CLASSES: lambda x: first_class_of(x),
    kinds.LISTED_LOG_PROBABILITIES: lambda x: np.full_like(x, -1),
    kinds.LISTED_LOGITS: lambda x: np.full_like(x, -1),
}
# Losses that take the softmax of their rows; those of elements; and all.
ROW_LOSSES = tuple(form for form in FORMS if not form.per_element and form.arrays[form.first] == kinds.LOGITS)
ELEMENT_LOSSES = tuple(form for form in FORMS if form.per_element)


def rows_of(x):
    return x.shape[:1] + x.shape[2:]


def first_class_of(x):
    """The listed classes of rows of which one is listed."""
    classes = np.full(x.shape, -1)
    np.moveaxis(classes, min(1, x.ndim - 1), 0)[:1] = 0
    return classes


def others_of(form, x):
    """Ordinary arguments beside x."""
    return [PLAIN[kind](x) for kind in list(form.arrays.values())[1:]]


def call(form, x, *others, **options):
    return form.function(x, *(others or others_of(form, x)), **{**form.fixed, **options})


def arr(values, dtype):
    return np.array(values, dtype)


def assert_close(actual, wanted):
    """Within 2 eps, which is at most 4 ulp: the limit of values, as everywhere."""
    np.testing.assert_allclose(actual, wanted, rtol=2 * np.finfo(np.asarray(actual).dtype).eps)
