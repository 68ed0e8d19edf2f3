"""The numbers behind the charts of a report, each against its definition."""

import exact_figures
import numpy as np
import pytest

from crossent.evaluation import _statistics


@pytest.fixture(autouse=True, params=[64, 1 << 20])
def rows_at_a_time(request, monkeypatch):
    monkeypatch.setattr(_statistics, "ROWS_AT_A_TIME", request.param)


@pytest.fixture
def x(rng):
    """Numbers of rows, some of which do not count or are infinite, or 0."""
    numbers = rng.exponential(2, 1000).astype(np.float32)
    for value in (np.nan, np.inf, 0):
        numbers[rng.integers(0, 1000, 20)] = value
    return numbers


def test_histogram(x):
    found = _statistics.histogram(x)
    counts, edges = np.histogram(x[np.isfinite(x)].astype(np.float64), 60)
    assert np.array_equal(found.counts, counts) and np.array_equal(found.edges, edges)
    found = _statistics.histogram(x, logarithmic=True)
    counts, edges = np.histogram(np.log(x[np.isfinite(x) & (x > 0)].astype(np.float64)), 60)
    assert np.array_equal(found.counts, counts) and np.array_equal(found.edges, np.exp(edges))


def test_histogram_of_equal_numbers():
    for logarithmic in (False, True):
        found = _statistics.histogram(np.full(100, 3.0), logarithmic=logarithmic)
        assert found.counts.sum() == found.counts.max() == 100 and found.edges[0] < 3 < found.edges[-1]


@pytest.mark.parametrize("empty", [np.empty(0), np.array([np.nan, np.inf])])
def test_nothing_to_show(empty):
    assert _statistics.histogram(empty) is None
    assert _statistics.histogram(np.array([0.0, np.inf]), logarithmic=True) is None
    assert _statistics.by_position(empty, 5).mean.size == 0


def test_finite_mean(x):
    assert _statistics.finite_mean(x) == pytest.approx(x[np.isfinite(x)].astype(np.float64).mean(), rel=1e-13)


def test_smallest(x):
    finite = np.flatnonzero(~np.isnan(x))
    order = finite[np.argsort(x[finite], kind="stable")]
    for count in (0, 1, 5, 20, 2000):  # 20 are 0
        assert np.array_equal(_statistics.smallest(x, count), order[:count])
    assert _statistics.smallest(np.full(3, np.nan), 2).size == 0


@pytest.mark.parametrize("window", [1, 7, 64, 130, 1000, 10**12])
def test_by_position(x, window):
    """The last window is shorter where 1,000 is no multiple."""
    found = _statistics.by_position(x, window)
    window = min(window, 1000)
    groups = min(window, 64)
    group = np.arange(1000) % window * groups // window
    finite = np.isfinite(x)
    assert len(found.mean) == groups
    for g in range(groups):
        of_group = finite & (group == g)
        assert found.position[g] == pytest.approx(np.flatnonzero(group[:window] == g).mean())
        numbers, windows = x[of_group].astype(np.float64), np.flatnonzero(of_group) // window
        assert found.mean[g] == pytest.approx(numbers.mean(), rel=1e-12)
        if window == 1000:  # one is no sample
            assert np.isnan(found.standard_error[g])
        else:  # squares of sums, which nearly cancel in a group of few windows
            exact = exact_figures.block_standard_error(numbers, windows)
            assert found.standard_error[g] == pytest.approx(exact, rel=1e-6)
