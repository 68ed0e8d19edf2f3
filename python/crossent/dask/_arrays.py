"""Cross-entropy with its gradient, and row statistics, of Dask arrays of logits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import cross_entropy as loss_of_array
from .. import row_statistics as statistics_of_array
from .._options import takes_options_of
from .._results import RowStatistics
from .._validate import class_axis, loss_axis
from ..parallel import RowSums, merge
from ..parallel._row_sums import LossCall, denominators_of, given_denominators
from ..parallel._state import OrderedSums
from ._blocks import RowBlocks, computed, lazy

if TYPE_CHECKING:
    from .._types import Array, Reduction, Scalar


@takes_options_of(loss_of_array, "grad_out")
def cross_entropy(logits: Any, target: Any, *, compute: bool = True, **options: Any) -> Any:
    """Cross-entropy of class indices or class probabilities under the softmax of `logits`, in nats.

    The formula and the meaning of each option are those of `crossent.cross_entropy`. A mean divides by the weights of
    all rows: it is not a mean of means. If each chunk begins at a multiple of 1,024 rows, loss and gradient have the
    bits of that function on the whole arrays; else the reduced loss is as accurate, within 4 ULP, and nearly always has
    the same bits. Rows count in the C order of the axes without the class axis: chunks of 1,024 along the first of
    these are always right. The losses of the rows have the same bits for any chunks.

    Parameters
    ----------
    logits : dask.array.Array or array_like, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Float16, bfloat16 (of ml_dtypes), float32 or float64.
    target : dask.array.Array or array_like, (N,), (N, d1, ..., dk), or the shape of `logits`
        Of an integer dtype: class indices. Of a floating dtype: class probabilities.
    compute : bool, default True
        Whether the loss is computed now. The gradient never is.
    **options
        As for `crossent.cross_entropy`, but for `grad_out`; `sample_weight`, and temperatures of the rows, may be Dask
        arrays.

    Returns
    -------
    loss : NumPy scalar, or ndarray in the shape of `logits` without the class axis with ``reduction="none"``
        With ``compute=False`` a Dask array of that shape.
    grad : dask.array.Array in the shape of `logits`
        With `return_grad` only, in the chunks of `logits`. ``dask.compute(loss, grad)`` of a lazy loss reads the logits
        once.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `crossent.cross_entropy`: of shapes, dtypes and options by the call, of values when they are computed, with
        the position among all rows. ValueError also if the chunks of an array are of unknown sizes.

    References
    ----------
    See `crossent.cross_entropy`; J. Demmel and H. D. Nguyen, Fast Reproducible Floating-Point Summation, ARITH 2013
    (sums of the same bits).

    Examples
    --------
    >>> import dask.array as da
    >>> import crossent.dask
    >>> logits = da.from_array([[17.0, 0.0], [1.0, 3.0], [0.0, 0.0]], chunks=1)
    >>> loss, grad = crossent.dask.cross_entropy(logits, [0, 1, -100], return_grad=True)
    >>> print(f"{loss:.8f}")
    0.06346403
    >>> grad.sum(axis=0).compute().round(8)
    array([ 0.05960144, -0.05960144])
    """
    logits = lazy("logits", logits)
    reduction, denominator, return_grad = (options.pop(name) for name in ("reduction", "denominator", "return_grad"))
    blocks = RowBlocks(logits, loss_axis("logits", logits.shape, options["axis"]), in_order=reduction != "none")
    blocks.add_target(lazy("target", target), options["ignore_index"])
    blocks.take_numbers(options)
    options["axis"] = blocks.axis
    sample = blocks.sample(loss_of_array, reduction=reduction, denominator=denominator, return_grad=True, **options)
    if reduction == "none":
        loss, grad = _of_each_row(blocks, sample, options, return_grad, compute)
    elif compute:
        loss, grad = _reduced(blocks, sample, options, reduction, denominator, return_grad)
    else:
        loss, grad = _reduced_later(blocks, sample, options, reduction, denominator, return_grad)
    return (loss, grad.rechunk(logits.chunks)) if return_grad else loss


def _of_each_row(
    blocks: RowBlocks, sample: tuple[Array, Array], options: dict[str, Any], return_grad: bool, compute: bool
) -> tuple[Any, Any]:
    found = blocks.call(_losses, options | {"return_grad": return_grad})
    grad = blocks.part(found, 1, sample[1], blocks.axis) if return_grad else None
    if not compute:
        return blocks.part(found, 0, sample[0]), grad
    [loss] = computed([blocks.part(blocks.call(_losses, options | {"return_grad": False}), 0, sample[0])])
    return loss, grad


def _losses(logits: Array, **options: Any) -> tuple[Any, ...]:
    found: Any = loss_of_array(logits, reduction="none", **options)
    return found if options["return_grad"] else (found,)


def _reduced(
    blocks: RowBlocks,
    sample: tuple[Array, Array],
    options: dict[str, Any],
    reduction: Reduction,
    denominator: float | None,
    return_grad: bool,
) -> tuple[Scalar, Any]:
    """The loss, after which the divisor of its gradient is known."""
    found = blocks.call(_sums, options, with_start=True)
    [sums] = computed([blocks.gather(found, _merged, np.dtype(object))])
    loss = sums.loss(reduction=reduction, denominator=denominator)
    if not return_grad:
        return loss, None
    divisor, *_ = given_denominators(reduction, denominator, 1) or sums.denominators
    found = blocks.call(_sums, options | {"divisor": divisor}, with_start=True)
    return loss, blocks.part(found, 1, sample[1], blocks.axis)


def _reduced_later(
    blocks: RowBlocks,
    sample: tuple[Array, Array],
    options: dict[str, Any],
    reduction: Reduction,
    denominator: float | None,
    return_grad: bool,
) -> tuple[Any, Any]:
    """Both from one pass over the logits, which waits for the divisor that is found from the targets."""
    numbers = {}
    if return_grad:
        given = given_denominators(reduction, denominator, 1)
        weights = blocks.unread().call(_weights, options, with_start=True)
        numbers["divisor"] = given[0] if given else blocks.gather(weights, _divisor, np.dtype(np.float64))
    found = blocks.call(_sums, options, numbers, with_start=True)
    loss = blocks.gather(found, partial(_loss, reduction, denominator), sample[0].dtype)
    return loss, blocks.part(found, 1, sample[1], blocks.axis) if return_grad else None


def _weights(logits: Array, *, start: int, **options: Any) -> tuple[OrderedSums]:
    """The sums of what a mean divides by."""
    weights = LossCall.of(loss_of_array, (logits,), options).weights()
    return (OrderedSums.of_blocks(start, weights.rows, weights.sums),)


def _divisor(weights: Sequence[OrderedSums]) -> float:
    [divisor] = denominators_of(OrderedSums.merge(weights).total())
    return divisor


def _sums(logits: Array, *, start: int, divisor: Array | float | None = None, **options: Any) -> tuple[Any, ...]:
    """The sums of the losses and, with the divisor of the gradient, this."""
    call = LossCall.of(loss_of_array, (logits,), options)
    if divisor is None:
        return (RowSums._of(call.losses(), call.weights(), start),)
    losses, gradient = call.losses_and_gradient((float(divisor),), None)
    return RowSums._of(losses, call.weights(), start), gradient


def _merged(sums: Sequence[RowSums]) -> RowSums:
    return merge(*sums)


def _loss(reduction: str, denominator: float | None, sums: Sequence[RowSums]) -> Scalar:
    return _merged(sums).loss(reduction=reduction, denominator=denominator)


@takes_options_of(statistics_of_array)
def row_statistics(logits: Any, target: Any = None, *, compute: bool = True, **options: Any) -> RowStatistics:
    """What the softmax of each row of logits says of its target, of its most likely classes and of all of them.

    The numbers are those of `crossent.row_statistics`, to the bit, however the arrays are chunked.

    Parameters
    ----------
    logits : dask.array.Array or array_like
        Float16, bfloat16 (of ml_dtypes), float32 or float64.
    target : dask.array.Array or array_like, optional
        Class indices in the shape of `logits` without the class axis.
    compute : bool, default True
        Whether the arrays are computed now.
    **options
        As for `crossent.row_statistics`; temperatures of the rows may be a Dask array.

    Returns
    -------
    RowStatistics
        A named tuple of NumPy arrays, or with ``compute=False`` of Dask arrays, in the shape of `logits` without the
        class axis and with its chunks.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `crossent.row_statistics`: of shapes, dtypes and options by the call, of values when they are computed, with
        the position among all rows. ValueError also if the chunks of an array are of unknown sizes.

    References
    ----------
    See `crossent.row_statistics`.

    Examples
    --------
    >>> import dask.array as da
    >>> import crossent.dask
    >>> s = crossent.dask.row_statistics(da.from_array([[2.0, 1.0, 0.0], [0.0, 3.0, 3.0]], chunks=1), [1, 2])
    >>> s.rank, s.argmax
    (array([1, 1]), array([0, 1]))
    """
    logits = lazy("logits", logits)
    blocks = RowBlocks(logits, class_axis("logits", logits.shape, options["axis"]))
    if target is not None:
        blocks.add_indices(lazy("target", target))
    blocks.take_numbers(options)
    options["axis"] = blocks.axis
    sample = blocks.sample(statistics_of_array, **options)
    found = blocks.call(statistics_of_array, options)
    last = len(blocks.rows)
    arrays = [
        None if x is None else blocks.part(found, k, x, last if x.ndim > last else None) for k, x in enumerate(sample)
    ]
    return RowStatistics(*(computed(arrays) if compute else arrays))
