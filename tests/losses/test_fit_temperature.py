"""fit_temperature against the zero of the exact derivative, its bounds, its passes, and the promises of the contract.

Float64: the last step of Newton's method is below 1e-4 and leaves its square. The terms of float32 rows are rounded to
float32, 6e-8, which the sums over rows and classes average out in part; so does the temperature.
"""

import warnings

import numpy as np
import operations
import pytest
from mpmath import mp, mpf
from oracle import Row
from support import assert_same_bits

import crossent as xe

FLOAT64_LIMIT, FLOAT32_LIMIT = 1e-7, 1e-6
LAST_STEP = 1e-4  # of Newton's method, at most


def limit_of(dtype):
    return FLOAT64_LIMIT if dtype == np.float64 else FLOAT32_LIMIT


def calibrated(rng, n, c, temperature, dtype=np.float64, scale=1.5):
    """Logits that are right about as often as their softmax at the temperature says."""
    x = rng.normal(0, scale, (n, c))
    p = np.asarray(xe.softmax(x)).cumsum(axis=1)
    target = (rng.uniform(0, 1, (n, 1)) > p).sum(axis=1).clip(0, c - 1)
    return (x * temperature).astype(dtype), target


def exact_loss(x, q, v, temperature):
    """The mean over the rows of sum q -log p, for class probabilities q."""
    rows = [-mp.fsum(mpf(float(a)) * b for a, b in zip(q[i], Row(x[i], temperature).log_softmax(), strict=True) if a)
            for i in range(len(x))]
    return mp.fsum(mpf(float(w)) * row for w, row in zip(v, rows, strict=True)) / mp.fsum(map(float, v))


def slope(x, q, v, temperature):
    """The sum over the rows of the target's logit less the mean logit: where it is < 0, the loss falls with T."""
    total = mpf(0)
    for i in range(len(x)):
        p = Row(x[i], temperature).softmax()
        total += mpf(float(v[i])) * mp.fsum(
            (mpf(float(a)) - sum(map(float, q[i])) * b) * mpf(float(logit))
            for a, b, logit in zip(q[i], p, x[i], strict=True))
    return total


def warned(problem, *arguments, **options):
    """The fit, which warns once of the problem, at the line of the call."""
    with pytest.warns(RuntimeWarning, match=problem) as caught:
        fit = xe.fit_temperature(*arguments, **options)
    assert [warning.filename for warning in caught] == [__file__]
    return fit


def assert_is_optimum(fit, x, q, v, limit):
    """The derivative changes its sign within the limit."""
    assert fit.converged
    assert fit.at_bound is None
    assert slope(x, q, v, fit.temperature * (1 - limit)) < 0 < slope(x, q, v, fit.temperature * (1 + limit))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
def test_optimum_of_class_indices(dtype, temperature, rng):
    x, target = calibrated(rng, 60, 4, temperature, dtype)
    q, v, fit = np.eye(4)[target], np.ones(60), xe.fit_temperature(x, target)
    assert_is_optimum(fit, x, q, v, limit_of(dtype))
    assert fit.passes <= 6
    # Of the float64 loss the parabola of the last step is exact to its third power; float32 has its terms.
    relative = 1e-11 if dtype == np.float64 else 1e-7
    assert abs(fit.nll_before / float(exact_loss(x, q, v, 1.0)) - 1) < relative
    assert abs(fit.nll_after / float(exact_loss(x, q, v, fit.temperature)) - 1) < relative
    assert fit.nll_after <= fit.nll_before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_optimum_of_class_probabilities(dtype, rng):
    x, _ = calibrated(rng, 30, 5, 2.0, dtype)
    q = np.asarray(xe.softmax(rng.normal(0, 1, (30, 5)) + x / 2.5)).astype(dtype)
    q[3] *= 0.25  # they need not sum to 1
    v = rng.uniform(0, 2, 30).astype(dtype)
    fit = xe.fit_temperature(x, q, sample_weight=v)
    assert_is_optimum(fit, x, q, v, limit_of(dtype))
    assert abs(fit.nll_after / float(exact_loss(x, q, v, fit.temperature)) - 1) < 1e-7


@pytest.mark.parametrize("classes", [2, 10, 200, 3000])
def test_it_is_the_least_cross_entropy(classes, dtype, rng):
    x, target = calibrated(rng, 500, classes, 2.5, dtype, scale=3.0)
    fit = xe.fit_temperature(x, target)
    exactly = x.astype(np.float64)
    loss = lambda t: xe.cross_entropy(exactly / t, target)
    assert fit.nll_before == pytest.approx(loss(1.0), rel=1e-6)
    assert fit.nll_after == pytest.approx(loss(fit.temperature), rel=1e-6)
    assert loss(fit.temperature) < min(loss(fit.temperature * 1.01), loss(fit.temperature / 1.01))


def test_one_hot_probabilities_are_indices(dtype, rng):
    x, target = calibrated(rng, 200, 7, 0.5, dtype)
    assert xe.fit_temperature(x, np.eye(7, dtype=dtype)[target]).temperature == pytest.approx(
        xe.fit_temperature(x, target).temperature, rel=limit_of(dtype))


def test_sample_weights_are_repeated_rows(rng):
    x, target = calibrated(rng, 100, 3, 2.0)
    count = rng.integers(0, 4, 100)
    weighted = xe.fit_temperature(x, target, sample_weight=count.astype(float))
    repeated = xe.fit_temperature(x.repeat(count, axis=0), target.repeat(count))
    assert weighted.temperature == pytest.approx(repeated.temperature, rel=1e-12)
    assert weighted.nll_before == pytest.approx(repeated.nll_before, rel=1e-13)


# ---- Passes and bounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.02, 0.1, 0.5, 1.0, 2.0, 10.0, 50.0])
@pytest.mark.parametrize("classes", [2, 3, 30])
def test_six_passes_are_enough(classes, temperature, rng):
    for _ in range(10):
        x, target = calibrated(rng, 200, classes, temperature)
        fit = xe.fit_temperature(x, target)
        assert fit.converged
        assert fit.passes <= 6
        assert fit.nll_after <= fit.nll_before


def test_rows_of_very_different_confidence(rng):
    for _ in range(30):
        x, target = calibrated(rng, 300, 5, 1.0)
        x *= np.exp(rng.normal(0, 1.5, (300, 1)))
        fit = xe.fit_temperature(x, target)
        assert fit.converged
        assert fit.passes <= 6


def test_separable_rows_reach_the_lower_bound(dtype, rng):
    x = rng.normal(0, 1, (50, 4)).astype(dtype)
    fit = warned("0.25 is the lower bound", x, x.argmax(axis=1), bounds=(0.25, 8))
    assert fit[:1] + fit[3:] == (0.25, "lower", 2, True)
    assert fit.nll_after == pytest.approx(xe.cross_entropy(x * 4, x.argmax(axis=1)), rel=1e-6)


def test_separable_rows_whose_loss_underflows():
    fit = warned("0.001 is the lower bound", [[4.0, 0.0], [0.0, 4.0]], [0, 1])
    assert (fit.temperature, fit.at_bound, fit.nll_after) == (1e-3, "lower", 0.0)


def test_separable_rows_whose_upper_bound_is_1():
    fit = warned("0.001 is the lower bound", [[4.0, 0.0], [0.0, 4.0]], [0, 1], bounds=(1e-3, 1.0))
    assert (fit.temperature, fit.at_bound) == (1e-3, "lower")


def test_wrong_rows_reach_the_upper_bound(dtype, rng):
    x = rng.normal(0, 1, (50, 4)).astype(dtype)
    fit = warned("1000 is the upper bound", x, x.argmin(axis=1))
    assert fit.temperature == 1e3
    assert fit.at_bound == "upper"
    assert fit.converged


def test_bounds_that_exclude_the_optimum_or_1(rng):
    x, target = calibrated(rng, 200, 3, 4.0)
    free = xe.fit_temperature(x, target)
    assert 2 < free.temperature < 8
    below = warned("2 is the upper bound", x, target, bounds=(0.5, 2))
    above = warned("20 is the lower bound", x, target, bounds=(20, 30))
    assert (below.temperature, below.at_bound) == (2, "upper")
    assert (above.temperature, above.at_bound) == (20, "lower")
    around = xe.fit_temperature(x, target, bounds=(2, 8))
    assert around.at_bound is None
    assert around.temperature == pytest.approx(free.temperature, rel=FLOAT64_LIMIT)
    assert around.nll_before == free.nll_before


@pytest.mark.parametrize("optimum, bounds, at_bound", [
    (1 - 3e-5, (1 - 1e-5, 2), "lower"),
    (1 + 3e-5, (0.5, 1 + 1e-5), "upper"),
])
def test_an_optimum_just_beyond_a_bound(optimum, bounds, at_bound, rng):
    """The last of Newton's steps leads there from 1, which is within the bounds."""
    x, target = calibrated(rng, 200, 3, 1.0)
    x *= optimum / xe.fit_temperature(x, target).temperature
    fit = warned(f"is the {at_bound} bound", x, target, bounds=bounds)
    assert (fit.temperature in bounds, fit.at_bound, fit.passes, fit.converged) == (True, at_bound, 1, True)


@pytest.mark.parametrize("x", [[[5.0], [1.0]], [[2.0, 2.0], [3.0, 3.0]]], ids=["one class", "equal logits"])
def test_a_loss_that_does_not_depend_on_it(x):
    fit = xe.fit_temperature(x, [0, 0])
    assert (fit.temperature, fit.at_bound, fit.passes, fit.converged) == (1.0, None, 1, True)
    assert fit.nll_before == fit.nll_after


# ---- max_passes and the warnings -------------------------------------------------------------------------------------


def test_passes_are_counted_and_no_more_than_asked_for(rng):
    x, target = calibrated(rng, 200, 30, 50.0)
    full = xe.fit_temperature(x, target)
    assert full.passes > 3
    for most in range(1, full.passes):
        fit = warned(f"did not converge within max_passes={most}", x, target, max_passes=most)
        assert (fit.passes, fit.converged, fit.at_bound) == (most, False, None)
        assert fit.nll_after == pytest.approx(xe.cross_entropy(x, target, temperature=fit.temperature), rel=1e-12)
        assert full.nll_after <= fit.nll_after <= fit.nll_before == full.nll_before
    for most in (full.passes, np.int8(100), 10**30):
        assert xe.fit_temperature(x, target, max_passes=most) == full


def test_one_pass(rng):
    x, target = calibrated(rng, 200, 3, 4.0)
    loss = xe.cross_entropy(x, target)
    fit = warned("max_passes=1: temperature 1 may", x, target, max_passes=1)
    assert fit == (1.0, loss, loss, None, 1, False)
    for bounds, nearest in (((2, 8), 2), ((0.25, 0.5), 0.5)):  # whose loss is not known
        fit = warned(f"max_passes=1: temperature {nearest} may", x, target, bounds=bounds, max_passes=1)
        assert fit[:2] + fit[3:] == (nearest, loss, None, 1, False)
        assert np.isnan(fit.nll_after)
    at_bound = warned("1 is the upper bound", x, target, bounds=(0.5, 1.0), max_passes=1)
    assert (at_bound.temperature, at_bound.passes, at_bound.converged) == (1.0, 1, True)


def test_more_passes_find_what_six_do_not(rng):
    """The optimum is near 0.06: at 1 the probabilities say next to nothing of where it is."""
    target = rng.integers(0, 37, 300)
    x = rng.normal(0, 0.1, (300, 37))
    x[np.arange(300), target] += rng.normal(0.3, 0.2, 300)
    assert not warned("did not converge within max_passes=6", x, target).converged
    fit = xe.fit_temperature(x, target, max_passes=30)
    assert fit.passes > 6
    assert_is_optimum(fit, x, np.eye(37)[target], np.ones(300), FLOAT64_LIMIT)


@pytest.mark.filterwarnings("ignore:temperature 1e.13 is the upper bound")  # of targets that round to uniform ones
def test_a_search_ends_where_rounding_errors_hide_the_optimum(rng):
    """At 1e8 times the size of float32 logits steps are noise, and only a narrow interval ends 1 of 50 searches."""
    for _ in range(300):
        x = rng.normal(0, 1, (rng.integers(1, 6), 3)).astype(np.float32)
        q = xe.softmax(x.astype(np.float64) / 1e8).astype(np.float32)
        assert xe.fit_temperature(x, q, bounds=(1e-12, 1e13), max_passes=300).converged


def test_a_warning_that_is_an_error_leaves_nothing_half_done(rng):
    x, target = calibrated(rng, 200, 3, 4.0)
    before = x.copy(), target.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(RuntimeWarning, match="did not converge"):
                xe.fit_temperature(x, target, max_passes=1)
            assert xe.fit_temperature(x, target).converged
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(target, before[1])


def test_what_the_warnings_say():
    x = [[4.0, 0.0], [0.0, 4.0]]
    warned("every target is the class of its row's largest logit", x, [0, 1])
    warned("the logits say nothing about the targets", x, [1, 0])


# ---- Precision of the last step --------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap, small, weight, temperature", [
    (33.375242104551454, 0.0006252970895807129, 527892951.42721796, 0.9412189135191623),
    (28.0822889536616, 3.600818072841631e-06, 241.81060048813168, 0.9354641422209561),
])
def test_error_of_the_last_step(gap, small, weight, temperature):
    """Found by a search: rows whose wrong class has a probability of 1e-13 have half the mean gap, and it is 1.6e-7.

    A Newton step of the length s leaves K s^2, where K is half the curvature of the log of the mean gap over its slope,
    in units of 1 / T, and 1/2 for the logarithm of T. Curvature and slope are the variance and the mean of the gaps
    under weights, whose ratio is at most the largest gap G: K <= (G / T + 1) / 2.
    """
    x, target = np.array([[small, 0], [small, 0], [gap, 0], [gap, 0]]), np.array([0, 1, 0, 1])
    p_small, p_gap = (1 / (1 + np.exp(g / temperature)) for g in (small, gap))
    v = np.array([1 - p_small, p_small, weight * (1 - p_gap), weight * p_gap])
    fit = xe.fit_temperature(x, target, sample_weight=v)
    limit = (gap / fit.temperature + 1) / 2 * LAST_STEP**2
    assert_is_optimum(fit, x, np.eye(2)[target], v, limit)


# ---- The contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 10, 150, 1025, 5000])
def test_same_bits_of_any_threads_and_layout(classes, dtype, rng):
    x, target = calibrated(rng, 300, classes, 2.0, dtype)
    wanted = xe.fit_temperature(x, target)
    for threads in (1, 2, 5):
        with xe.num_threads(threads):
            assert xe.fit_temperature(x, target) == wanted
    wide = np.zeros((600, classes * 2), dtype)
    wide[::2, ::2] = x
    for other in (np.asfortranarray(x), wide[::2, ::2], np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]):
        assert xe.fit_temperature(other, target) == wanted
    assert xe.fit_temperature(np.ascontiguousarray(x.T), target, axis=0) == wanted


def test_half_logits_are_those_of_float32(rng):
    for half in operations.FLOATS[:2]:
        x, target = calibrated(rng, 100, 12, 2.0, half)
        assert xe.fit_temperature(x, target) == xe.fit_temperature(x.astype(np.float32), target)


@pytest.mark.parametrize("classes", [3, 300])
def test_rows_left_out_are_never_read(classes, dtype, rng):
    x, target = calibrated(rng, 90, classes, 2.0, dtype)
    wanted = xe.fit_temperature(x[::3], target[::3])
    x[1::3], target[2::3] = np.nan, -100
    x[2::3] = np.inf
    weight = np.ones(90, dtype)
    weight[1::3] = 0
    fit = xe.fit_temperature(x, target, sample_weight=weight)
    assert fit.temperature == pytest.approx(wanted.temperature, rel=1e-12)
    assert fit.nll_after == pytest.approx(wanted.nll_after, rel=1e-12)


def test_masked_classes_count_for_nothing(dtype, rng):
    x, target = calibrated(rng, 100, 4, 2.0, dtype)
    masked = np.concatenate([x, np.full((100, 3), -np.inf, dtype)], axis=1)
    assert_same_bits(np.array(xe.fit_temperature(masked, target)[:3]), np.array(xe.fit_temperature(x, target)[:3]))


def test_axes(rng):
    x, target = calibrated(rng, 60, 4, 2.0)
    wanted = xe.fit_temperature(x, target)
    images = np.moveaxis(x.reshape(3, 4, 5, 4), -1, 1)
    assert xe.fit_temperature(images, target.reshape(3, 4, 5)) == wanted
    assert warned("upper bound", [1.0, 0.0], 1).at_bound == "upper"


BAD = [
    (ValueError, "temperature 1 is nan", {"logits": np.zeros((0, 2)), "target": np.zeros(0, int)}),
    (ValueError, "temperature 1 is nan", {"target": [-100, -100]}),
    (ValueError, "temperature 1 is nan", {"logits": [[np.nan, 0.0], [0.0, 1.0]]}),
    (ValueError, "temperature 1 is inf", {"logits": [[-np.inf, 0.0], [0.0, 1.0]]}),
    (ValueError, "sample_weight", {"sample_weight": [1.0, -1.0]}),
    (ValueError, "sample_weight", {"sample_weight": np.array([1.0, np.inf])}),
    (ValueError, "bounds", {"bounds": (2.0, 2.0)}),
    (ValueError, r"bounds\[0\]", {"bounds": (0.0, 2.0)}),
    (ValueError, r"bounds\[1\]", {"bounds": (1.0, np.inf)}),
    (TypeError, r"bounds\[1\]", {"bounds": (1.0, "2")}),
    (TypeError, "bounds", {"bounds": 2.0}),
    (TypeError, "bounds", {"bounds": (1.0, 2.0, 3.0)}),
    (ValueError, "max_passes is 0: expected an integer >= 1", {"max_passes": 0}),
    (ValueError, "max_passes is -3", {"max_passes": np.int64(-3)}),
    (TypeError, "max_passes is 2.0: expected an integer", {"max_passes": 2.0}),
    (TypeError, "max_passes is None: expected an integer", {"max_passes": None}),
    (IndexError, r"target\[1\] is 2", {"target": [0, 2]}),
]


@pytest.mark.parametrize("error, message, bad", BAD, ids=lambda x: x if isinstance(x, str) else "")
def test_errors(error, message, bad):
    with pytest.raises(error, match=message):
        xe.fit_temperature(**{"logits": [[1.0, 0.0], [0.0, 1.0]], "target": [0, 0], **bad})
