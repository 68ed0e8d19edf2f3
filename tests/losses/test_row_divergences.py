"""Three divergences of each row from one pass, for crossent.evaluation, against those of kl_div_with_logits."""

import distributions
import numpy as np
import pytest
from support import DTYPES, assert_same_bits

import crossent as xe
from crossent import _core

# A term is the larger probability (4 ULP) times the square of the log-ratio (2 ULP) times a polynomial (4 ULP of a few
# alternating terms), added by trees of eight (3 roundings) and then in double; the last 4 ULP are of the result. Below
# 2e-9 divergences of float32 rows have an absolute error, as those of kl_div_with_logits do.
MOST = 16 * 2.0**-24
LEAST = 2e-9 * MOST


def row_divergences(logits, teacher, softcap=None, logit_bias=None, teacher_softcap=None, teacher_logit_bias=None):
    return _core.row_divergences(logits, teacher, 1, softcap, logit_bias, teacher_softcap, teacher_logit_bias)


def three(logits, teacher):
    """In float64, which is within 1e-12."""
    x, z = (np.asarray(v).astype(np.float64) for v in (logits, teacher))
    return [xe.kl_div_with_logits(x, z, reduction="none"), xe.kl_div_with_logits(z, x, reduction="none"),
            xe.kl_div_with_logits(x, z, divergence="js", reduction="none")]


def check(logits, teacher):
    for found, exact in zip(row_divergences(logits, teacher), three(logits, teacher), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.astype(np.float64), exact, rtol=MOST, atol=LEAST)


@pytest.mark.parametrize("classes", [1, 2, 7, 100, 130, 1023, 3000])
@pytest.mark.parametrize("distance", [1e-4, 0.1, 1.0, 2.0, 10.0, 60.0])
def test_both_kl_divergences_and_js(classes, distance):
    rng = np.random.default_rng(classes)
    x = rng.normal(0, 4, (41, classes)).astype(np.float32)
    check(x, (x + distance * rng.standard_normal(x.shape)).astype(np.float32))


def test_errors_that_all_classes_have_in_common():
    check(*distributions.errors_in_common())


@pytest.mark.parametrize("gap", np.linspace(-8, 8, 33))
def test_every_distance_of_a_class(gap):
    """One class in two: its log-ratio passes the border between polynomials and exponentials."""
    x = np.zeros((1, 2), np.float32)
    check(x, x + np.float32([gap, 0]))


@pytest.mark.parametrize("gap", [10, 150, 2000, 3e38])
@pytest.mark.parametrize("classes", [3, 300, 2500])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_class_masked_in_one(dtype, classes, gap):
    """One divergence is infinite, also where the other probability underflows."""
    whole, part = np.zeros((2, 4, classes), dtype)
    whole[:, 1], part[:, 1] = -gap, -np.inf
    for order in "CF":
        x, z = (np.asarray(v, order=order) for v in (whole, part))
        forward, reverse, js = row_divergences(x, z)
        assert np.isfinite(forward).all() and np.isinf(reverse).all() and np.isfinite(js).all()
        forward, reverse, js = row_divergences(z, x)
        assert np.isinf(forward).all() and np.isfinite(reverse).all() and np.isfinite(js).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_layouts(dtype):
    rng = np.random.default_rng(3)
    x, z = rng.normal(0, 2, (2, 37, 300)).astype(np.float32).astype(dtype)
    wanted = row_divergences(x, z)
    for a, b in ((np.asfortranarray(x), z), (x, np.asfortranarray(z)), (np.repeat(x, 2, 0)[::2], z[::-1][::-1])):
        for found, same in zip(row_divergences(a, b), wanted, strict=True):
            assert found.tobytes() == same.tobytes()
    with xe.num_threads(1):
        for found, same in zip(row_divergences(x, z), wanted, strict=True):
            assert found.tobytes() == same.tobytes()
    if dtype != np.float64:
        check(x, z)
    else:
        for found, exact in zip(wanted, three(x, z), strict=True):
            assert found.tobytes() == exact.tobytes()


def test_rows_of_few_and_many_classes_have_the_same_bits_alone():
    rng = np.random.default_rng(4)
    for classes in (3, 50, 2100):
        x, z = rng.normal(0, 2, (2, 70, classes)).astype(np.float32)
        wanted = row_divergences(x, z)
        for k in (0, 33, 69):
            for found, all_rows in zip(row_divergences(x[k:k + 1], z[k:k + 1]), wanted, strict=True):
                assert found[0] == all_rows[k]


def test_equal_rows():
    x = np.random.default_rng(5).normal(0, 9, (20, 700)).astype(np.float32)
    for found in row_divergences(x, x.copy()):
        assert not found.any() and not np.signbit(found).any()


def test_masked_classes_and_nan():
    x = np.random.default_rng(6).normal(0, 1, (5, 40)).astype(np.float32)
    z = x + np.float32(0.5)
    x[0, 3] = z[0, 3] = -np.inf  # in both
    x[1, 4] = -np.inf  # in the student alone
    z[2, 5] = -np.inf  # in the teacher alone
    x[3, 6] = np.nan
    z[4] = -np.inf
    forward, reverse, js = row_divergences(x, z)
    for found, exact in zip((forward, reverse, js), three(x, z), strict=True):
        np.testing.assert_allclose(found, exact, rtol=MOST, atol=1e-12)  # rounding, where rows differ by a constant
    assert np.isinf(forward[1]) and np.isinf(reverse[2]) and np.isfinite(js[:3]).all()
    assert all(np.isnan(found[3:]).all() for found in (forward, reverse, js))


@pytest.mark.parametrize("classes", [3, 300])
def test_of_transformed_logits(classes, dtype, rng):
    """Each divergence has the bits of kl_div_with_logits, in which the roles of reverse are not exchanged."""
    x, z = (rng.normal(0, 3, (20, classes)).astype(dtype) for _ in range(2))
    b, c = rng.normal(0, 1, (2, classes))
    b[1] = c[1] = -np.inf
    forward, reverse, js = row_divergences(x, z, 3.0, b, 5.0, c)
    of_x, of_z = {"softcap": 3.0, "logit_bias": b}, {"softcap": 5.0, "logit_bias": c}
    def divergence(x, z, student, teacher, **kind):
        return xe.kl_div_with_logits(
            x, z, reduction="none", **student, **{f"teacher_{name}": value for name, value in teacher.items()}, **kind)
    assert_same_bits(forward, divergence(x, z, of_x, of_z))
    assert_same_bits(reverse, divergence(z, x, of_z, of_x))
    assert_same_bits(js, divergence(x, z, of_x, of_z, divergence="js"))
