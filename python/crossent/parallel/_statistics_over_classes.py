"""Statistics of rows of which each process has some classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _numbers, _validate
from .._cross_entropy import cross_entropy
from .._options import defaults_of
from ._communicator import communicator
from ._gathering import gather_places, gather_states, gather_sums
from ._over_classes import count_of_classes
from ._shard_statistics import ShardStatistics
from ._shards import Shard, states_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._results import RowStatistics
    from ._row_states import RowStates


def row_statistics(
    logits_shard: ArrayLike,
    target: ArrayLike | None,
    comm: Any,
    *,
    start: int | None = None,
    n_classes: int | None = None,
    axis: int = -1,
    ignore_index: int | None = -100,
    temperature: float = 1.0,
    top_k: int = 0,
) -> RowStatistics:
    """The statistics of rows of logits of which each process has some classes.

    Every rank calls it with the logits of its classes, of the same rows, and gets the statistics over all classes.
    Where all shards begin at multiples of 1,024 classes, as those of `shard_range` do, these have the bits of one
    process that has all classes, whatever the number of ranks is. Otherwise they are as accurate.

    The formulas are those of `crossent.row_statistics`, over all classes.

    There are two all-gathers: of the states of the rows (`partial` says how large they are), and of what needs those of
    all ranks (`partial_statistics`); before them one of a few bytes, if `start` or `n_classes` is not given. The logits
    are read twice. An error on one rank is an error on every rank.

    Parameters
    ----------
    logits_shard : array_like
        The logits of the classes of this rank, of all rows. There may be no class. Padding is left out by the caller.
    target : array_like or None
        The class indices of all rows, counted over all classes, the same on every rank.
    comm : communicator
        Of mpi4py, a process group of torch.distributed, or an object with ``allgather(array)``,
        ``rank`` and ``size``.
    start : int, optional
        The first class of this rank; on all ranks or on none. The default is that the classes of the ranks follow each
        other.
    n_classes : int, optional
        The number of all classes; on all ranks or on none.
    axis : int, default -1
        The class axis.
    ignore_index, temperature
        As for `crossent.row_statistics`, the same on every rank.
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

    >>> from crossent import parallel
    >>> class Alone:
    ...     rank, size = 0, 1
    ...     def allgather(self, array):
    ...         return [array]
    >>> s = parallel.row_statistics([[2.0, 1.0, 0.0], [0.0, 3.0, 3.0]], [1, 2], Alone(), top_k=2)
    >>> s.rank, s.argmax
    (array([1, 1]), array([0, 1]))
    >>> s.top_k.tolist()
    [[0, 1], [1, 2]]
    """
    comm = communicator(comm)
    shard: Shard
    options = {**defaults_of(cross_entropy), "temperature": temperature, "ignore_index": ignore_index}

    def make() -> tuple[Any, list[RowStates]]:
        nonlocal shard, target, top_k
        shard = Shard.of("logits", logits_shard, axis, first, total)
        top_k = _numbers.top_k(top_k, total)
        if target is not None:
            target = _validate.class_indices(target, shard.logits.shape, shard.rows)
        return [top_k], [states_of(shard, target, options)]

    first, total = gather_places(comm, lambda: count_of_classes(logits_shard, axis), start, n_classes)
    (states,) = gather_states(comm, make)
    parts = gather_sums(comm, lambda: ShardStatistics.of_shard(shard, states, target, top_k).to_bytes())
    return ShardStatistics.merge(*map(ShardStatistics.from_bytes, parts)).finish(states, target)
