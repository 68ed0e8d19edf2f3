"""Divergences and distillation of rows of which each process has some classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

import crossent

from .. import _numbers
from .._cross_entropy import cross_entropy as of_one_process
from .._options import defaults_of, refuse_options_of_target, takes_options_of
from ._calls import check_distillation, distillation_of
from ._communicator import communicator, gather_places, gather_state
from ._divergence_state import DivergenceState
from ._over_classes import check_gradient, count_of_classes, cross_entropy, gather_complete, same_everywhere
from ._shard_state import ShardState
from ._shards import Shard
from ._teacher import options_of_both, share_of_divergence, teacher_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .._types import Array, Loss, Number
    from . import _options


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
@takes_options_of(crossent.kl_div_with_logits)
def kl_div_with_logits(
    logits_shard: ArrayLike,
    teacher_logits_shard: ArrayLike,
    comm: Any,
    *,
    start: int | None = None,
    n_classes: int | None = None,
    **options: Any,
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
    **options
        As for `crossent.kl_div_with_logits`, the same on every rank, both biases with those of all classes;
        `return_grad` for the gradient with respect to `logits_shard`, which `grad_out` receives.

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

    >>> from types import SimpleNamespace
    >>> from crossent import parallel
    >>> alone = SimpleNamespace(rank=0, size=1, allgather=lambda array: [array])
    >>> print(f"{parallel.kl_div_with_logits([[0.0, 0.0]], [[0.0, 2.0]], alone):.6f}")
    0.327813
    """
    _check_reduction(options["reduction"], ("none", "mean", "sum", "batchmean"))
    alone = {"alpha": 1.0, "scale_by_temperature": False}
    result: Loss | tuple[Loss, Array] = _distilled(
        logits_shard, teacher_logits_shard, None, comm, start, n_classes,
        {**defaults_of(crossent.distillation_loss), **options, **alone})
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
@takes_options_of(crossent.distillation_loss)
def distillation_loss(
    logits_shard: ArrayLike,
    teacher_logits_shard: ArrayLike,
    target: ArrayLike | None,
    comm: Any,
    *,
    start: int | None = None,
    n_classes: int | None = None,
    **options: Any,
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
    **options
        As for `crossent.distillation_loss`, the same on every rank, `weight` and both biases with those of all classes;
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
        As `crossent.distillation_loss`, on every rank whichever rank it is that has the bad argument; ValueError also
        as `crossent.parallel.cross_entropy`.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, Distilling the knowledge in a neural network (2015).

    Examples
    --------
    Of one process, whose communicator has nothing to do:

    >>> from types import SimpleNamespace
    >>> from crossent import parallel
    >>> alone = SimpleNamespace(rank=0, size=1, allgather=lambda array: [array])
    >>> loss = parallel.distillation_loss([[0.0, 0.0]], [[0.0, 2.0]], [1], alone, temperature=2.0)
    >>> print(f"{loss:.6f}")
    0.568462
    """
    _check_reduction(options["reduction"], ("none", "mean", "sum"))
    options["alpha"] = share_of_divergence(options["alpha"], target)
    if options["alpha"] == 0 and target is not None:
        of_target: Callable[..., Any] = cross_entropy  # one of its overloads would have to be chosen here
        shared = options.keys() & defaults_of(of_one_process).keys() - {"temperature"}
        alone = {name: options[name] for name in shared}
        result: Loss | tuple[Loss, Array] = of_target(
            logits_shard, target, comm, start=start, n_classes=n_classes, **alone)
        return result
    result = _distilled(logits_shard, teacher_logits_shard, target, comm, start, n_classes, options)
    return result


def _check_reduction(reduction: object, known: tuple[str, ...]) -> None:
    if reduction not in known:
        _numbers.refuse_name("reduction", reduction, known)


def _distilled(
    logits: object, teacher_logits: object, target: object, comm: Any, start: int | None, n_classes: int | None,
    options: Mapping[str, Any],
) -> Any:
    comm = communicator(comm)
    shard: Shard
    teacher: Shard
    has_cross_entropy, temperature = options["alpha"] < 1, options["temperature"]

    def make() -> tuple[Any, list[ShardState]]:
        nonlocal shard, teacher, options
        if target is None:
            if options["alpha"] != 1:
                _numbers.refuse_alpha(options["alpha"])
            refuse_options_of_target(options)
        shard = Shard.of("logits", logits, options["axis"], first, total)
        options, of_student, of_teacher = options_of_both(options, total)
        teacher = shard._replace(logits=teacher_of(shard, teacher_logits, options["logit_bias"] is not None))
        plain = {**defaults_of(of_one_process), "temperature": temperature}
        states = [ShardState._of(teacher, None, {**plain, **of_teacher})]
        if not has_cross_entropy or np.ndim(temperature) > 0 or temperature != 1:
            states.append(ShardState._of(shard, None, {**plain, **of_student}))
        if has_cross_entropy:
            states.append(ShardState._of(shard, target, {**options, "temperature": 1.0}))
        check_distillation(states[1].rows, states[-1].rows if has_cross_entropy else None, target, options)
        check_gradient(shard, options)
        return same_everywhere(options), states

    first, total = gather_places(comm, lambda: count_of_classes(logits, options["axis"]), start, n_classes)
    of_teacher, student, *others = gather_complete(comm, make)
    state = gather_state(
        comm, DivergenceState, lambda: DivergenceState._of(student, of_teacher, shard, teacher.logits, options))
    cross_entropy_state = (others[0] if others else student) if has_cross_entropy else None
    totals = state._totals(student, of_teacher, cross_entropy_state)
    if options["return_grad"] and shard.ranges:
        return distillation_of(student.rows, totals, target, shard, teacher.logits, options, options["grad_out"])
    loss = distillation_of(student.rows, totals, target, None, None, options)
    return (loss, shard.nothing(options["grad_out"])) if options["return_grad"] else loss
