"""The state of a divergence in a shard of the classes, made with the states of all classes of student and teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from .. import _core
from .._distillation_loss import distillation_loss
from .._options import OF_GRADIENT, defaults_of, takes_options_of
from ._calls import DistillationTotals, distillation_of
from ._shards import OF_SPEC, RowSpec, Shard, refuse_change, split_target
from ._state import OrderedSums, StateOfSums, in_order
from ._teacher import BIASES, check_arithmetic, check_biases, known_options, share_of_divergence, teacher_of

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .._types import Array, Divergence, Loss, Number
    from . import _options
    from ._shard_state import ShardState
    from ._state import Received

# Options that the states of a divergence have, and those of which its sums are made, in the order of the core.
_OF_STATES = (*OF_SPEC, "teacher_softcap", "divergence", "beta")
_OF_SUMS = ("temperature", "softcap", "logit_bias", "teacher_softcap", "teacher_logit_bias", "divergence", "beta")


@dataclass(frozen=True, eq=False, repr=False)
class DivergenceState(StateOfSums):
    """The partial result of a divergence over the classes from `start` to `stop`, from `of_shard`.

    A divergence takes two steps, as its sums need the normalisers of both whole rows. The first are the `ShardState` of
    student and teacher, without a target and at the temperature of the divergence. The second are these, of which
    `merge` makes one as well. It is pickled as any value.

    Attributes
    ----------
    start, stop : int
        Where these classes begin and end.
    exact : bool
        As of `ShardState`.

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> from crossent import parallel
    >>> x, t = np.random.default_rng(0).normal(size=(2, 3, 2048))
    >>> shards = [(x[:, a : a + 1024], t[:, a : a + 1024], a) for a in (0, 1024)]
    >>> of_shard = parallel.ShardState.of_shard
    >>> student = parallel.merge(*(of_shard(part, None, a, n_classes=2048) for part, _, a in shards))
    >>> teacher = parallel.merge(*(of_shard(part, None, a, n_classes=2048) for _, part, a in shards))
    >>> states = [parallel.DivergenceState.of_shard(*parts, student, teacher, a) for *parts, a in shards]
    >>> states[1]
    DivergenceState(start=1024, stop=2048, exact=True)
    >>> print(f"{parallel.merge(*states).loss(student, teacher):.6f} {xe.kl_div_with_logits(x, t):.6f}")
    0.953074 0.953074
    """

    rows: RowSpec
    divergence: str
    beta: float
    sums: OrderedSums
    teacher: tuple[float | None, str | None] = (None, None)  # its softcap, and the digest of its bias

    @classmethod
    def of_shard(
        cls,
        logits_shard: ArrayLike,
        teacher_logits_shard: ArrayLike,
        state: ShardState,
        teacher_state: ShardState,
        start: int = 0,
        *,
        axis: int | None = None,
        temperature: ArrayLike | None = None,
        logit_bias: ArrayLike | None = None,
        teacher_logit_bias: ArrayLike | None = None,
        divergence: Divergence = "forward",
        beta: float = 0.5,
    ) -> Self:
        """The state of a divergence in a shard of the classes.

        The formula is that of `crossent.kl_div_with_logits`, summed over the classes of each branch in the shard.

        Parameters
        ----------
        logits_shard, teacher_logits_shard : array_like, (N, C_shard, d1, ..., dk)
            The logits of the classes from `start` on.
        state, teacher_state : ShardState
            Of all classes of both, at one temperature. Where one of them was made with a softcap, a bias or
            temperatures of the rows, so must be the other: a `logit_bias` of zeros does.
        start : int, default 0
            The first class of the shard.
        axis : int, optional
            The class axis. The default is 1, or 0 for 1-D logits.
        temperature, logit_bias, teacher_logit_bias : array_like, optional
            The temperatures of the rows, and the biases of all classes, that the states were made with; one temperature
            of all rows is known.
        divergence, beta
            As for `crossent.kl_div_with_logits`.

        Returns
        -------
        DivergenceState
            Of 32 bytes a row for each branch.

        Raises
        ------
        TypeError, ValueError, numpy.exceptions.AxisError
            As `crossent.kl_div_with_logits`; ValueError also if classes are missing, or if the states are of other
            rows, temperatures or biases.
        """
        shard = Shard.like(state.rows, logits_shard, axis, start)
        given = {"logit_bias": logit_bias, "teacher_logit_bias": teacher_logit_bias}
        options = {**given, **known_options(state, teacher_state, temperature), "divergence": divergence, "beta": beta}
        check_biases(state, teacher_state, given)
        teacher_logits = teacher_of(shard, teacher_logits_shard, state.rows.is_transformed)
        return cls._of(state, teacher_state, shard, teacher_logits, options)

    @classmethod
    def _of(
        cls, student: ShardState, teacher: ShardState, shard: Shard, teacher_logits: Array, options: Mapping[str, Any]
    ) -> Self:
        """Of each row the value, then what its gradient needs."""
        rows, how = student.rows, [options[name] for name in _OF_SUMS]
        sums = np.zeros((0, 2 * rows.count, 2))
        if shard.ranges:
            sums = _core.divergence_sums_of_shard(
                student._totals(), teacher._totals(), shard.place, shard.logits, teacher_logits, shard.axis, *how)
        ordered = OrderedSums(shard.start, shard.stop, shard.is_aligned, shard.ends, sums)
        return cls(rows, options["divergence"], float(options["beta"]), ordered, teacher.rows.of_logits)

    @overload
    def loss(
        self, state: ShardState, teacher_state: ShardState, target: ArrayLike | None = None,
        **options: Unpack[_options.DivergenceStateReduced],
    ) -> Number: ...
    @overload
    def loss(
        self, state: ShardState, teacher_state: ShardState, target: ArrayLike | None = None,
        **options: Unpack[_options.DivergenceStateOfRows],
    ) -> Array: ...
    @takes_options_of(distillation_loss, "axis", *_OF_STATES, *BIASES, *OF_GRADIENT)
    def loss(
        self,
        state: ShardState,
        teacher_state: ShardState,
        target: ArrayLike | None = None,
        *,
        cross_entropy_state: ShardState | None = None,
        temperature: ArrayLike | None = None,
        **options: Any,
    ) -> Loss:
        """The distillation loss of the rows, or their divergence alone, from the states of all classes.

        The formula is that of `crossent.distillation_loss`, which has the same bits if the states are ``exact``;
        without a target and with ``scale_by_temperature=False`` it is that of `crossent.kl_div_with_logits`.

        Parameters
        ----------
        state, teacher_state : ShardState
            Those that this state was made with.
        target : array_like, optional
            As for `ShardState.loss`. The default is the divergence alone.
        cross_entropy_state : ShardState, optional
            Of the student's logits with the target, with the softcap and the bias of `state`, at temperature 1. The
            default is `state`, if it is that.
        temperature : array_like, optional
            Those of the rows, as the states were made with; one of all rows is known.
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
            As `crossent.distillation_loss`; ValueError also as `ShardState.loss`.
        """
        totals, options = self._prepared(state, teacher_state, target, cross_entropy_state, temperature, options)
        loss: Loss = distillation_of(self.rows, totals, target, None, None, options)
        return loss

    @takes_options_of(distillation_loss, *_OF_STATES, *OF_GRADIENT)
    def gradient(
        self,
        logits_shard: ArrayLike,
        teacher_logits_shard: ArrayLike,
        state: ShardState,
        teacher_state: ShardState,
        target: ArrayLike | None = None,
        start: int = 0,
        *,
        cross_entropy_state: ShardState | None = None,
        temperature: ArrayLike | None = None,
        out: Array | None = None,
        **options: Any,
    ) -> Array:
        """The gradient of `loss` with respect to the student's logits in a shard of the classes.

        The formula is that of the gradient of `crossent.distillation_loss`, which has the same bits if the states are
        ``exact``.

        Parameters
        ----------
        logits_shard, teacher_logits_shard, start
            As for `of_shard`.
        state, teacher_state, target, cross_entropy_state, temperature, **options
            As for `loss`, `axis`, and the biases as for `of_shard`; of class probabilities those of the shard.
        out : ndarray, optional
            Receives the result: the shape and dtype of the shard. May be `logits_shard` itself.

        Returns
        -------
        ndarray in the shape and dtype of `logits_shard`

        Raises
        ------
        TypeError, ValueError, IndexError, numpy.exceptions.AxisError
            As `loss`.
        """
        shard = Shard.like(state.rows, logits_shard, options["axis"], start)
        totals, options = self._prepared(state, teacher_state, target, cross_entropy_state, temperature, options)
        check_biases(state, teacher_state, options)
        if not shard.ranges:
            return shard.nothing(out)
        teacher_logits = teacher_of(shard, teacher_logits_shard, state.rows.is_transformed)
        grad: Array = distillation_of(self.rows, totals, target, shard, teacher_logits, options, out)[1]
        return grad

    def _totals(
        self, student: ShardState, teacher: ShardState, cross_entropy: ShardState | None
    ) -> DistillationTotals:
        return DistillationTotals(
            student._totals(), teacher._totals(), None if cross_entropy is None else cross_entropy._totals(),
            self.sums.total())

    def _prepared(
        self, state: ShardState, teacher_state: ShardState, target: object, cross_entropy_state: ShardState | None,
        temperature: object, options: Mapping[str, Any],
    ) -> tuple[DistillationTotals, dict[str, Any]]:
        """The totals, and all options of the loss."""
        self.rows.refuse_missing(self)
        state.rows.refuse_other(self.rows)
        of_states = known_options(state, teacher_state, temperature)
        if teacher_state.rows.of_logits != self.teacher:
            refuse_change("teacher_state")
        share = share_of_divergence(options["alpha"], target)
        if share == 0 or (share != 1 and target is None):
            raise ValueError(f"alpha is {share}: expected a number in (0, 1], and 1 or None without a target")
        own = cross_entropy_state or (state if state.rows.is_at_one else None)
        third = own if share < 1 else None
        if share < 1 and (own is None or own.rows.target is None or not own.rows.is_at_one):
            raise ValueError("cross_entropy_state: expected the state of the logits with the target at temperature 1")
        known = dict(defaults_of(distillation_loss))
        if third is not None:
            if third.rows.entropy_weight:
                raise ValueError("cross_entropy_state was made with an entropy_weight, which a distillation has not")
            check_arithmetic("cross_entropy_state", third.rows, state.rows)
            if third.rows.of_logits != state.rows.of_logits:
                raise ValueError("cross_entropy_state: expected one with the softcap and the bias of state")
            third.rows.check_inputs(split_target(target)[0], options["weight"])
            known |= third.rows.options
        elif own is not None:
            known["ignore_index"] = own.rows.ignore_index
        for name, unused in (("teacher_state", teacher_state), *(() if state is third else (("state", state),))):
            if unused.rows.smoothed or unused.rows.target == "probabilities":
                raise ValueError(f"{name} was made with a target that is not used: expected one without a target")
        of_states |= {"divergence": self.divergence, "beta": self.beta, "alpha": share}
        return self._totals(state, teacher_state, third), {**known, **options, **of_states}

    @classmethod
    def _merged(cls, states: Sequence[Self]) -> Self:
        first = states[0]
        for other in states[1:]:
            first.rows.refuse_other(other.rows)
            if (other.divergence, other.beta) != (first.divergence, first.beta):
                raise ValueError("the states are of different divergences: expected one, with the same beta")
            if other.teacher != first.teacher:
                raise ValueError("the states are of different teachers: expected one softcap and one bias")
        ordered = in_order(states, "classes", "state")
        return replace(first, sums=OrderedSums.merge(s.sums for s in ordered))

    def _parts(self) -> tuple[dict[str, Any], Sequence[Array]]:
        facts = {"rows": asdict(self.rows), "divergence": self.divergence, "beta": self.beta, "teacher": self.teacher}
        return {**facts, **self.sums.facts}, [self.sums.nodes]

    @classmethod
    def _of_parts(cls, facts: Any, arrays: Received) -> Self:
        rows = RowSpec.received(facts["rows"])
        sums = OrderedSums.received(facts, arrays, 2 * rows.count)
        softcap, bias = facts["teacher"]
        return cls(rows, facts["divergence"], facts["beta"], sums, (softcap, bias))
