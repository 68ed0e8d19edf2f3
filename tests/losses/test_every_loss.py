"""Every loss of the table in tests/operations, in every dtype, case, reduction and layout, against exact arithmetic.

Losses: 4 ulp of the exact value, or of the larger terms where a loss is defined as their difference (kl_div). Gradient
entries: 4 ulp of the larger of their two terms, 8 for the reverse and Jensen-Shannon divergences (test_divergence.py)
and for distillation, which adds two gradients of 4 ulp each; in float16 and bfloat16, float32 results rounded once,
1 ulp.
A layout must not change a bit of a row, so that one comparison with exact numbers holds for all of them.
"""

import numpy as np
import operations
import oracle
import oracle.parts
import pytest
from operations.draws import CLASSES, ROWS
from oracle.parts import arithmetic, gradient_limit
from support import ALL, assert_same_bits, at_offset

LIMIT = 4


def pairs_of(form, case):
    """All pairs of dtypes for the first case of a form, some for each other one."""
    k = list(form.cases).index(case)
    return [pair for i, pair in enumerate(form.pairs) if ALL or k == 0 or (i + k) % 3 == 0]


def cases_of(forms):
    return pytest.mark.parametrize(
        ("form", "case", "pair"),
        [pytest.param(form, case, pair, id=f"{form.name}-{case}-{pair[0]}-{pair[1]}")
         for form in forms for case in form.cases for pair in pairs_of(form, case)])


cases = cases_of(operations.FORMS)
transformed_cases = cases_of([form for form in operations.FORMS if "softcap" in form.options])


def upstream_of(rng, arrays, form, reduction):
    """A gradient for what the loss returns, in a dtype of its own."""
    x = arrays[0]
    if reduction != "none":
        return np.float64(-1.75)
    shape = x.shape if form.per_element else x.shape[:1]
    return rng.choice(np.array([-2.5, -1, 0, 0.375, 3], np.float16), shape)


@cases
def test_value_gradient_and_backward(form, case, pair, rng):
    arrays, options = form.arguments(rng, pair, case)
    function, backward = form.function, form.backward
    parts, limit = form.exact(arrays, options), gradient_limit(pair[0], form.gradient_limit)
    for reduction, denominator in (*((r, None) for r in form.reductions), ("mean", 37.5)):
        call = {"reduction": reduction, **options, **({"denominator": denominator} if denominator else {})}
        loss, grad = function(*arrays, return_grad=True, **call)
        assert loss.dtype == arithmetic(pair[0])
        assert grad.dtype == pair[0]
        assert grad.shape == arrays[0].shape
        assert isinstance(loss, np.ndarray if reduction == "none" else np.floating)
        oracle.assert_within(LIMIT, loss, *oracle.parts.value(parts, reduction, denominator))
        oracle.assert_within(limit, grad, *oracle.parts.gradient(parts, reduction, 1.0, denominator))
        g = upstream_of(rng, arrays, form, reduction)
        grad = backward(g, *arrays, **call)
        assert grad.dtype == pair[0]
        assert grad.shape == arrays[0].shape
        oracle.assert_within(limit, grad, *oracle.parts.gradient(parts, reduction, g, denominator))


# ---- Layouts ---------------------------------------------------------------------------------------------------------


def sliced(a):
    store = np.zeros([3 * n + 1 for n in a.shape], a.dtype)
    view = store[tuple(slice(1, 3 * n + 1, 3) for n in a.shape)]
    view[...] = a
    return view


def negative(a):
    flip = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[flip])[flip]


def unaligned(a):
    return at_offset(a, 1)


def record_field(a):
    store = np.zeros(a.shape, np.dtype([("before", "u1"), ("value", a.dtype), ("after", "u1", 2)]))
    store["value"] = a
    return store["value"]


MEMORY = (np.ascontiguousarray, np.asfortranarray, sliced, negative, unaligned, record_field)
ROWS_SHAPE = (2, 3, 2)
# name: (class axis of (N, C) or of (2, 3, 2) rows of classes, memory of the first argument)
LAYOUTS = {
    **{f"2-D {memory.__name__}": (2, 1, memory) for memory in MEMORY},
    **{f"2-D class axis 0 {memory.__name__}": (2, 0, memory) for memory in MEMORY[:3]},
    **{f"4-D class axis {axis} {memory.__name__}": (4, axis, memory)
       for axis in (0, 1, 2, -1) for memory in MEMORY[:3]},
}


def placed(a, ndim, axis, memory):
    """An array over rows, or rows and classes, in this shape; anything else, such as class weights, as it is."""
    if not isinstance(a, np.ndarray) or a.shape not in ((ROWS,), (ROWS, CLASSES)):
        return a
    shape = (ROWS,) if ndim == 2 else ROWS_SHAPE
    full = a.reshape(shape + a.shape[1:])
    return memory(np.moveaxis(full, -1, axis) if a.ndim == 2 else full)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize("form", operations.FORMS, ids=repr)
def test_layout(form, dtype, layout, rng):
    """The bits of the C-contiguous (N, C) call, in every layout, each argument in another one."""
    ndim, axis, memory = LAYOUTS[layout]
    following = MEMORY[(MEMORY.index(memory) + 1) % len(MEMORY)]
    case = list(form.cases)[-1]
    arrays, options = form.arguments(rng, (dtype, dtype), case)
    function, backward = form.function, form.backward
    wanted, wanted_grad = function(*arrays, reduction="none", return_grad=True, **options)
    g = upstream_of(rng, arrays, form, "none")
    wanted_backward = backward(g, *arrays, reduction="none", **options)

    def flat(result):
        """Back to (N, C), or (N,)."""
        if result.ndim == ndim:
            return np.moveaxis(result, axis, -1).reshape(ROWS, -1)
        return result.reshape(ROWS)

    laid_out = [placed(a, ndim, axis, m) for a, m in zip(arrays, (memory, following, np.asarray), strict=False)]
    call = {k: placed(v, ndim, axis, following) for k, v in options.items()}
    if not form.per_element:
        call["axis"] = axis
    out = placed(np.zeros_like(arrays[0]), ndim, axis, following)
    loss, grad = function(*laid_out, reduction="none", return_grad=True, grad_out=out, **call)
    assert grad is out
    assert_same_bits(flat(loss), wanted)
    assert_same_bits(flat(grad), wanted_grad)
    g = placed(g, ndim, axis, memory)
    assert_same_bits(flat(backward(g, *laid_out, reduction="none", **call)), wanted_backward)
    for reduction in ("sum", "mean"):
        whole = function(*arrays, reduction=reduction, **options)
        if not form.per_element or (ndim == 2 and axis == 1):  # the rows, or elements, in the same logical order
            assert_same_bits(function(*laid_out, reduction=reduction, **call), whole)
        elif np.isfinite(whole):
            # Another order of the additions of a few hundred terms, of either sign where weights are.
            size = np.sum(np.abs(wanted), dtype=np.float64) / (arrays[0].size if reduction == "mean" else 1)
            np.testing.assert_allclose(function(*laid_out, reduction=reduction, **call), whole,
                                       rtol=0, atol=2 * np.finfo(whole.dtype).eps * size)
    in_place = placed(arrays[0].copy(), ndim, axis, memory)
    loss, grad = function(in_place, *laid_out[1:], reduction="none", return_grad=True, grad_out=in_place, **call)
    assert grad is in_place
    assert_same_bits(flat(loss), wanted)
    assert_same_bits(flat(grad), wanted_grad)


# ---- What the dtypes have to do with each other ----------------------------------------------------------------------


def widened(value, dtype):
    return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind not in "iu" else value


@pytest.mark.parametrize("half", operations.FLOATS[:2], ids=str)
@pytest.mark.parametrize(("form", "case"), operations.CASES, ids=lambda v: getattr(v, "name", v))
def test_half_is_float32_rounded_once(form, case, half, rng):
    """To the bit: losses are those of the widened arrays, in float32; gradients too, rounded to the half once."""
    arrays, options = form.arguments(rng, (half, half), case)
    wide = [widened(a, np.float32) for a in arrays]
    function, backward = form.function, form.backward
    with np.errstate(all="ignore"):
        for reduction in form.reductions:
            loss, grad = function(*arrays, reduction=reduction, return_grad=True, **options)
            wanted, wanted_grad = function(*wide, reduction=reduction, return_grad=True, **options)
            assert_same_bits(loss, wanted)
            assert_same_bits(grad, wanted_grad.astype(half))
            g = upstream_of(rng, arrays, form, reduction)
            assert_same_bits(backward(g, *arrays, reduction=reduction, **options),
                             backward(g, *wide, reduction=reduction, **options).astype(half))


@pytest.mark.parametrize(("form", "pair"),
                         [pytest.param(o, p, id=f"{o.name}-{p[0]}-{p[1]}") for o in operations.FORMS for p in o.pairs
                          if arithmetic(p[0]) != p[1] and "softcap" not in o.options])
def test_other_arguments_are_converted_to_the_arithmetic_dtype(form, pair, rng):
    arrays, options = form.arguments(rng, pair, "plain")
    first, *others = arrays
    with np.errstate(all="ignore"):
        converted = [widened(a, arithmetic(pair[0])) for a in others]
    function = form.function
    for got, wanted in zip(function(first, *others, reduction="none", return_grad=True, **options),
                           function(first, *converted, reduction="none", return_grad=True, **options), strict=True):
        assert_same_bits(got, wanted)


@transformed_cases
def test_transformed_logits_are_computed_in_float64(form, case, pair, rng):
    """Whatever the dtypes are: the results are those of float64, rounded once."""
    arrays, options = form.arguments(rng, pair, case)
    wide = [widened(a, np.float64) for a in arrays]
    how = {"reduction": "none", "return_grad": True, **options}
    for got, wanted in zip(form.function(*arrays, **how), form.function(*wide, **how), strict=True):
        with np.errstate(over="ignore"):
            assert_same_bits(got, wanted.astype(got.dtype))


@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize("upstream", operations.FLOATS, ids=str)
@pytest.mark.parametrize("form", operations.FORMS, ids=repr)
def test_upstream_gradient_of_any_dtype(form, upstream, dtype, rng):
    arrays, options = form.arguments(rng, (dtype, dtype), "plain")
    backward = form.backward
    g = upstream_of(rng, arrays, form, "none")
    assert_same_bits(backward(g.astype(upstream), *arrays, reduction="none", **options),
                     backward(g.astype(arithmetic(dtype)), *arrays, reduction="none", **options))
    assert_same_bits(backward(upstream.type(0.5), *arrays, reduction="sum", **options),
                     backward(0.5, *arrays, reduction="sum", **options))


@pytest.mark.parametrize("rows", [1, 17, 3000])
@pytest.mark.parametrize("dtype", operations.FLOATS, ids=str)
@pytest.mark.parametrize("form", operations.FORMS, ids=repr)
def test_reductions_round_once(form, dtype, rows, rng):
    """Row losses are added unrounded: the exact reduction of 12 rows, however often they are repeated."""
    arrays, options = form.arguments(rng, (dtype, dtype), "plain")
    arrays = [a[np.arange(rows) % ROWS] for a in arrays]
    exact = form.exact([a[:ROWS] for a in arrays], options)
    times = np.bincount(np.arange(rows) % ROWS, minlength=ROWS)[:min(rows, ROWS)].astype(object)
    total = sum(n * np.sum(part.losses[i]) for part in exact for i, n in enumerate(times))
    size = sum(n * np.sum(part.loss_scales[i]) for part in exact for i, n in enumerate(times))
    loss = form.function(*arrays, reduction="sum", **options)
    oracle.assert_within(LIMIT, loss, total, size)
