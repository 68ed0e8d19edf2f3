"""The short version of the accuracy report, at the level of this process: every operation, dtype and distribution is
within its bar.

Rows of each, by number of classes: inputs.SHORT, 5,812 in all (11,600 elements of the binary losses). The full version,
`python tests/accuracy/report.py --full`, has a million, 1,000 of 32,000 classes and 5 of 1,000,000.
"""

import inputs
import numpy as np
import page
import pytest
from fast.errors import Exact
from inputs import SHORT
from libraries import Here
from measure import Errors, bar
from pieces import PIECES, Piece


def test_rows():
    """The numbers that the text above and docs/explanation/accuracy.md give."""
    assert sum(SHORT.values()) == 5812
    assert inputs.sizes("binary", "normal", SHORT) == {10: 1160}
    assert sum(n for c, n in inputs.FULL.items() if c <= 128) == 10**6


@pytest.mark.parametrize(("family", "dtype", "distribution"), PIECES)
def test_bars(family, dtype, distribution):
    results = Piece(family, dtype, distribution).measure(Here(), SHORT)
    assert results
    piece = {"family": family, "dtype": dtype, "distribution": distribution, "results": results}
    assert not page.over_the_bar([piece])


@pytest.mark.parametrize(("family", "dtype", "distribution", "classes", "number"), [
    ("divergences", "float32", "confident", 2, 3), ("divergences", "float32", "confident", 100, 3),
    ("divergences", "float32", "confident", 32_000, 88), ("divergences", "float32", "heavy_tailed", 2, 3),
    ("divergences", "float32", "normal", 128, 1), ("divergences", "float32", "uniform", 100, 2),
    ("divergences", "float32", "temperature", 2, 0), ("divergences", "float64", "temperature", 17, 0),
    ("divergences", "float64", "normal", 17, 0), ("divergences", "float64", "normal", 128, 1),
    ("binary", "float32", "confident", 10, 4), ("binary", "float32", "masked", 10, 1),
    ("binary", "float64", "confident", 10, 7), ("binary", "float64", "normal", 10, 5)])
def test_batches_of_the_full_report_that_were_over_a_bar(family, dtype, distribution, classes, number):
    """Of earlier versions, at one level or another."""
    rows = inputs.sizes(family, distribution, inputs.FULL)[classes]
    batch = inputs.draw(family, distribution, inputs.DTYPES[dtype], classes, rows, number)
    piece = Piece(family, dtype, distribution)
    piece.compare(batch, Here().evaluate(family, batch, False), {"classes": classes, "rows": rows, "batch": number})
    results = {operation: {library: errors.summary() for library, errors in libraries.items()}
               for operation, libraries in piece.errors.items()}
    assert not page.over_the_bar([{"dtype": dtype, "distribution": distribution, "results": results}])


# ---- The measure itself ----------------------------------------------------------------------------------------------


def test_an_error_is_seen(dtype, rng):
    """A result that is off by 1 to 1,000 units gives that, with its place; so do the quantiles, to 1/16."""
    wanted = rng.uniform(1, 2, (100, 10)).astype(dtype)
    units = rng.permutation(np.arange(1000)).reshape(100, 10)
    exact = Exact(wanted.astype(np.float64) * 2.0**256)
    actual = wanted + units.astype(dtype) * np.finfo(dtype).eps
    unit = exact.unit(np.dtype(dtype))
    above = actual >= 2  # another spacing
    actual[above] = wanted[above]
    errors, found = exact.errors(actual, unit), Errors()
    np.testing.assert_array_equal(errors, np.where(above, 0, units))
    found.add(errors, lambda index: tuple(map(int, index)))
    assert found.maximum == 999
    assert found.at == tuple(np.argwhere(units == 999)[0])
    assert 499 <= found.quantile(0.5) <= 499 * 17 / 16
    assert 998 <= found.quantile(0.999) <= 999


@pytest.mark.parametrize(("actual", "exact", "error"), [
    (np.nan, 1.0, np.inf), (np.inf, 1.0, np.inf), (np.inf, np.inf, 0), (-np.inf, np.inf, np.inf), (1.0, np.inf, np.inf),
    (np.inf, 1e39, 0), (-np.inf, -1e39, 0), (np.inf, 3.4e38, np.inf), (0.0, 2.0**-149, 1), (0.0, 2.0**-151, 0.25)])
def test_infinities_and_subnormals(actual, exact, error):
    value = Exact(np.array([exact]) * 2.0**256)
    actual = np.array([actual], np.float32)
    assert value.errors(actual, value.unit(actual.dtype)) == [error]


def test_results_over_the_bar_are_found():
    """A loss that is the next but four, and one that is NaN."""
    group = Here()

    class Wrong:
        def __init__(self, change):
            self.change = change

        def evaluate(self, family, batch, with_peers):
            found = group.evaluate(family, batch, with_peers)
            loss = found["crossent"]["cross_entropy"]
            loss[len(loss) // 2] = self.change(loss[len(loss) // 2])
            return found

    def over(change):
        results = Piece("logits", "float32", "normal").measure(Wrong(change), {10: 200})
        return page.over_the_bar([{"dtype": "float32", "distribution": "normal", "results": results}])

    assert not over(lambda loss: loss)
    for change in (lambda loss: loss + 5 * np.spacing(loss), lambda loss: np.float32(np.nan)):
        found = over(change)
        assert set(found) == {("cross_entropy", "float32")}
        assert found["cross_entropy", "float32"][0][3]["row"] == 100


def test_bars_are_the_promises():
    float32, float64, half = (inputs.DTYPES[name] for name in ("float32", "float64", "float16"))
    assert bar("cross_entropy", float32) == bar("softmax", float64) == bar("cross_entropy gradient", float32) == 4
    assert bar("cross_entropy gradient", half) == 1
    assert bar("kl_div_with_logits js relative", float32) == 1e-5
    assert bar("kl_div_with_logits js relative", float64) == 1e-12
