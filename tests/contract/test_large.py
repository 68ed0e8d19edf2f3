"""Outputs larger than the caches are stored around them, where whole lines of memory allow it."""

import ml_dtypes
import numpy as np
import pytest
from support import assert_same_bits

import crossent as xe

MIB = 2**20
# (shape, class axis, dtype): more than the 32 MiB from which on outputs are streamed, on most processors.
LARGE = [
    ((9_000, 1_001), 1, np.float32),  # rows that start anywhere in a line
    ((4_500, 1_001), 1, np.float64),
    ((36, 500_009), 1, ml_dtypes.bfloat16),
    ((36, 500_009), 1, np.float16),
    ((4, 9, 512, 512), 1, np.float32),  # whole lines of each class
    ((4, 9, 511, 513), 1, np.float32),
]


@pytest.mark.parametrize(("shape", "axis", "dtype"), LARGE)
def test_outputs_larger_than_the_caches_have_the_bits_of_their_parts(shape, axis, dtype):
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape, dtype=np.float32).astype(dtype) * dtype(4)
    target = rng.integers(0, shape[axis], shape[:axis] + shape[axis + 1 :])
    assert x.nbytes > 32 * MIB

    _, grad = xe.cross_entropy(x, target, reduction="sum", return_grad=True)
    log_probs = xe.log_softmax(x, axis)
    teacher = x[::-1]
    _, divergence_grad = xe.kl_div_with_logits(x, teacher, reduction="sum", return_grad=True)

    parts = -(-x.nbytes // (8 * MIB))  # each far below
    for rows in np.array_split(np.arange(shape[0]), min(parts, shape[0])):
        part = slice(rows[0], rows[-1] + 1)
        _, alone = xe.cross_entropy(x[part], target[part], reduction="sum", return_grad=True)
        assert_same_bits(grad[part], alone)
        assert_same_bits(log_probs[part], xe.log_softmax(x[part], axis))
        _, alone = xe.kl_div_with_logits(x[part], teacher[part], reduction="sum", return_grad=True)
        assert_same_bits(divergence_grad[part], alone)


@pytest.mark.parametrize("classes", [10, 33])
def test_large_outputs_of_few_classes_in_whole_lines_have_the_bits_of_their_parts(dtype, classes):
    """Rows that follow each other are whole lines where the array begins with one, as those of NumPy seldom do."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((40 * MIB // (classes * np.dtype(dtype).itemsize), classes), dtype=np.float32).astype(dtype)
    target = rng.integers(0, classes, len(x))
    out = aligned_like(x)
    parts = [slice(start, start + 20_000) for start in range(0, len(x), 20_000)]

    xe.cross_entropy(x, target, reduction="sum", return_grad=True, grad_out=out)
    for part in parts:
        _, alone = xe.cross_entropy(x[part], target[part], reduction="sum", return_grad=True)
        assert_same_bits(out[part], alone)
    xe.softmax(x, out=out)
    for part in parts:
        assert_same_bits(out[part], xe.softmax(x[part]))


def aligned_like(x):
    memory = np.empty(x.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
