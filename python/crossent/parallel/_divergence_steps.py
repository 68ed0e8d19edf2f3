"""Divergences and distillation of rows whose classes are in shards, without a communicator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import crossent

from .._options import OF_GRADIENT, defaults_of, takes_options_of
from ._cross_entropy_states import nothing, shard_like
from ._divergence_sums import DivergenceSums, Whole, computed, share_of_divergence, teacher_of
from ._row_states import KNOWN, refuse_missing_classes, refuse_other_rows
from ._shards import check_same, split_target

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .._types import Array, Divergence, Loss, Number
    from . import _options
    from ._row_states import RowStates


# Options that the states and the sums of a divergence have.
OF_SUMS = (*KNOWN, "divergence", "beta")


def partial_divergence(
    logits_shard: ArrayLike,
    teacher_logits_shard: ArrayLike,
    states: RowStates,
    teacher_states: RowStates,
    start: int = 0,
    *,
    axis: int | None = None,
    divergence: Divergence = "forward",
    beta: float = 0.5,
) -> DivergenceSums:
    """What a divergence comes to in a shard of the classes.

    The second step of a divergence, which needs the normalisers of both whole rows: the states of all classes of
    student and teacher, made by `partial` at the temperature of the divergence and put together by `merge`. The sums of
    all shards are put together by `DivergenceSums.merge`, and are what `finish_distillation` and
    `gradient_distillation` go on from.

    The formula is that of `crossent.kl_div_with_logits`, summed over the classes of each branch in the shard.

    Parameters
    ----------
    logits_shard, teacher_logits_shard : array_like, (N, C_shard, d1, ..., dk)
        The logits of the classes from `start` on.
    states, teacher_states : RowStates
        Of all classes of both, at one temperature.
    start : int, default 0
        The first class of the shard.
    axis : int, optional
        The class axis. The default is 1, or 0 for 1-D logits.
    divergence, beta
        As for `crossent.kl_div_with_logits`.

    Returns
    -------
    DivergenceSums
        Of 32 bytes a row for each branch.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `crossent.kl_div_with_logits`; ValueError also if classes are missing, or if the states are of other rows.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, Distilling the knowledge in a neural network (2015).

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> from crossent import parallel
    >>> rng = np.random.default_rng(0)
    >>> x, t = rng.normal(size=(2, 3, 2048))
    >>> starts = (0, 1024)
    >>> shards = [(x[:, a : a + 1024], t[:, a : a + 1024]) for a in starts]
    >>> student, teacher = (
    ...     parallel.merge(*(parallel.partial(pair[k], None, a, n_classes=2048) for pair, a in zip(shards, starts)))
    ...     for k in (0, 1))
    >>> sums = parallel.DivergenceSums.merge(*(
    ...     parallel.partial_divergence(*pair, student, teacher, a) for pair, a in zip(shards, starts)))
    >>> loss = parallel.finish_distillation(student, teacher, sums)
    >>> print(f"{loss:.6f} {xe.kl_div_with_logits(x, t):.6f}")
    0.953074 0.953074
    """
    options = {"temperature": _temperature(states, teacher_states), "divergence": divergence, "beta": beta}
    shard = shard_like(states, logits_shard, start, axis)
    teacher = teacher_of(shard, teacher_logits_shard)
    return DivergenceSums.of_shard(Whole(states, teacher_states, None), options, shard, teacher)


@overload
def finish_distillation(
    states: RowStates, teacher_states: RowStates, sums: DivergenceSums, target: ArrayLike | None = None,
    **options: Unpack[_options.FinishDistillationReduced],
) -> Number: ...
@overload
def finish_distillation(
    states: RowStates, teacher_states: RowStates, sums: DivergenceSums, target: ArrayLike | None = None,
    **options: Unpack[_options.FinishDistillationOfRows],
) -> Array: ...
@takes_options_of(crossent.distillation_loss, "axis", *OF_SUMS, *OF_GRADIENT)
def finish_distillation(
    states: RowStates,
    teacher_states: RowStates,
    sums: DivergenceSums,
    target: ArrayLike | None = None,
    *,
    cross_entropy_states: RowStates | None = None,
    **options: Any,
) -> Loss:
    """The distillation loss of rows, or their divergence alone, from the states of all classes.

    The formula is that of `crossent.distillation_loss`, which has the same bits if states and sums are `exact`; without
    a target and with ``scale_by_temperature=False`` it is that of `crossent.kl_div_with_logits`.

    Parameters
    ----------
    states, teacher_states : RowStates
        Of all classes of student and teacher.
    sums : DivergenceSums
        Of all classes.
    target : array_like, optional
        As for `finish`. The default is the divergence alone.
    cross_entropy_states : RowStates, optional
        Of the student's logits with the target, at temperature 1. The default is `states`, if they are that.
    **options
        As for `crossent.distillation_loss`; `alpha` > 0, `weight` as the states were made with. `reduction` may be
        ``"batchmean"``, another name of the mean.

    Returns
    -------
    NumPy scalar or ndarray
        As `crossent.distillation_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `crossent.distillation_loss`; ValueError also as `finish`.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, Distilling the knowledge in a neural network (2015).

    Examples
    --------
    >>> from crossent import parallel
    >>> student, teacher = ([[0.0, 0.0]], [[0.0, 2.0]])
    >>> states = parallel.partial(student, [1], n_classes=2)
    >>> of_teacher = parallel.partial(teacher, n_classes=2)
    >>> sums = parallel.partial_divergence(student, teacher, states, of_teacher)
    >>> print(f"{parallel.finish_distillation(states, of_teacher, sums, [1], alpha=0.5):.6f}")
    0.510480
    """
    whole, options = _prepared(states, teacher_states, sums, target, cross_entropy_states, options)
    loss: Loss = computed(whole, options, sums.sums.total(), None, None, target, None)
    return loss


@takes_options_of(crossent.distillation_loss, *OF_SUMS, *OF_GRADIENT)
def gradient_distillation(
    logits_shard: ArrayLike,
    teacher_logits_shard: ArrayLike,
    states: RowStates,
    teacher_states: RowStates,
    sums: DivergenceSums,
    target: ArrayLike | None = None,
    start: int = 0,
    *,
    cross_entropy_states: RowStates | None = None,
    out: Array | None = None,
    **options: Any,
) -> Array:
    """The gradient of the distillation loss of rows with respect to the student's logits in a shard of the classes.

    The formula is that of the gradient of `crossent.distillation_loss`, which has the same bits if states and sums are
    `exact`.

    Parameters
    ----------
    logits_shard, teacher_logits_shard : array_like, (N, C_shard, d1, ..., dk)
        The logits of the classes from `start` on.
    states, teacher_states, sums, target
        As for `finish_distillation`; of class probabilities those of the shard.
    start : int, default 0
        The first class of the shard.
    cross_entropy_states, **options
        As for `finish_distillation`, and `axis`.
    out : ndarray, optional
        Receives the result: the shape and dtype of the shard. May be `logits_shard` itself.

    Returns
    -------
    ndarray in the shape and dtype of `logits_shard`

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `finish_distillation`.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, Distilling the knowledge in a neural network (2015).

    Examples
    --------
    >>> from crossent import parallel
    >>> student, teacher = ([[0.0, 0.0]], [[0.0, 2.0]])
    >>> states, of_teacher = (parallel.partial(x, n_classes=2) for x in (student, teacher))
    >>> sums = parallel.partial_divergence(student, teacher, states, of_teacher)
    >>> print(parallel.gradient_distillation(student, teacher, states, of_teacher, sums).round(6))
    [[ 0.380797 -0.380797]]
    """
    shard = shard_like(states, logits_shard, start, options["axis"])
    whole, options = _prepared(states, teacher_states, sums, target, cross_entropy_states, options)
    if not shard.ranges:
        return nothing(shard, out)
    teacher = teacher_of(shard, teacher_logits_shard)
    _, grad = computed(whole, options, sums.sums.total(), shard, teacher, target, out)
    result: Array = grad
    return result


def _temperature(states: RowStates, teacher_states: RowStates) -> float:
    rows, of_teacher = states.rows, teacher_states.rows
    for name in ("shape", "n_classes", "temperature"):
        one, other = getattr(rows, name), getattr(of_teacher, name)
        if one != other:
            raise ValueError(f"the states of student and teacher do not fit: {name} is {one!r} and {other!r}")
    return rows.temperature


def _prepared(
    states: RowStates, teacher_states: RowStates, sums: DivergenceSums, target: object,
    cross_entropy_states: RowStates | None, options: Mapping[str, Any],
) -> tuple[Whole, dict[str, Any]]:
    """The states that count, and all options of the loss."""
    refuse_missing_classes(sums, states.rows.n_classes)
    refuse_other_rows(states.rows, sums.rows)
    share = share_of_divergence(options["alpha"], target)
    if share == 0 or (share != 1 and target is None):
        raise ValueError(f"alpha is {share}: expected a number in (0, 1], and 1 or None without a target")
    own = cross_entropy_states or (states if states.rows.temperature == 1 else None)
    third = own if share < 1 else None
    if share < 1 and (own is None or own.rows.target is None or own.rows.temperature != 1):
        raise ValueError("cross_entropy_states: expected the states of the logits with the target at temperature 1")
    known = dict(defaults_of(crossent.distillation_loss))
    if third is not None:
        check_same(third, split_target(target)[0], options["weight"])
        known |= third.rows.options
    elif own is not None:
        known["ignore_index"] = own.rows.ignore_index
    for name, unused in (("teacher_states", teacher_states), *(() if states is third else (("states", states),))):
        if unused.rows.smoothed or unused.rows.target == "probabilities":
            raise ValueError(f"{name} were made with a target that is not used: expected states without one")
    of_sums = {
        "temperature": _temperature(states, teacher_states), "divergence": sums.divergence, "beta": sums.beta,
        "alpha": share,
    }
    return Whole(states, teacher_states, third), {**known, **options, **of_sums}
