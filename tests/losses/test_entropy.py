"""The gradient of the entropy of the softmax: row_statistics_backward, and the entropy_weight of cross_entropy.

Entries are measured at the largest of their terms, and of themselves: 4 ULP, as all gradients.
docs/explanation/bounds.md derives what they may be off by at most.
"""

import distributions
import fast
import numpy as np
import oracle
import pytest
from operations.exact import FORMULAS
from oracle.parts import BFLOAT16, arithmetic, gradient_limit
from support import ALL, assert_same_bits

import crossent as xe

LIMIT = 4
SHAPES = ((60, 2), (40, 7), (24, 17), (8, 200), (3, 1025)) if ALL else ((12, 2), (10, 7), (6, 17), (2, 300), (1, 1025))
UPSTREAM = {"log_prob": (1, 0, 0), "entropy": (0, 1, 0), "logsumexp": (0, 0, 1), "all": (1, 1, 1),
            "bonus": (1, -0.01, 0)}
exact = FORMULAS["row_statistics_backward"]


def of_rows(n, upstream, dtype, rng):
    return {name: (g * rng.uniform(0.5, 1, n)).astype(dtype)
            for name, g in zip(("log_prob", "entropy", "logsumexp"), upstream, strict=True)}


def assert_exact(x, target, given, **options):
    """By mpmath, which has the terms that double-double loses."""
    seen = {name: g.astype(arithmetic(x.dtype)) for name, g in given.items()}
    grad = xe.row_statistics_backward(x, target, **given, **options)
    oracle.assert_within(gradient_limit(x.dtype, LIMIT), grad, *exact(x, target, **seen, **options))
    return grad


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.7, 100.0] if ALL else [1.0, 0.7])
@pytest.mark.parametrize("upstream", UPSTREAM if ALL else ["entropy", "all", "bonus"])
@pytest.mark.parametrize("draw", distributions.ALL, ids=lambda f: f.__name__)
def test_every_entry(draw, upstream, temperature, dtype, rng):
    for n, c in SHAPES:
        x, target = draw(rng, n, c, dtype), rng.integers(0, c, n)
        target[::2] = x[::2].argmax(axis=1)
        given = of_rows(n, UPSTREAM[upstream], dtype, rng)
        if draw is distributions.wide:  # beyond double-double
            assert_exact(x, target, given, temperature=temperature)
            continue
        grad = xe.row_statistics_backward(x, target, **given, temperature=temperature)
        wanted = fast.exact("row_statistics_backward", x, target, **given, temperature=temperature)
        fast.assert_within(LIMIT, grad, *wanted)


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
def test_every_entry_of_half_types(dtype, rng):
    x, target = distributions.normal(rng, 12, 40, np.float32).astype(dtype), rng.integers(0, 40, 12)
    assert_exact(x, target, of_rows(12, (1, 1, 1), dtype, rng))


# Entropies as small as the least number, alone and beside equal maxima, and gaps that are; a factor of any size.
@pytest.mark.parametrize("size", [1.0, 2.0**-60, 2.0**30, 2.0**45, 2.0**100])
def test_confident_rows(size, dtype, rng):
    far = {np.float32: 88.0, np.float64: 700.0}[dtype]
    least = np.finfo(dtype).smallest_subnormal
    rows = [[0, -far / 3, -far], [0, -far - 3, -np.inf], [0, 0, -far], [far, far, 0.25], [0, -1.2 * far, -1.2 * far],
            [1000 + far, 1000, 1000], [0, -1e-3 * far, -far - 4], [0, 3 * least, -far], [0, 1000 * least, 2 * least],
            [0, 0, 0], [5, -np.inf, -np.inf]]
    x = np.array(rows, dtype)
    for target in range(3):
        for g in ((0, 1, 0), (1, 1, 0), (1e-30, 1, 0), (-1, 0.25, 1), (0, 0, 1)):
            given = of_rows(len(x), np.multiply(g, size), dtype, rng)
            assert_exact(x, np.full(len(x), target), given)


def test_one_statistic_at_a_time_is_what_is_left_without_the_others(dtype, rng):
    x, target = rng.normal(0, 3, (9, 33)).astype(dtype), rng.integers(0, 33, 9)
    zero, g = np.zeros(9, dtype), rng.normal(0, 1, 9).astype(dtype)
    for name in ("log_prob", "entropy", "logsumexp"):
        every = {"log_prob": zero, "entropy": zero, "logsumexp": zero, name: g}
        alone = xe.row_statistics_backward(x, target, **{name: g})
        assert_same_bits(alone, xe.row_statistics_backward(x, target, **every))
    entropy = xe.row_statistics_backward(x, entropy=g)
    assert_same_bits(entropy, xe.row_statistics_backward(x, target, entropy=g))


def test_rows_without_an_answer(dtype):
    inf, nan = np.inf, np.nan
    x = np.array([[1, 2, 3], [nan, 2, 3], [inf, 2, 3], [-inf, -inf, -inf], [nan] * 3, [nan] * 3, [1, -inf, 3]], dtype)
    ones = np.array([1, 1, 1, 1, 1, 0, 1], dtype)
    given, target = dict.fromkeys(("log_prob", "entropy", "logsumexp"), ones), [0, 0, 0, 0, -100, 0, 0]
    for laid_out in (x, np.asfortranarray(x)):
        grad = xe.row_statistics_backward(laid_out, target, **given)
        assert np.isfinite(grad[[0, 6]]).all()
        assert np.isnan(grad[1:4]).all()
        assert (grad[4:6] == 0).all()
        assert grad[6, 1] == 0


def test_padding_has_no_gradient(dtype, rng):
    for c, more in ((3, 2), (30, 5), (30, 2000), (1500, 7)):
        x, target = rng.normal(0, 3, (20, c)).astype(dtype), rng.integers(0, c, 20)
        given = of_rows(20, (1, 1, 1), dtype, rng)
        wanted = xe.row_statistics_backward(x, target, **given, temperature=0.7)
        padded = np.concatenate([x, np.full((20, more), np.nan, dtype)], axis=1)
        for laid_out in (padded, np.asfortranarray(padded)):
            grad = xe.row_statistics_backward(laid_out, target, **given, temperature=0.7, n_classes=c)
            assert_same_bits(np.ascontiguousarray(grad[:, :c]), wanted)
            assert (grad[:, c:] == 0).all()
            assert xe.row_statistics_backward(
                laid_out, target, **given, temperature=0.7, n_classes=c, out=laid_out) is laid_out
            assert_same_bits(laid_out, grad)
            laid_out[...] = padded


@pytest.mark.parametrize("classes", [2, 10, 100, 150, 1024, 1025, 5000])
def test_same_bits_of_any_threads_and_layout(classes, dtype, rng):
    x, target = rng.normal(0, 3, (70, classes)).astype(dtype), rng.integers(0, classes, 70)
    x[3] *= 100
    given = of_rows(70, (1, 1, 1), dtype, rng)
    given["entropy"][5] *= dtype(2.0) ** 70  # beyond what cached exponentials are made for
    wide = np.zeros((140, classes * 2), dtype)
    wide[::2, ::2] = x
    for temperature in (1.0, 0.7):
        wanted = xe.row_statistics_backward(x, target, **given, temperature=temperature)
        alone = [xe.row_statistics_backward(x[i:i + 1], target[i:i + 1], temperature=temperature,
                                            **{name: g[i:i + 1] for name, g in given.items()}) for i in range(10)]
        assert_same_bits(np.concatenate(alone), wanted[:10])
        for threads in (1, 2, 5):
            for other in (x, np.asfortranarray(x), wide[::2, ::2], np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]):
                with xe.num_threads(threads):
                    found = xe.row_statistics_backward(other, target, **given, temperature=temperature)
                    assert_same_bits(np.ascontiguousarray(found), wanted)
        in_place = x.copy()
        assert xe.row_statistics_backward(in_place, target, **given, temperature=temperature, out=in_place) is in_place
        assert_same_bits(in_place, wanted)


def test_shapes_and_dtypes(rng):
    x, target = rng.normal(0, 1, (2, 7, 3, 4)).astype(np.float32), rng.integers(7, size=(2, 3, 4))
    g = rng.normal(0, 1, target.shape)
    grad = xe.row_statistics_backward(x, target, log_prob=g, entropy=-g, axis=1)
    rows = xe.row_statistics_backward(np.moveaxis(x, 1, -1), target, log_prob=g, entropy=-g)
    assert_same_bits(grad, np.ascontiguousarray(np.moveaxis(rows, -1, 1)))
    assert grad.dtype == np.float32
    assert xe.row_statistics_backward([[1, 2]], entropy=[1]).dtype == np.float64
    assert xe.row_statistics_backward([1.0, 2.0], 1, log_prob=1.0).shape == (2,)
    assert xe.row_statistics_backward(np.zeros((0, 3)), entropy=np.zeros(0)).shape == (0, 3)


@pytest.mark.parametrize(("error", "message", "arguments"), [
    (ValueError, "log_prob, entropy and logsumexp are None", {"entropy": None}),
    (ValueError, "log_prob was given without a target", {"log_prob": np.ones(2)}),
    (ValueError, r"entropy has shape \(3,\)", {"entropy": np.ones(3)}),
    (ValueError, r"logsumexp has shape \(\)", {"logsumexp": 1.0}),
    (TypeError, "entropy", {"entropy": ["a", "b"]}),
    (ValueError, "n_classes is 4", {"n_classes": 4}),
    (ValueError, "n_classes is 0", {"n_classes": 0}),
    (TypeError, "n_classes is 'a'", {"n_classes": "a"}),
    (ValueError, "temperature is 0.0", {"temperature": 0.0}),
    (IndexError, "target", {"target": [0, 3]}),
    (IndexError, r"outside \[0, 2\)", {"target": [0, 2], "n_classes": 2}),
    (ValueError, "target", {"target": [0]}),
    (ValueError, "out has shape", {"out": np.zeros((2, 2))}),
    (np.exceptions.AxisError, "axis", {"axis": 2}),
])
def test_bad_arguments(error, message, arguments):
    out = np.full((2, 3), 7.0)
    with pytest.raises(error, match=message):
        xe.row_statistics_backward(np.zeros((2, 3)), **{"entropy": np.ones(2), "out": out, **arguments})
    assert (out == 7).all()


# ---- entropy_weight --------------------------------------------------------------------------------------------------


def assert_loss_and_gradient(x, target, **options):
    loss, grad = xe.cross_entropy(x, target, reduction="none", return_grad=True, **options)
    fast.assert_exact(loss, grad, fast.exact("cross_entropy", x, target, **options), LIMIT, LIMIT)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("draw", [draw for draw in distributions.ALL if draw is not distributions.wide],
                         ids=lambda f: f.__name__)
def test_loss_and_gradient(draw, temperature, dtype, rng):
    for n, c in SHAPES:
        x, target = draw(rng, n, c, dtype), rng.integers(0, c, n)
        target[::2] = x[::2].argmax(axis=1)
        for options in ({}, {"label_smoothing": 0.1}, {"weight": np.zeros(c)}):
            if draw is distributions.masked:
                target = x.argmax(axis=1)
                options.pop("label_smoothing", None)
            for weight in (1.0, -0.01):
                assert_loss_and_gradient(x, target, entropy_weight=weight, temperature=temperature, **options)
        q = rng.dirichlet(np.ones(c), n).astype(dtype)
        if draw is not distributions.masked:
            assert_loss_and_gradient(x, q, entropy_weight=0.5, temperature=temperature)


def test_a_class_of_weight_0_has_the_entropy(dtype):
    x = np.array([[0.0, 2.0]], dtype)
    options = {"weight": np.array([0, 1], dtype), "reduction": "none", "return_grad": True}
    loss, grad = xe.cross_entropy(x, [0], entropy_weight=2.0, **options)
    assert loss == -2 * xe.row_statistics(x).entropy
    assert_same_bits(grad, xe.row_statistics_backward(x, entropy=np.array([-2], dtype)))
    assert xe.cross_entropy(x, [0], **options)[0] == 0


def test_the_loss_is_that_of_the_statistics(dtype, rng):
    """The entropy of row_statistics, up to the roundings of both and of the difference."""
    x, target = rng.normal(0, 3, (20, 33)).astype(dtype), rng.integers(0, 33, 20)
    s = xe.row_statistics(x, target, temperature=0.7)
    loss = xe.cross_entropy(x, target, temperature=0.7, entropy_weight=0.5, reduction="none")
    size = np.maximum(-s.log_prob, 0.5 * s.entropy)
    assert (np.abs(loss - (-s.log_prob - 0.5 * s.entropy)) <= 12 * np.spacing(size)).all()


@pytest.mark.parametrize("classes", [2, 100, 1025])
def test_ignored_rows_count_for_nothing(classes, dtype, rng):
    x, target = rng.normal(0, 3, (6, classes)).astype(dtype), np.zeros(6, int)
    x[2], target[2] = np.nan, -100
    loss, grad = xe.cross_entropy(x, target, entropy_weight=0.5, return_grad=True)
    keep = [0, 1, 3, 4, 5]
    wanted = xe.cross_entropy(x[keep], target[keep], entropy_weight=0.5, return_grad=True)
    assert loss == wanted[0]
    assert_same_bits(grad[keep], wanted[1])
    assert (grad[2] == 0).all()
