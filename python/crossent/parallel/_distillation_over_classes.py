"""Divergences and distillation of rows of which each process has some classes."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any, overload

from .. import _numbers, _validate
from ._communicator import communicator
from ._cross_entropy_states import nothing
from ._divergence_states import Distillation, Whole, check, computed, from_bytes, sums_of_shard, teacher_of, to_bytes
from ._gathering import gather_places, gather_states, gather_sums
from ._ordered_sums import OrderedSums
from ._over_classes import check_gradient, count_of_classes, cross_entropy, options_of
from ._shards import Shard, states_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .._types import Array, Divergence, Loss, Number, Reduction, ReductionKL
    from . import _options
    from ._row_states import RowStates


@overload
def kl_div_with_logits(
    logits_shard: ArrayLike, teacher_logits_shard: ArrayLike, comm: Any, **options: Unpack[_options.DivergenceReduced]
) -> Number: ...
@overload
def kl_div_with_logits(
    logits_shard: ArrayLike, teacher_logits_shard: ArrayLike, comm: Any, **options: Unpack[_options.DivergenceOfRows]
) -> Array: ...
@overload
def kl_div_with_logits(
    logits_shard: ArrayLike, teacher_logits_shard: ArrayLike, comm: Any,
    **options: Unpack[_options.DivergenceReducedGradient],
) -> tuple[Number, Array]: ...
@overload
def kl_div_with_logits(
    logits_shard: ArrayLike, teacher_logits_shard: ArrayLike, comm: Any,
    **options: Unpack[_options.DivergenceOfRowsGradient],
) -> tuple[Array, Array]: ...
def kl_div_with_logits(
    logits_shard: ArrayLike,
    teacher_logits_shard: ArrayLike,
    comm: Any,
    *,
    start: int | None = None,
    n_classes: int | None = None,
    axis: int | None = None,
    temperature: float = 1.0,
    divergence: Divergence = "forward",
    beta: float = 0.5,
    sample_weight: ArrayLike | None = None,
    reduction: ReductionKL = "batchmean",
    denominator: float | None = None,
    return_grad: bool = False,
    grad_out: Array | None = None,
) -> Loss | tuple[Loss, Array]:
    """Divergence of logits from a teacher's, of which each process has the same classes.

    The formula is that of `crossent.kl_div_with_logits`, over all classes. Bits, accuracy and errors are those of
    `crossent.parallel.cross_entropy`.

    There are two all-gathers, as the sums of a divergence need the normalisers of both whole rows: of the states of
    both, and of 32 bytes a row for each branch; one more of a few bytes without `start` or `n_classes`.

    Parameters
    ----------
    logits_shard, teacher_logits_shard : array_like, (N, C_shard, d1, ..., dk)
        The logits of the classes of this rank, of all rows. There may be no class.
    comm, start, n_classes
        As for `crossent.parallel.cross_entropy`.
    axis, temperature, divergence, beta, sample_weight, reduction, denominator
        As for `crossent.kl_div_with_logits`, the same on every rank.
    return_grad : bool, default False
        Whether the gradient with respect to `logits_shard` is returned too.
    grad_out : ndarray, optional
        Receives the gradient. Needs `return_grad`.

    Returns
    -------
    loss : NumPy scalar or ndarray
        The same on every rank.
    grad : ndarray in the shape of `logits_shard`
        With `return_grad` only.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `crossent.kl_div_with_logits`, on every rank whichever rank it is that has the bad argument; ValueError also
        as `crossent.parallel.cross_entropy`.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, Distilling the knowledge in a neural network (2015).

    Examples
    --------
    Of one process, whose communicator has nothing to do:

    >>> from crossent import parallel
    >>> class Alone:
    ...     rank, size = 0, 1
    ...     def allgather(self, array):
    ...         return [array]
    >>> print(f"{parallel.kl_div_with_logits([[0.0, 0.0]], [[0.0, 2.0]], Alone()):.6f}")
    0.327813
    """
    _check_reduction(reduction, ("none", "mean", "sum", "batchmean"))
    how = Distillation(temperature, divergence, beta, 1.0, False)
    result: Loss | tuple[Loss, Array] = _distilled(
        logits_shard, teacher_logits_shard, None, comm, start, n_classes, axis, how,
        {"weight": None, "ignore_index": -100, "label_smoothing": 0.0}, (0.0, sample_weight, reduction, denominator),
        return_grad, grad_out)
    return result


@overload
def distillation_loss(
    logits_shard: ArrayLike, teacher_logits_shard: ArrayLike, target: ArrayLike | None, comm: Any,
    **options: Unpack[_options.DistillationReduced],
) -> Number: ...
@overload
def distillation_loss(
    logits_shard: ArrayLike, teacher_logits_shard: ArrayLike, target: ArrayLike | None, comm: Any,
    **options: Unpack[_options.DistillationOfRows],
) -> Array: ...
@overload
def distillation_loss(
    logits_shard: ArrayLike, teacher_logits_shard: ArrayLike, target: ArrayLike | None, comm: Any,
    **options: Unpack[_options.DistillationReducedGradient],
) -> tuple[Number, Array]: ...
@overload
def distillation_loss(
    logits_shard: ArrayLike, teacher_logits_shard: ArrayLike, target: ArrayLike | None, comm: Any,
    **options: Unpack[_options.DistillationOfRowsGradient],
) -> tuple[Array, Array]: ...
def distillation_loss(
    logits_shard: ArrayLike,
    teacher_logits_shard: ArrayLike,
    target: ArrayLike | None,
    comm: Any,
    *,
    start: int | None = None,
    n_classes: int | None = None,
    axis: int | None = None,
    temperature: float = 1.0,
    alpha: float | None = None,
    scale_by_temperature: bool = True,
    divergence: Divergence = "forward",
    beta: float = 0.5,
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
    """Knowledge distillation of logits of which each process has some classes.

    The formula is that of `crossent.distillation_loss`, over all classes. Bits, accuracy and errors are those of
    `crossent.parallel.cross_entropy`, collectives those of `crossent.parallel.kl_div_with_logits`.

    Parameters
    ----------
    logits_shard, teacher_logits_shard : array_like, (N, C_shard, d1, ..., dk)
        The logits of the classes of this rank, of all rows. There may be no class.
    target : array_like or None
        As for `crossent.parallel.cross_entropy`, or None for the divergence alone.
    comm, start, n_classes
        As for `crossent.parallel.cross_entropy`.
    axis, temperature, alpha, scale_by_temperature, divergence, beta
        As for `crossent.distillation_loss`, the same on every rank.
    weight, ignore_index, label_smoothing, z_loss, sample_weight, reduction, denominator
        As for `crossent.parallel.cross_entropy`, the same on every rank.
    return_grad : bool, default False
        Whether the gradient with respect to `logits_shard` is returned too.
    grad_out : ndarray, optional
        Receives the gradient. Needs `return_grad`.

    Returns
    -------
    loss : NumPy scalar or ndarray
        The same on every rank.
    grad : ndarray in the shape of `logits_shard`
        With `return_grad` only.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `crossent.distillation_loss`, on every rank whichever rank it is that has the bad argument; ValueError also
        as `crossent.parallel.cross_entropy`.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, Distilling the knowledge in a neural network (2015).

    Examples
    --------
    Of one process, whose communicator has nothing to do:

    >>> from crossent import parallel
    >>> class Alone:
    ...     rank, size = 0, 1
    ...     def allgather(self, array):
    ...         return [array]
    >>> loss = parallel.distillation_loss([[0.0, 0.0]], [[0.0, 2.0]], [1], Alone(), temperature=2.0)
    >>> print(f"{loss:.6f}")
    0.568462
    """
    _check_reduction(reduction, ("none", "mean", "sum"))
    share = _numbers.fraction("alpha", alpha) if alpha is not None else 1.0 if target is None else 0.5
    result: Loss | tuple[Loss, Array]
    if share == 0 and target is not None:
        of_target: Callable[..., Any] = cross_entropy  # one of its overloads would have to be chosen here
        result = of_target(
            logits_shard, target, comm, start=start, n_classes=n_classes, axis=axis, weight=weight,
            ignore_index=ignore_index, label_smoothing=label_smoothing, z_loss=z_loss, sample_weight=sample_weight,
            reduction=reduction, denominator=denominator, return_grad=return_grad, grad_out=grad_out)
        return result
    how = Distillation(temperature, divergence, beta, share, bool(scale_by_temperature))
    options = {"weight": weight, "ignore_index": ignore_index, "label_smoothing": label_smoothing}
    result = _distilled(
        logits_shard, teacher_logits_shard, target, comm, start, n_classes, axis, how, options,
        (z_loss, sample_weight, reduction, denominator), return_grad, grad_out)
    return result


def _check_reduction(reduction: object, known: tuple[str, ...]) -> None:
    if reduction not in known:
        _numbers.refuse_name("reduction", reduction, known)


def _distilled(
    logits: object, teacher_logits: object, target: object, comm: Any, start: int | None, n_classes: int | None,
    axis: int | None, how: Distillation, options: dict[str, Any], weighting: tuple[Any, ...],
    return_grad: bool, grad_out: Array | None,
) -> Any:
    comm = communicator(comm)
    shard: Shard
    teacher: Shard

    def make() -> tuple[Any, list[RowStates]]:
        nonlocal shard, teacher
        if target is None:
            _refuse_without_target(how, options, weighting)
        shard = Shard.of("logits", logits, axis, first, total)
        teacher = shard._replace(logits=teacher_of(shard, teacher_logits))
        plain = (None, how.temperature, None, -100, 0.0)
        of_cross_entropy = (target, 1.0, *options.values())
        states = [states_of(teacher, *plain)]
        if how.alpha < 1:
            if how.temperature != 1:
                states.append(states_of(shard, *plain))
            states.append(states_of(shard, *of_cross_entropy))
        else:
            states.append(states_of(shard, *plain))
        third = states[-1].rows if how.alpha < 1 else None
        check(states[1].rows, how, third, target, options, weighting)
        check_gradient(shard, return_grad, grad_out)
        return [*options_of(*weighting), *astuple(how), *options_of(*options.values())], states

    first, total = gather_places(comm, lambda: count_of_classes(logits, axis), start, n_classes)
    whole = Whole.of(gather_states(comm, make), how.alpha < 1)
    parts = gather_sums(comm, lambda: to_bytes(sums_of_shard(whole, how, shard, teacher.logits)))
    sums = OrderedSums.merge(map(from_bytes, parts)).total()
    if not return_grad:
        return computed(whole, how, sums, None, None, target, options, weighting, None)
    if not shard.ranges:
        return computed(whole, how, sums, None, None, target, options, weighting, None), nothing(shard, grad_out)
    return computed(whole, how, sums, shard, teacher.logits, target, options, weighting, grad_out)


def _refuse_without_target(how: Distillation, options: dict[str, Any], weighting: tuple[Any, ...]) -> None:
    if how.alpha != 1:
        _numbers.refuse_alpha(how.alpha)
    given = {
        "weight": options["weight"] is not None, "ignore_index": options["ignore_index"] != -100,
        "label_smoothing": options["label_smoothing"] != 0, "z_loss": weighting[0] != 0,
    }
    for name, is_given in given.items():
        if is_given:
            _validate.refuse_without_target(name)
