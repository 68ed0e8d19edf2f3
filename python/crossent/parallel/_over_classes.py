"""Losses of rows of which each process has some classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from .. import _core, _validate
from ._communicator import communicator
from ._cross_entropy_states import loss_and_gradient, loss_of
from ._gathering import gather_places, gather_states
from ._shards import Shard, checksum, split_target, states_of

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .._types import Array, Loss, Number, Reduction
    from . import _options
    from ._row_states import Rows, RowStates


@overload
def cross_entropy(
    logits_shard: ArrayLike, target: ArrayLike, comm: Any, **options: Unpack[_options.CrossEntropyReduced]
) -> Number: ...
@overload
def cross_entropy(
    logits_shard: ArrayLike, target: ArrayLike, comm: Any, **options: Unpack[_options.CrossEntropyOfRows]
) -> Array: ...
@overload
def cross_entropy(
    logits_shard: ArrayLike, target: ArrayLike, comm: Any, **options: Unpack[_options.CrossEntropyReducedGradient]
) -> tuple[Number, Array]: ...
@overload
def cross_entropy(
    logits_shard: ArrayLike, target: ArrayLike, comm: Any, **options: Unpack[_options.CrossEntropyOfRowsGradient]
) -> tuple[Array, Array]: ...
def cross_entropy(
    logits_shard: ArrayLike,
    target: ArrayLike,
    comm: Any,
    *,
    start: int | None = None,
    n_classes: int | None = None,
    axis: int | None = None,
    temperature: float = 1.0,
    weight: ArrayLike | None = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
) -> Loss | tuple[Loss, Array]:
    """Cross-entropy of logits of which each process has some classes.

    Every rank calls it with the logits of its classes, of the same rows, and gets the loss and, with `return_grad`, the
    gradient with respect to its own logits. Where all shards begin at multiples of 1,024 classes, as those of
    `shard_range` do, both have the bits of one process that has all classes, whatever the number of ranks is. Otherwise
    they are as accurate.

    The formula is that of `crossent.cross_entropy`, over all classes; so is the smoothing of the labels.

    There is one all-gather of the states (`partial` says how large they are), before which one of a few bytes, if
    `start` or `n_classes` is not given; none for the gradient. An error on one rank is an error on every rank.

    Parameters
    ----------
    logits_shard : array_like, (N, C_shard, d1, ..., dk)
        The logits of the classes of this rank, of all rows. There may be no class.
    target : array_like
        The class indices of all rows, counted over all classes, the same on every rank; or the probabilities of the
        classes of this rank, in the shape of `logits_shard`.
    comm : communicator
        Of mpi4py, a process group of torch.distributed, or an object with ``allgather(array)``,
        ``rank`` and ``size``.
    start : int, optional
        The first class of this rank; on all ranks or on none. The default is that the classes of the ranks follow each
        other.
    n_classes : int, optional
        The number of all classes; on all ranks or on none.
    axis, temperature, ignore_index, label_smoothing, z_loss, sample_weight, reduction, denominator
        As for `crossent.cross_entropy`, the same on every rank.
    weight : array_like, (n_classes,), optional
        The weights of all classes, the same on every rank.
    return_grad : bool, default False
        Whether the gradient with respect to `logits_shard` is returned too.
    grad_out : ndarray, optional
        Receives the gradient, as for `crossent.cross_entropy`. Needs `return_grad`.

    Returns
    -------
    loss : NumPy scalar or ndarray
        The same on every rank.
    grad : ndarray in the shape of `logits_shard`
        With `return_grad` only.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `crossent.cross_entropy`, on every rank whichever rank it is that has the bad argument. ValueError also if
        classes are missing or on two ranks, or if the ranks have different rows, targets, weights or options.

    References
    ----------
    M. Shoeybi et al., Megatron-LM (2019), section 3: cross-entropy of a vocabulary that is split, by three all-reduces.

    Examples
    --------
    Of one process, whose communicator has nothing to do:

    >>> from crossent import parallel
    >>> class Alone:
    ...     rank, size = 0, 1
    ...     def allgather(self, array):
    ...         return [array]
    >>> loss, grad = parallel.cross_entropy([[0.0, 0.0]], [1], Alone(), return_grad=True)
    >>> print(f"{loss:.6f}", grad)
    0.693147 [[ 0.5 -0.5]]
    """
    comm = communicator(comm)
    shard: Shard

    def make() -> tuple[Any, list[RowStates]]:
        nonlocal shard
        shard = Shard.of("logits", logits_shard, axis, first, total)
        states = states_of(shard, target, temperature, weight, ignore_index, label_smoothing)
        _check(states.rows, target, weight, z_loss, sample_weight, reduction, denominator)
        check_gradient(shard, return_grad, grad_out)
        return options_of(z_loss, sample_weight, reduction, denominator), [states]

    first, total = gather_places(comm, lambda: count_of_classes(logits_shard, axis), start, n_classes)
    (states,) = gather_states(comm, make)
    if return_grad:
        return loss_and_gradient(
            states, target, shard, weight, z_loss, sample_weight, reduction, denominator, grad_out)
    return loss_of(states, target, weight, z_loss, sample_weight, reduction, denominator)


def count_of_classes(logits: object, axis: Any) -> int:
    return int(Shard.of("logits", logits, axis, 0, 1 << 62).stop)


def options_of(*options: Any) -> list[Any]:
    """What must be the same on all ranks, as JSON has it: arrays by a checksum."""
    return [x if x is None or isinstance(x, (str, int, float)) else checksum(None, x) for x in options]


def check_gradient(shard: Shard, return_grad: bool, grad_out: Array | None) -> None:
    if grad_out is None:
        return
    if not return_grad:
        _validate.refuse_grad_out()
    x = shard.logits
    _validate.output("grad_out", grad_out, x.shape, x.dtype, {"logits": x})


def _check(
    rows: Rows, target: object, weight: object, z_loss: object, sample_weight: object, reduction: object,
    denominator: object,
) -> None:
    """The arguments that are used when all states are known: by a call without logits, on rows of zeros."""
    indices, _ = split_target(target)
    _core.cross_entropy_of_shards(
        rows.whole(), *rows.zeros(), rows.target == "probabilities", None, 0, indices, None,
        len(rows.shape), rows.temperature, weight, rows.ignore_index, rows.label_smoothing, z_loss, sample_weight,
        reduction, denominator, False, None,
    )
