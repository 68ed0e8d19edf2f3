"""Cross-entropy and statistics of rows of which each process has some classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from .. import _numbers, _validate
from .._cross_entropy import cross_entropy as of_one_process
from .._options import OF_GRADIENT, defaults_of, takes_options_of
from ._calls import check_cross_entropy
from ._communicator import communicator, gather_places, gather_state, gather_states
from ._shard_state import ShardState
from ._shards import OF_STATES, Shard, checksum
from ._statistics_state import StatisticsState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .._results import RowStatistics
    from .._types import Array, Loss, Number
    from . import _options
    from ._communicator import Communicator


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
@takes_options_of(of_one_process)
def cross_entropy(
    logits_shard: ArrayLike,
    target: ArrayLike,
    comm: Any,
    *,
    start: int | None = None,
    n_classes: int | None = None,
    **options: Any,
) -> Loss | tuple[Loss, Array]:
    """Cross-entropy of logits of which each process has some classes.

    Every rank calls it with the logits of its classes, of the same rows, and gets the loss and, with `return_grad`, the
    gradient with respect to its own logits. Where all shards begin at multiples of 1,024 classes, as those of
    `shard_range` do, both have the bits of one process that has all classes, whatever the number of ranks is. Otherwise
    they are as accurate.

    The formula is that of `crossent.cross_entropy`, over all classes; so is the smoothing of the labels.

    There is one all-gather of the states (`ShardState.of_shard` says how large they are), before which one of a few
    bytes, if `start` or `n_classes` is not given; none for the gradient. An error on one rank is raised on all.

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
    **options
        As for `crossent.cross_entropy`, the same on every rank, `weight` and `logit_bias` with those of all classes;
        `return_grad` for the gradient with respect to `logits_shard`, which `grad_out` receives.

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

    >>> from types import SimpleNamespace
    >>> from crossent import parallel
    >>> alone = SimpleNamespace(rank=0, size=1, allgather=lambda array: [array])
    >>> loss, grad = parallel.cross_entropy([[0.0, 0.0]], [1], alone, return_grad=True)
    >>> print(f"{loss:.6f}", grad)
    0.693147 [[ 0.5 -0.5]]
    """
    comm = communicator(comm)
    shard: Shard

    def make() -> tuple[Any, list[ShardState]]:
        nonlocal shard
        shard = Shard.of("logits", logits_shard, options["axis"], first, total)
        state = ShardState._of(shard, target, options)
        check_cross_entropy(state.rows, target, options)
        check_gradient(shard, options)
        return same_everywhere(options, OF_STATES), [state]

    first, total = gather_places(comm, lambda: count_of_classes(logits_shard, options["axis"]), start, n_classes)
    (state,) = gather_complete(comm, make)
    if options["return_grad"]:
        return state._loss_and_gradient(target, shard, options, options["grad_out"])
    return state._loss_alone(target, options)


def gather_complete(comm: Communicator, make: Callable[[], tuple[Any, Sequence[ShardState]]]) -> list[ShardState]:
    """The states of all classes, by an all-gather."""
    states = gather_states(comm, ShardState, make)
    for state in states:
        state.rows.refuse_missing(state)
    return states


def count_of_classes(logits: object, axis: Any) -> int:
    return int(Shard.of("logits", logits, axis, 0, 1 << 62).stop)


def same_everywhere(options: Mapping[str, Any], but: Iterable[str] = ()) -> dict[str, Any]:
    """The options that must be the same on all ranks, as JSON has it, arrays by a checksum; `but` for some."""
    return {
        name: x if x is None or isinstance(x, (str, int, float)) else checksum(None, x)
        for name, x in options.items() if name not in ("axis", *OF_GRADIENT, *but)
    }


def check_gradient(shard: Shard, options: Mapping[str, Any]) -> None:
    grad_out, x = options["grad_out"], shard.logits
    if grad_out is None:
        return
    if not options["return_grad"]:
        _validate.refuse_grad_out()
    _validate.output("grad_out", grad_out, x.shape, x.dtype, {"logits": x})


def row_statistics(
    logits_shard: ArrayLike,
    target: ArrayLike | None,
    comm: Any,
    *,
    start: int | None = None,
    n_classes: int | None = None,
    axis: int = -1,
    ignore_index: int | None = -100,
    temperature: ArrayLike = 1.0,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    top_k: int = 0,
) -> RowStatistics:
    """The statistics of rows of logits of which each process has some classes.

    Every rank calls it with the logits of its classes, of the same rows, and gets the statistics over all classes.
    Where all shards begin at multiples of 1,024 classes, as those of `shard_range` do, these have the bits of one
    process that has all classes, whatever the number of ranks is. Otherwise they are as accurate.

    The formulas are those of `crossent.row_statistics`, over all classes.

    There are two all-gathers, of `ShardState` and of `StatisticsState`, whose `of_shard` says how large they are;
    before them one of a few bytes, if `start` or `n_classes` is not given. The logits are read twice. An error on one
    rank is raised on all.

    Parameters
    ----------
    logits_shard : array_like
        The logits of the classes of this rank, of all rows. There may be no class. Padding is left out by the caller.
    target : array_like or None
        The class indices of all rows, counted over all classes, the same on every rank.
    comm, start, n_classes
        As for `cross_entropy`.
    axis : int, default -1
        The class axis.
    ignore_index, temperature, softcap, logit_bias
        As for `crossent.row_statistics`, the same on every rank, `logit_bias` with that of all classes.
    top_k : int, default 0
        How many of the most likely of all classes are wanted of each row, the same on every rank.

    Returns
    -------
    RowStatistics
        As `crossent.row_statistics`, the same on every rank.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `crossent.row_statistics`, on every rank whichever rank it is that has the bad argument. ValueError also if
        classes are missing or on two ranks, or if the ranks have different rows, targets or options.

    References
    ----------
    M. Shoeybi et al., Megatron-LM (2019), section 3: statistics of a vocabulary that is split.

    Examples
    --------
    Of one process, whose communicator has nothing to do:

    >>> from types import SimpleNamespace
    >>> from crossent import parallel
    >>> alone = SimpleNamespace(rank=0, size=1, allgather=lambda array: [array])
    >>> s = parallel.row_statistics([[2.0, 1.0, 0.0], [0.0, 3.0, 3.0]], [1, 2], alone, top_k=2)
    >>> s.rank, s.argmax
    (array([1, 1]), array([0, 1]))
    >>> s.top_k.tolist()
    [[0, 1], [1, 2]]
    """
    comm = communicator(comm)
    shard: Shard
    given = {"temperature": temperature, "softcap": softcap, "logit_bias": logit_bias, "ignore_index": ignore_index}
    options = {**defaults_of(of_one_process), **given}

    def make() -> tuple[Any, list[ShardState]]:
        nonlocal shard, target, top_k
        shard = Shard.of("logits", logits_shard, axis, first, total)
        top_k = _numbers.top_k(top_k, total)
        if target is not None:
            target = _validate.class_indices(target, shard.logits.shape, shard.rows)
        return [top_k], [ShardState._of(shard, target, options)]

    first, total = gather_places(comm, lambda: count_of_classes(logits_shard, axis), start, n_classes)
    (state,) = gather_complete(comm, make)
    statistics = gather_state(
        comm, StatisticsState, lambda: StatisticsState._of(shard, state, target, temperature, logit_bias, top_k))
    return statistics.statistics(state, target)
