"""Every loss of the table in family.py, in every dtype, option, reduction and layout, against exact arithmetic.

Losses: 4 ulp of the exact value, or of the larger terms where a loss is defined as their difference (kl_div). Gradient
entries: 4 ulp of the larger of their two terms, 8 where GRADIENT_LIMIT says why; in float16 and bfloat16, which are
float32 results rounded once, 1 ulp.
A layout must not change a bit of a row, so that one comparison with exact numbers holds for all of them.
"""

import family
import numpy as np
import oracle
import oracle_parts
import pytest
from oracle_parts import arithmetic, gradient_limit
from support import assert_same_bits, at_offset

import crossent as xe

LIMIT = 4
# Reverse and js: see test_divergence.py. Distillation adds two gradients, each within 4 ulp.
GRADIENT_LIMIT = {"kl_div_with_logits_reverse": 8, "kl_div_with_logits_js": 8, "distillation_loss": 8,
                  "distillation_loss_indices": 8, "distillation_loss_probabilities": 8}
cases = pytest.mark.parametrize(
    "operation, option, pair",
    [pytest.param(operation, option, pair, id=f"{operation.name}-{option}-{pair[0]}-{pair[1]}")
     for operation, option in family.CASES for pair in operation.pairs])


def upstream_of(rng, arrays, operation, reduction):
    """A gradient for what the loss returns, in a dtype of its own."""
    x = arrays[0]
    if reduction != "none":
        return np.float64(-1.75)
    shape = x.shape if operation.per_element else x.shape[:1]
    return rng.choice(np.array([-2.5, -1, 0, 0.375, 3], np.float16), shape)


@cases
def test_value_gradient_and_backward(operation, option, pair, rng):
    arrays, options = operation.arguments(rng, pair, option)
    function, backward = getattr(xe, operation.function), getattr(xe, operation.function + "_backward")
    parts, limit = operation.exact(arrays, options), gradient_limit(pair[0], GRADIENT_LIMIT.get(operation.name, LIMIT))
    for reduction, denominator in (*((r, None) for r in operation.reductions), ("mean", 37.5)):
        call = {"reduction": reduction, **options, **({"denominator": denominator} if denominator else {})}
        loss, grad = function(*arrays, return_grad=True, **call)
        assert loss.dtype == arithmetic(pair[0]) and grad.dtype == pair[0] and grad.shape == arrays[0].shape
        assert isinstance(loss, np.ndarray if reduction == "none" else np.floating)
        oracle.assert_within(LIMIT, loss, *oracle_parts.value(parts, reduction, denominator))
        oracle.assert_within(limit, grad, *oracle_parts.gradient(parts, reduction, 1.0, denominator))
        g = upstream_of(rng, arrays, operation, reduction)
        grad = backward(g, *arrays, **call)
        assert grad.dtype == pair[0] and grad.shape == arrays[0].shape
        oracle.assert_within(limit, grad, *oracle_parts.gradient(parts, reduction, g, denominator))


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
    if not isinstance(a, np.ndarray) or a.shape not in ((family.ROWS,), (family.ROWS, family.CLASSES)):
        return a
    shape = (family.ROWS,) if ndim == 2 else ROWS_SHAPE
    full = a.reshape(shape + a.shape[1:])
    return memory(np.moveaxis(full, -1, axis) if a.ndim == 2 else full)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", family.FLOATS, ids=str)
@pytest.mark.parametrize("operation", family.TABLE, ids=lambda operation: operation.name)
def test_layout(operation, dtype, layout, rng):
    """The bits of the C-contiguous (N, C) call, in every layout, each argument in another one."""
    ndim, axis, memory = LAYOUTS[layout]
    following = MEMORY[(MEMORY.index(memory) + 1) % len(MEMORY)]
    option = list(operation.options)[-1]
    arrays, options = operation.arguments(rng, (dtype, dtype), option)
    function, backward = getattr(xe, operation.function), getattr(xe, operation.function + "_backward")
    wanted, wanted_grad = function(*arrays, reduction="none", return_grad=True, **options)
    g = upstream_of(rng, arrays, operation, "none")
    wanted_backward = backward(g, *arrays, reduction="none", **options)

    def flat(result):
        """Back to (N, C), or (N,)."""
        if result.ndim == ndim:
            return np.moveaxis(result, axis, -1).reshape(family.ROWS, -1)
        return result.reshape(family.ROWS)

    laid_out = [placed(a, ndim, axis, m) for a, m in zip(arrays, (memory, following, np.asarray))]
    call = {k: placed(v, ndim, axis, following) for k, v in options.items()}
    if operation.takes_axis:
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
        if operation.takes_axis or (ndim == 2 and axis == 1):  # the rows, or elements, in the same logical order
            assert_same_bits(function(*laid_out, reduction=reduction, **call), whole)
        elif np.isfinite(whole):
            # Another order of float64 additions of a few hundred terms, rounded once.
            np.testing.assert_allclose(function(*laid_out, reduction=reduction, **call), whole,
                                       rtol=2 * np.finfo(whole.dtype).eps)
    in_place = placed(arrays[0].copy(), ndim, axis, memory)
    loss, grad = function(in_place, *laid_out[1:], reduction="none", return_grad=True, grad_out=in_place, **call)
    assert grad is in_place
    assert_same_bits(flat(loss), wanted)
    assert_same_bits(flat(grad), wanted_grad)


# ---- What the dtypes have to do with each other ----------------------------------------------------------------------


def widened(value, dtype):
    return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind not in "iu" else value


@pytest.mark.parametrize("half", family.FLOATS[:2], ids=str)
@pytest.mark.parametrize("operation, option", family.CASES, ids=lambda v: getattr(v, "name", v))
def test_half_is_float32_rounded_once(operation, option, half, rng):
    """To the bit: losses are those of the widened arrays, in float32; gradients too, rounded to the half once."""
    arrays, options = operation.arguments(rng, (half, half), option)
    wide = [widened(a, np.float32) for a in arrays]
    function, backward = getattr(xe, operation.function), getattr(xe, operation.function + "_backward")
    with np.errstate(all="ignore"):
        for reduction in operation.reductions:
            loss, grad = function(*arrays, reduction=reduction, return_grad=True, **options)
            wanted, wanted_grad = function(*wide, reduction=reduction, return_grad=True, **options)
            assert_same_bits(loss, wanted)
            assert_same_bits(grad, wanted_grad.astype(half))
            g = upstream_of(rng, arrays, operation, reduction)
            assert_same_bits(backward(g, *arrays, reduction=reduction, **options),
                             backward(g, *wide, reduction=reduction, **options).astype(half))


@pytest.mark.parametrize("operation, pair",
                         [pytest.param(o, p, id=f"{o.name}-{p[0]}-{p[1]}") for o in family.TABLE for p in o.pairs
                          if arithmetic(p[0]) != p[1]])
def test_other_arguments_are_converted_to_the_arithmetic_dtype(operation, pair, rng):
    arrays, options = operation.arguments(rng, pair, "plain")
    first, *others = arrays
    with np.errstate(all="ignore"):
        converted = [widened(a, arithmetic(pair[0])) for a in others]
    function = getattr(xe, operation.function)
    for got, wanted in zip(function(first, *others, reduction="none", return_grad=True, **options),
                           function(first, *converted, reduction="none", return_grad=True, **options)):
        assert_same_bits(got, wanted)


@pytest.mark.parametrize("dtype", family.FLOATS, ids=str)
@pytest.mark.parametrize("upstream", family.FLOATS, ids=str)
@pytest.mark.parametrize("operation", family.TABLE, ids=lambda operation: operation.name)
def test_upstream_gradient_of_any_dtype(operation, upstream, dtype, rng):
    arrays, options = operation.arguments(rng, (dtype, dtype), "plain")
    backward = getattr(xe, operation.function + "_backward")
    g = upstream_of(rng, arrays, operation, "none")
    assert_same_bits(backward(g.astype(upstream), *arrays, reduction="none", **options),
                     backward(g.astype(arithmetic(dtype)), *arrays, reduction="none", **options))
    assert_same_bits(backward(upstream.type(0.5), *arrays, reduction="sum", **options),
                     backward(0.5, *arrays, reduction="sum", **options))


@pytest.mark.parametrize("rows", (1, 17, 3000))
@pytest.mark.parametrize("dtype", family.FLOATS, ids=str)
@pytest.mark.parametrize("operation", family.TABLE, ids=lambda operation: operation.name)
def test_reductions_round_once(operation, dtype, rows, rng):
    """Row losses are added unrounded: the exact reduction of 12 rows, however often they are repeated."""
    arrays, options = operation.arguments(rng, (dtype, dtype), "plain")
    arrays = [a[np.arange(rows) % family.ROWS] for a in arrays]
    exact = operation.exact([a[:family.ROWS] for a in arrays], options)
    times = np.bincount(np.arange(rows) % family.ROWS, minlength=family.ROWS)[:min(rows, family.ROWS)].astype(object)
    total = sum(n * np.sum(part.losses[i]) for part in exact for i, n in enumerate(times))
    size = sum(n * np.sum(part.loss_scales[i]) for part in exact for i, n in enumerate(times))
    loss = getattr(xe, operation.function)(*arrays, reduction="sum", **options)
    oracle.assert_within(LIMIT, loss, total, size)
