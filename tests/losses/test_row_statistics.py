"""row_statistics against exact values, the order of the classes by definition, and the promises of the contract."""

import numpy as np
import operations
import pytest
from mpmath import mp
from oracle import Row, assert_within
from support import assert_same_bits

import crossent as xe

NUMBERS = ("log_prob", "max_log_prob", "entropy", "logsumexp", "sum_of_squares", "top_k_log_probs")
SHAPES = [(9, 2), (40, 10), (20, 129), (6, 1000), (4, 2500)]


def hard_logits(rng, n, c, dtype):
    """Confident rows, equal logits, a class that is impossible, an offset."""
    x = rng.normal(0, 3, (n, c)) * rng.choice([0.1, 1, 30], (n, 1))
    x[0] = 0
    x[1] = np.round(x[1])
    x[2, 0] = x[2].max() + 60
    x[-1] += 1000
    if c > 2:
        x[3, 1] = -np.inf
    target = rng.integers(c, size=n)
    target[3] = 0
    return x.astype(dtype), target


def by_probability(x):
    return sorted(range(len(x)), key=lambda c: (-float(x[c]), c))


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_every_number_against_its_exact_value(dtype, shape, temperature, rng):
    x, target = hard_logits(rng, *shape, dtype)
    k = min(3, shape[1])
    s = xe.row_statistics(x, target, temperature=temperature, top_k=k)
    rows = [Row(row, temperature) for row in x]
    log_p = [row.log_softmax() for row in rows]
    order = [by_probability(row) for row in x]
    assert s.argmax.tolist() == [o[0] for o in order]
    assert s.rank.tolist() == [o.index(y) for o, y in zip(order, target, strict=True)]
    assert s.top_k.tolist() == [o[:k] for o in order]
    entropy = [-mp.fsum(p * a for p, a in zip(row.softmax(), logs, strict=True) if p)
               for row, logs in zip(rows, log_p, strict=True)]
    exactly = {
        "log_prob": [logs[y] for logs, y in zip(log_p, target, strict=True)],
        "max_log_prob": [logs[o[0]] for logs, o in zip(log_p, order, strict=True)],
        "entropy": entropy,
        "sum_of_squares": [mp.fsum(p * p for p in row.softmax()) for row in rows],
        "top_k_log_probs": [[logs[c] for c in o[:k]] for logs, o in zip(log_p, order, strict=True)],
    }
    for name, wanted in exactly.items():
        assert_within(4, getattr(s, name), np.array(wanted, dtype=object))
    # A sum of two numbers, of which the error of each counts: of the maximum over T, and of the logarithm.
    size = np.array([max(abs(row.maximum), row.log_total) for row in rows], dtype=object)
    assert_within(2, s.logsumexp, np.array([row.logsumexp() for row in rows], dtype=object), scale=size)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_agrees_with_the_functions_of_the_package(shape, dtype, rng):
    x, target = hard_logits(rng, *shape, dtype)
    s = xe.row_statistics(x, target)
    assert_same_bits(0 - s.log_prob, xe.cross_entropy(x, target, reduction="none"))
    assert_same_bits(s.logsumexp, xe.logsumexp(x, axis=-1))
    assert_same_bits(s.argmax, x.argmax(axis=-1))
    assert (s.rank == 0).tolist() == (s.argmax == target).tolist()


def test_of_equal_logits_the_lower_class_comes_first():
    x = np.zeros((3, 2500), np.float32)
    s = xe.row_statistics(x, [0, 1500, 2499], top_k=4)
    assert s.rank.tolist() == [0, 1500, 2499]
    assert s.argmax.tolist() == [0, 0, 0]
    assert s.top_k.tolist() == [[0, 1, 2, 3]] * 3


@pytest.mark.parametrize("top_k", [1, 5, 60])
def test_the_most_likely_classes_in_their_order(top_k, rng):
    x = rng.integers(-50, 50, (20, 1100)).astype(np.float32)
    found = xe.row_statistics(x, top_k=top_k).top_k
    assert found.tolist() == [by_probability(row)[:top_k] for row in x]


def test_rows_without_an_answer(dtype):
    inf, nan = np.inf, np.nan
    x = np.array([[1, 2, 3], [nan, 2, 3], [inf, 2, 3], [-inf, -inf, -inf], [1, 2, 3]], dtype)
    s = xe.row_statistics(x, [0, 0, 0, 0, -100], top_k=2)
    assert s.rank.tolist() == [2, -1, -1, -1, -1]
    assert s.argmax.tolist() == [2, -1, -1, -1, -1]
    assert s.top_k.tolist() == [[2, 1], *[[-1, -1]] * 4]
    for name in NUMBERS:
        values = getattr(s, name).reshape(5, -1)
        assert np.isfinite(values[0]).all()
        assert np.isnan(values[1:]).all()


def test_a_target_of_probability_0():
    s = xe.row_statistics([[0.0, -np.inf, 1.0]], [1], top_k=3)
    assert (s.log_prob.tolist(), s.rank.tolist(), s.top_k.tolist()) == ([-np.inf], [2], [[2, 0, 1]])
    assert s.top_k_log_probs[0, 2] == -np.inf


def test_without_targets(rng):
    x, target = hard_logits(rng, 12, 30, np.float32)
    s, with_targets = xe.row_statistics(x), xe.row_statistics(x, target)
    assert s.log_prob is None
    assert s.rank is None
    for name in ("argmax", "max_log_prob", "entropy", "logsumexp", "sum_of_squares"):
        assert_same_bits(getattr(s, name), getattr(with_targets, name))


def test_padding_is_left_out(rng):
    x, target = hard_logits(rng, 12, 30, np.float32)
    padded = np.concatenate([x, np.full((12, 5), 1e9, np.float32)], axis=1)
    for found, wanted in zip(xe.row_statistics(padded, target, n_classes=30, top_k=3),
                             xe.row_statistics(x, target, top_k=3), strict=True):
        assert_same_bits(found, wanted)


@pytest.mark.parametrize("classes", [2, 10, 150, 1025, 5000])
def test_same_bits_of_any_threads_and_layout(classes, dtype, rng):
    x, target = hard_logits(rng, 70, classes, dtype)
    wanted = xe.row_statistics(x, target, temperature=0.7, top_k=2)
    wide = np.zeros((140, classes * 2), dtype)
    wide[::2, ::2] = x
    for threads in (1, 2, 5):
        for other in (x, np.asfortranarray(x), wide[::2, ::2], np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]):
            with xe.num_threads(threads):
                for found, same in zip(xe.row_statistics(other, target, temperature=0.7, top_k=2), wanted, strict=True):
                    assert_same_bits(found, same)


def test_shapes_and_dtypes(rng):
    x = rng.normal(0, 1, (2, 7, 3, 4)).astype(np.float32)
    target = rng.integers(7, size=(2, 3, 4))
    s = xe.row_statistics(x, target, axis=1, top_k=2)
    rows = xe.row_statistics(np.moveaxis(x, 1, -1), target, top_k=2)
    for found, wanted in zip(s, rows, strict=True):
        assert_same_bits(found, wanted)
    assert s.entropy.shape == target.shape
    assert s.top_k.shape == (2, 3, 4, 2)
    assert {a.dtype for a in s} == {np.dtype(np.float32), np.dtype(np.intp)}
    assert xe.row_statistics(x.astype(np.float16)).entropy.dtype == np.float32
    assert xe.row_statistics([[1, 2]]).entropy.dtype == np.float64
    one = xe.row_statistics([1.0, 2.0], 1)
    assert one.rank == 0
    assert np.ndim(one.entropy) == 0
    assert xe.row_statistics(np.zeros((0, 3))).argmax.shape == (0,)


@pytest.mark.parametrize(("error", "message", "arguments"), [
    (ValueError, "top_k is 4", {"top_k": 4}),
    (ValueError, "top_k is -1", {"top_k": -1}),
    (TypeError, "top_k is 1.5", {"top_k": 1.5}),
    (ValueError, "n_classes is 4", {"n_classes": 4}),
    (ValueError, "n_classes is 0", {"n_classes": 0}),
    (TypeError, "n_classes is 'a'", {"n_classes": "a"}),
    (ValueError, "temperature is 0.0", {"temperature": 0.0}),
    (IndexError, "target", {"target": [0, 3]}),
    (IndexError, "target", {"target": [0, 2], "n_classes": 2}),
    (TypeError, "target", {"target": [0.0, 1.0]}),
    (ValueError, "target", {"target": [0]}),
    (np.exceptions.AxisError, "axis", {"axis": 2}),
])
def test_bad_arguments(error, message, arguments):
    with pytest.raises(error, match=message):
        xe.row_statistics(np.zeros((2, 3)), **arguments)
