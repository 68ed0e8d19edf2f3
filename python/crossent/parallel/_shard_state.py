"""The state of a shard of the classes: their part of a cross-entropy, or of the normaliser of any loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from .. import _core
from .._cross_entropy import cross_entropy
from .._options import OF_GRADIENT, defaults_of, takes_options_of
from ._calls import Totals, cross_entropy_of, subtrees_of
from ._shards import OF_SPEC, OF_STATES, RowSpec, Shard, split_target
from ._state import Node, State, in_order, merge_siblings, root

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .._types import Array, Loss, Number, Scalar
    from . import _options
    from ._state import Received


@dataclass(frozen=True, eq=False, repr=False)
class ShardState(State):
    """The partial result of the classes from `start` to `stop` of some rows, from `of_shard`.

    The states of all shards become one by `merge`. From that follow the loss and, with the logits of a shard, the
    gradient there; and the normalisers, for which no target is needed. It is pickled as any value.

    Attributes
    ----------
    start, stop : int
        Where these classes begin and end.
    exact : bool
        Whether every shard began at a multiple of 1,024 classes and ended at one or at the last class. Losses and
        gradients then have the bits of one process; else they are as accurate.

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> from crossent import parallel
    >>> rng = np.random.default_rng(0)
    >>> logits, target = rng.normal(size=(4, 3000)), [7, 2500, -100, 1024]
    >>> first = parallel.ShardState.of_shard(logits[:, :1024], target, 0, n_classes=3000)
    >>> second = parallel.ShardState.of_shard(logits[:, 1024:], target, 1024, n_classes=3000)
    >>> second
    ShardState(start=1024, stop=3000, exact=True)
    >>> stored = [second.to_bytes(), first.to_bytes()]
    >>> state = parallel.merge(*map(parallel.ShardState.from_bytes, stored))
    >>> print(state.loss(target) == xe.cross_entropy(logits, target))
    True
    """

    rows: RowSpec
    start: int
    stop: int
    exact: bool
    nodes: tuple[Node[Array], ...]  # numbers of each row: (numbers, rows)
    target_logits: Array | None

    @classmethod
    @takes_options_of(cross_entropy, *(name for name in defaults_of(cross_entropy) if name not in ("axis", *OF_STATES)))
    def of_shard(
        cls, logits_shard: ArrayLike, target: ArrayLike | None = None, start: int = 0, *, n_classes: int, **options: Any
    ) -> Self:
        """The state of a shard of the classes.

        The formula for a row ``x``, whose ``target`` is ``y`` or ``q``, in each branch of the tree over blocks of 1,024
        classes ``c`` that lies in the shard, with the maximum ``m`` of the branch::

            m,  sum_c exp((x[c] - m) / T),  the same without one class of m,  x[y]
            with an entropy_weight:   sum_c exp((x[c] - m) / T) * (m - x[c])
            with smoothing:           sum_c w[c] * (m - x[c])
            with class probabilities: sum_c w[c] * q[c] * (m - x[c])  and  sum_c w[c] * q[c]

        Parameters
        ----------
        logits_shard : array_like, (N, C_shard, d1, ..., dk)
            The logits of the classes from `start` on, of all rows. There may be none.
        target : array_like, optional
            The class indices of all rows, counted over all classes; or the probabilities of the classes of the shard,
            in its shape. None for the normalisers, and for a divergence.
        start : int, default 0
            The first class of the shard. If it is a multiple of 1,024, and the shard ends at one or at the last class,
            the results have the bits of one process.
        n_classes : int
            The number of all classes.
        **options
            As for `crossent.cross_entropy`: `axis`, and what the state depends on. `weight` and `logit_bias` have those
            of all classes, over which labels are smoothed. Of a bias, and of temperatures of the rows, the state has a
            digest alone: where logits are read again, they are given again.

        Returns
        -------
        ShardState
            Of 32 bytes for each branch and row (48 for float64 logits, and with `softcap`, `logit_bias` or temperatures
            of the rows), 8 for a class index, 40 more a branch with smoothing, 64 with class probabilities and 8 (16)
            with an entropy_weight. A shard of n blocks has up to 2 log2(n) branches, and one if n is a power of two and
            `start` a multiple of it.

        Raises
        ------
        TypeError, ValueError, IndexError, numpy.exceptions.AxisError
            As `crossent.cross_entropy`; ValueError also if the shard is not within the `n_classes`.

        References
        ----------
        M. Shoeybi et al., Megatron-LM (2019), section 3: cross-entropy of a vocabulary that is split.
        M. Milakov and N. Gimelshein, Online normalizer calculation for softmax (2018): normalisers that are merged.
        """
        return cls._of(Shard.of("logits", logits_shard, options["axis"], start, n_classes), target, options)

    @classmethod
    def _of(cls, shard: Shard, target: object, options: Mapping[str, Any]) -> Self:
        rows, nodes, target_logits = subtrees_of(shard, target, options)
        return cls(rows, shard.start, shard.stop, shard.is_aligned, nodes, target_logits)

    @overload
    def loss(self, target: ArrayLike | None = None, **options: Unpack[_options.StateReduced]) -> Number: ...
    @overload
    def loss(self, target: ArrayLike | None = None, **options: Unpack[_options.StateOfRows]) -> Array: ...
    @takes_options_of(cross_entropy, "axis", *OF_SPEC, "logit_bias", *OF_GRADIENT)
    def loss(self, target: ArrayLike | None = None, **options: Any) -> Loss:
        """The cross-entropy of the rows, from the state of all classes.

        The formula is that of `crossent.cross_entropy`, which has the same bits if the state is `exact`.

        Parameters
        ----------
        target : array_like, optional
            The class indices that the state was made with; None where these were probabilities.
        **options
            As for `crossent.cross_entropy`; `weight` as the state was made with.

        Returns
        -------
        NumPy scalar or ndarray
            As `crossent.cross_entropy`.

        Raises
        ------
        TypeError, ValueError, IndexError
            As `crossent.cross_entropy`; ValueError also if classes are missing, or if `target` or `weight` are others
            than the state was made with.
        """
        return self._loss_alone(target, options)

    @takes_options_of(cross_entropy, *OF_SPEC, *OF_GRADIENT)
    def gradient(
        self,
        logits_shard: ArrayLike,
        target: ArrayLike | None = None,
        start: int = 0,
        *,
        temperature: ArrayLike | None = None,
        grad_output: ArrayLike | None = None,
        out: Array | None = None,
        **options: Any,
    ) -> Array:
        """The gradient of the cross-entropy with respect to the logits of a shard, from the state of all classes.

        The formula is that of `crossent.cross_entropy_backward`, which has the same bits if the state is `exact`.

        Parameters
        ----------
        logits_shard, target, start
            What the state of this shard was made with.
        temperature : array_like, optional
            Those of the rows, as the state was made with; one of all rows is known.
        grad_output : array_like, optional
            The gradient with respect to the loss: a number, or an array in the shape of the rows if `reduction` is
            ``"none"``. The default is ones.
        out : ndarray, optional
            Receives the result: the shape and dtype of the shard. May be `logits_shard` itself.
        **options
            As for `loss`, `axis`, and `logit_bias` as the state was made with.

        Returns
        -------
        ndarray in the shape and dtype of `logits_shard`

        Raises
        ------
        TypeError, ValueError, IndexError, numpy.exceptions.AxisError
            As `crossent.cross_entropy_backward`; ValueError also as `loss`, and of `temperature` and `logit_bias`.
        """
        shard = Shard.like(self.rows, logits_shard, options["axis"], start)
        options["temperature"] = self.rows.checked_temperature(temperature)
        self.rows.check_bias("logit_bias", options["logit_bias"])
        if grad_output is None:
            return self._loss_and_gradient(target, shard, options, out)[1]
        if not shard.ranges:
            return shard.nothing(out)
        grad: Array = self._cross_entropy(target, shard, options, grad_output, out)
        return grad

    def _loss_alone(self, target: object, options: Mapping[str, Any]) -> Loss:
        loss: Loss = self._cross_entropy(target, None, options)
        return loss

    def _loss_and_gradient(
        self, target: object, shard: Shard, options: Mapping[str, Any], out: object
    ) -> tuple[Loss, Array]:
        if not shard.ranges:
            return self._loss_alone(target, options), shard.nothing(out)
        loss, grad = self._cross_entropy(target, shard, options, None, out)
        return loss, grad

    def _cross_entropy(
        self, target: object, shard: Shard | None, options: Mapping[str, Any], *gradient: object
    ) -> Any:
        rows, (indices, _) = self.rows, split_target(target)
        if rows.target is None:
            raise ValueError("the state was made without a target: expected one with a target")
        if (rows.target == "indices") != (indices is not None) or (shard is not None and target is None):
            expected = "class indices" if rows.target == "indices" else "the probabilities of the shard"
            raise ValueError(f"target: expected {expected}, as the state was made with")
        rows.check_inputs(indices, options["weight"])
        return cross_entropy_of(rows, self._totals(), target, shard, options, *gradient)

    def softmax(
        self,
        logits_shard: ArrayLike,
        start: int = 0,
        *,
        axis: int = -1,
        temperature: ArrayLike | None = None,
        logit_bias: ArrayLike | None = None,
        out: Array | None = None,
    ) -> Array:
        """The softmax of the rows in a shard of the classes, from the state of all classes.

        The formula is that of `crossent.softmax` with the temperature and the softcap of the state, the sum being over
        all classes. It has the bits of one process if the state is `exact`. It needs no target.

        Parameters
        ----------
        logits_shard : array_like, (..., C_shard, ...)
            The logits of the classes from `start` on.
        start : int, default 0
            The first class of the shard.
        axis : int, default -1
            The class axis.
        temperature, logit_bias : array_like, optional
            The temperatures of the rows, and the bias of all classes, as the state was made with; one temperature of
            all rows is known.
        out : ndarray, optional
            Receives the result: the shape and dtype of the shard. May be `logits_shard` itself.

        Returns
        -------
        ndarray in the shape and dtype of `logits_shard`

        Raises
        ------
        TypeError, ValueError, numpy.exceptions.AxisError
            As `crossent.softmax`; ValueError also if classes are missing, or if the state is of other rows or options.

        Examples
        --------
        >>> from crossent import parallel
        >>> state = parallel.ShardState.of_shard([[0.0, 0.0]], n_classes=2)
        >>> print(state.softmax([[0.0, 0.0]]))
        [[0.5 0.5]]
        """
        return self._normalised(_core.softmax_of_shard, logits_shard, start, axis, temperature, logit_bias, out)

    def log_softmax(
        self,
        logits_shard: ArrayLike,
        start: int = 0,
        *,
        axis: int = -1,
        temperature: ArrayLike | None = None,
        logit_bias: ArrayLike | None = None,
        out: Array | None = None,
    ) -> Array:
        """The logarithm of `softmax`, with its arguments and errors. The formula is that of `crossent.log_softmax`."""
        return self._normalised(_core.log_softmax_of_shard, logits_shard, start, axis, temperature, logit_bias, out)

    def logsumexp(self) -> Scalar | Array:
        """The logsumexp of the rows, from the state of all classes, with its temperature, softcap and bias.

        The formula is that of `crossent.logsumexp`, which has the same bits if the state is `exact`. ValueError if
        classes are missing.
        """
        return _core.logsumexp_of_shards(self._totals(), self.rows.place(), len(self.rows.shape))

    def _normalised(
        self, core: Callable[..., Array], logits: object, start: object, axis: object, temperature: object,
        logit_bias: object, out: object,
    ) -> Array:
        rows = self.rows
        shard = Shard.like(rows, logits, axis, start)
        temperature = rows.checked_temperature(temperature)
        rows.check_bias("logit_bias", logit_bias)
        if not shard.ranges:
            return shard.nothing(out)
        return core(
            self._totals(), shard.place, shard.logits, shard.axis, temperature, rows.softcap, logit_bias, out)

    def _totals(self) -> Totals:
        """Of all classes; ValueError if some are missing."""
        self.rows.refuse_missing(self)
        return Totals.of(self.rows, root(list(self.nodes), self._merge_two), self.target_logits)

    def _merge_two(self, left: Array, right: Array) -> Array:
        return _core.merge_partial_states(left, right, *self.rows.format)

    @classmethod
    def _merged(cls, states: Sequence[Self]) -> Self:
        for other in states[1:]:
            states[0].rows.refuse_other(other.rows)
        ordered = in_order(states, "classes", "state")
        first, exact = ordered[0], all(s.exact for s in ordered)
        nodes = [node for s in ordered for node in s.nodes]
        if exact:
            nodes = merge_siblings(nodes, first._merge_two)
        if nodes and (not exact or (first.start == 0 and ordered[-1].stop == first.rows.n_classes)):
            nodes = [Node(nodes[0].begin, nodes[-1].end, root(nodes, first._merge_two))]
        logits = [s.target_logits for s in ordered if s.target_logits is not None]
        target_logits = np.sum(logits, axis=0) if logits else None  # of each row it is 0 in all states but one
        return cls(first.rows, first.start, ordered[-1].stop, exact, tuple(nodes), target_logits)

    def _parts(self) -> tuple[dict[str, Any], Sequence[Array]]:
        facts = {
            "rows": asdict(self.rows), "start": self.start, "stop": self.stop, "exact": self.exact,
            "nodes": [node[:2] for node in self.nodes], "target_logits": self.target_logits is not None,
        }
        arrays = [node.value for node in self.nodes]
        return facts, arrays if self.target_logits is None else [*arrays, self.target_logits]

    @classmethod
    def _of_parts(cls, facts: Any, arrays: Received) -> Self:
        rows, places = RowSpec.received(facts["rows"]), [tuple(place) for place in facts["nodes"]]
        numbers = arrays.array(len(places), rows.numbers, rows.count)
        target_logits = arrays.array(rows.count) if facts["target_logits"] else None
        nodes = tuple(Node(begin, end, x) for (begin, end), x in zip(places, numbers, strict=True))
        return cls(rows, facts["start"], facts["stop"], facts["exact"], nodes, target_logits)
