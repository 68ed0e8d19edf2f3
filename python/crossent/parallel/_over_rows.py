"""Losses over processes that have different rows of a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from .._arrays import FLOAT32, arithmetic, floating
from .._nll_loss import nll_loss
from ._communicator import communicator, exchange
from ._row_sums import BlockSums, LossCall, RowSums, checked_start, denominators_of, given_denominators
from ._state import OrderedSums, merge, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from .._types import Array, Number
    from ._communicator import Communicator

_MOST_NUMBERS = 1 << 59  # of an array of float64


@overload
def over_rows(
    loss: Callable[..., Any],
    comm: Any,
    *arguments: Any,
    start: int | None = None,
    reduction: str = "mean",
    denominator: float | None = None,
    return_grad: Literal[False] = False,
    grad_out: None = None,
    **options: Any,
) -> Number: ...
@overload
def over_rows(
    loss: Callable[..., Any],
    comm: Any,
    *arguments: Any,
    start: int | None = None,
    reduction: str = "mean",
    denominator: float | None = None,
    return_grad: Literal[True],
    grad_out: Array | None = None,
    **options: Any,
) -> tuple[Number, Array]: ...
def over_rows(
    loss: Callable[..., Any],
    comm: Any,
    *arguments: Any,
    start: int | None = None,
    reduction: str = "mean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
    **options: Any,
) -> Number | tuple[Number, Array]:
    """A loss over the rows of all processes, of which each has some.

    Every rank calls it with the arrays of its own rows and gets the loss of all rows and, with `return_grad`, the
    gradient of that loss with respect to its own logits. A mean divides by the weights of the rows of all ranks: it is
    not a mean of means. If the rows of each rank begin at a multiple of 1,024, loss and gradient have the bits of one
    process that has all rows; else both are as accurate, and the loss nearly always has the same bits.

    The formula, with the losses ``l`` of `loss` and the weights ``v w[y]`` over the rows of all ranks::

        "sum":   sum_i l[i]
        "mean":  sum_i l[i] / sum_i (v[i] * w[y[i]])

    There are two all-gathers, of 16 bytes for each 1,024 rows and of some hundred bytes for each rank; none for the
    gradient. An error on one rank is an error on every rank.

    Parameters
    ----------
    loss : function
        One of `crossent`, but for `kl_div`. The elements of a loss that has no classes count as rows.
    comm : communicator
        Of mpi4py, a process group of torch.distributed, or an object with ``allgather(array)``,
        ``rank`` and ``size``.
    *arguments
        The arrays that `loss` takes, of the rows of this rank. There may be no rows.
    start : int, optional
        How many rows of the batch come before those of this rank; on all ranks or on none. The default is that the rows
        of the ranks follow each other. Rows count in the C order of the axes without the class axis.
    reduction : {"mean", "sum"}, default "mean"
        What becomes of the losses of all rows. ``"mean"`` is what `kl_div_with_logits` also calls ``"batchmean"``.
    denominator : float, optional
        Finite and > 0: replaces the denominator of ``"mean"``, as for `loss`.
    return_grad : bool, default False
        Whether the gradient with respect to the first of the `arguments` is returned too.
    grad_out : ndarray, optional
        Receives the gradient, as for `loss`. Needs `return_grad`.
    **options
        The other options of `loss`, the same on every rank but for those with a number for each row: `sample_weight`,
        and `temperature` where it is an array.

    Returns
    -------
    loss : NumPy scalar
        Of all rows, the same on every rank. Float32, or float64 for float64 logits.
    grad : ndarray in the shape of the first of the `arguments`
        With `return_grad` only.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `loss`, on every rank whichever rank it is that has the bad argument. ValueError also if rows are missing or
        on two ranks, or if the ranks call it with other losses, reductions or dtypes.

    References
    ----------
    J. Demmel and H. D. Nguyen, Fast Reproducible Floating-Point Summation, ARITH 2013 (sums of the same bits).

    Examples
    --------
    Of one process, whose communicator has nothing to do:

    >>> from types import SimpleNamespace
    >>> import crossent
    >>> from crossent import parallel
    >>> alone = SimpleNamespace(rank=0, size=1, allgather=lambda array: [array])
    >>> loss, grad = parallel.over_rows(crossent.cross_entropy, alone, [[0.0, 0.0]], [1], return_grad=True)
    >>> print(f"{loss:.6f}", grad)
    0.693147 [[ 0.5 -0.5]]
    """
    comm = communicator(comm)
    call: LossCall
    weights: BlockSums
    gradient: Array | None = None

    def make_weights() -> tuple[str, BlockSums]:
        nonlocal call, weights
        call = LossCall.of(loss, arguments, options)
        weights = call.weights(return_grad, grad_out)
        given = given_denominators(reduction, denominator, len(weights.shares))
        return f"{call.name} of {weights.dtype}, terms {weights.shares}, denominators {given or 'of the rows'}", weights

    def make_sums() -> bytes:
        nonlocal gradient
        if return_grad:
            losses, gradient = call.losses_and_gradient(denominators, grad_out)
        else:
            losses = call.losses()
        return RowSums._of(losses, weights, first).to_bytes()

    first, denominators = _gather_weights(comm, start, make_weights)
    denominators = given_denominators(reduction, denominator, len(weights.shares)) or denominators
    sums = merge(*map(RowSums.from_bytes, exchange(comm, make_sums)))
    value = sums.loss(reduction=reduction, denominator=denominator)
    return value if gradient is None else (value, gradient)


def denominator(
    target: ArrayLike,
    comm: Any,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
    sample_weight: ArrayLike | None = None,
) -> float:
    """What a mean over the rows of all processes divides by.

    The argument `denominator` of `cross_entropy` and `nll_loss`, with which each process computes its share of the
    loss and of the gradient on rows of its own. The shares add up to the loss, up to rounding: `over_rows` rounds once.

    The formula over the rows of all ranks that are not ignored::

        denominator = sum_i v[i] * w[y[i]]

    which without weights is the number of these rows, of tokens say.

    Parameters
    ----------
    target : array_like of integers
        The class indices of the rows of this rank. There may be no rows.
    comm : communicator
        As for `over_rows`.
    weight : array_like, (C,), optional
        A weight per class, finite and >= 0. The default is ones, for any number of classes.
    ignore_index : int or None, default -100
        Rows of this target are left out. None leaves no row out.
    sample_weight : array_like, optional
        A weight per row, finite, of any sign, in the shape of `target` or broadcastable to it. A loss of float32 logits
        rounds weights to float32: give these to both.

    Returns
    -------
    float
        The same on every rank, with the bits of one process under the conditions of `over_rows`. It is 0 where no row
        counts, in which case a loss does not take it.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `cross_entropy`, on every rank whichever rank it is that has the bad argument.

    References
    ----------
    J. Demmel and H. D. Nguyen, Fast Reproducible Floating-Point Summation, ARITH 2013 (sums of the same bits).

    Examples
    --------
    Of one process, whose communicator has nothing to do:

    >>> from types import SimpleNamespace
    >>> from crossent import parallel
    >>> alone = SimpleNamespace(rank=0, size=1, allgather=lambda array: [array])
    >>> parallel.denominator([2, 0, -100], alone)
    2.0
    >>> parallel.denominator([2, 0, -100], alone, weight=[0.5, 1.0, 2.0])
    2.5
    """

    def make() -> tuple[str, BlockSums]:
        rows = np.shape(target)
        weights = {"weight": weight, "sample_weight": sample_weight}
        dtypes = [arithmetic(floating(name, x).dtype) for name, x in weights.items() if x is not None]
        classes = _MOST_NUMBERS // max(math.prod(rows), 1) if weight is None else np.size(weight)
        unread = np.broadcast_to(np.zeros((), np.result_type(FLOAT32, *dtypes)), (*rows, classes))
        options = {"axis": -1, "ignore_index": ignore_index, **weights}
        return "denominator", LossCall.of(nll_loss, (unread, target), options).weights()

    _, (total,) = _gather_weights(communicator(comm), None, make)
    return total


def _gather_weights(
    comm: Communicator, start: int | None, make: Callable[[], tuple[str, BlockSums]]
) -> tuple[int, tuple[float, ...]]:
    """Where the rows of this rank begin, and the denominators of a mean over those of all ranks.

    `make`: what the ranks compute, the same on all of them, and the weights of the rows of this one.
    """

    def message() -> bytes:
        what, weights = make()
        first = None if start is None else checked_start(start)
        about = {"what": what, "start": first, "rows": weights.rows, "terms": len(weights.shares)}
        return pack(about, weights.sums)

    parts = []
    for rank, received in enumerate(exchange(comm, message)):
        about, numbers = unpack(received)
        parts.append((about, np.frombuffer(numbers).reshape(about["terms"], -1, 2)))
        if about["what"] != parts[0][0]["what"]:
            raise ValueError(f"rank {rank} computes {about['what']}: expected {parts[0][0]['what']}, as rank 0 does")
    given = [about["start"] for about, _ in parts]
    rows = [about["rows"] for about, _ in parts]
    if any(first is None for first in given):
        if any(first is not None for first in given):
            raise ValueError("start was given on some of the ranks: expected it on all of them or on none")
        given = [sum(rows[:rank]) for rank in range(len(rows))]
    sums = OrderedSums.merge(
        OrderedSums.of_blocks(first, count, blocks)
        for first, count, (_, blocks) in zip(given, rows, parts, strict=True)
    )
    return given[comm.rank], denominators_of(sums.total())
