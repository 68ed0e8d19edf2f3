"""The sums of a loss over some rows of a larger batch, as a state that is merged with those of the other rows."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

import crossent

from .. import _core, _numbers
from ._state import OrderedSums, StateOfSums

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .._types import Array, Number
    from ._state import Received


# Those of which the core has the sums; of losses of elements these are the rows.
LOSSES = tuple(getattr(crossent, name) for name in crossent.__all__ if hasattr(_core, f"{name}_sums"))


class BlockSums(NamedTuple):
    """The sums of blocks of 1,024 rows of a call."""

    sums: Array
    """(terms, blocks, 2)"""
    rows: int
    shares: tuple[float, ...]
    """Of the terms in the loss."""
    dtype: np.dtype[Any]
    """Of the loss."""


@dataclass(frozen=True)
class LossCall:
    """A loss and its arguments but for the reduction."""

    name: str
    arguments: tuple[Any, ...]

    @classmethod
    def of(cls, loss: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> LossCall:
        if not any(loss is known for known in LOSSES):
            *names, last = (f"crossent.{known.__name__}" for known in LOSSES)
            raise TypeError(f"loss is {loss!r}: expected {', '.join(names)} or {last}")
        signature = inspect.signature(loss)
        for name in ("reduction", "denominator", "return_grad", "grad_out"):
            if name in options:
                raise TypeError(f"{name} was given for some of the rows: expected it where their sums are finished")
        given = signature.bind(*arguments, **options)
        given.apply_defaults()
        *values, _, _ = (given.arguments | {"reduction": "sum", "denominator": None}).values()
        return cls(loss.__name__, tuple(values))

    def weights(self, return_grad: bool = False, grad_out: Array | None = None) -> BlockSums:
        """The sums of what a mean divides by. All arguments are checked; nothing is written."""
        return self._sums(None, return_grad and grad_out is not None, grad_out)[0]

    def losses(self) -> BlockSums:
        return self._sums((1.0, 1.0), False, None)[0]

    def losses_and_gradient(self, denominators: tuple[float, ...], grad_out: Array | None) -> tuple[BlockSums, Array]:
        """`denominators`: of each term."""
        blocks, gradient = self._sums((denominators[0], denominators[-1]), True, grad_out)
        return blocks, gradient

    def _sums(
        self, denominators: tuple[float, float] | None, return_grad: bool, grad_out: Array | None
    ) -> tuple[BlockSums, Any]:
        function = getattr(_core, f"{self.name}_sums")
        result, *others = function(denominators, *self.arguments, return_grad, grad_out)
        sums, gradient = result if return_grad else (result, None)
        return BlockSums(sums, *others), gradient


REDUCTIONS = ("mean", "sum")


@dataclass(frozen=True, eq=False, repr=False)
class RowSums(StateOfSums):
    """The partial result of a loss over the rows from `start` to `stop` of a batch, from `of_rows`.

    `merge` makes one state of those of all rows, whose `loss` is the loss of all rows. It is pickled as any value.

    Attributes
    ----------
    start, stop : int
        Where these rows begin and end.
    exact : bool
        Whether no part began within a block of 1,024 rows. The loss of all rows then has the bits of one call; else it
        is within 4 ULP of the exact reduction, as that is, and nearly always has the same bits.

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> from crossent import parallel
    >>> rng = np.random.default_rng(0)
    >>> logits, target = rng.normal(size=(3000, 10)), rng.integers(0, 10, 3000)
    >>> first = parallel.RowSums.of_rows(xe.cross_entropy, logits[:2048], target[:2048])
    >>> second = parallel.RowSums.of_rows(xe.cross_entropy, logits[2048:], target[2048:], start=2048)
    >>> second
    RowSums(start=2048, stop=3000, exact=True)
    >>> received = parallel.RowSums.from_bytes(second.to_bytes())
    >>> print(parallel.merge(received, first).loss() == xe.cross_entropy(logits, target))
    True
    """

    sums: OrderedSums  # of the losses of each term, then of their weights
    _shares: tuple[float, ...]
    _dtype: np.dtype[Any]

    @classmethod
    def of_rows(cls, loss: Callable[..., Any], *arguments: Any, start: int = 0, **options: Any) -> Self:
        """The sums of a loss over some rows of a larger batch.

        The loss of all rows has the bits of one call on them, if each part of the rows begins at a multiple of 1,024.

        The formula for the rows of one part, with the losses ``l`` and what a mean divides by, the weights ``v w[y]``::

            sums = (sum_i l[i], sum_i v[i] * w[y[i]])

        each as a few numbers of twice the precision of float64. `distillation_loss` has two terms, and sums of each.

        Parameters
        ----------
        loss : function
            One of those that `over_rows` takes.
        *arguments
            The arrays that `loss` takes, of these rows.
        start : int, default 0
            How many rows of the batch come before these. Rows count in the C order of the axes without the class axis.
        **options
            The options of `loss`, but for `reduction`, `denominator`, `return_grad` and `grad_out`.

        Returns
        -------
        RowSums
            Of some hundred bytes, which grow with the logarithm of the number of rows.

        Raises
        ------
        TypeError
            If `loss` is another function or an argument is not one of those above.
        TypeError, ValueError, IndexError, numpy.exceptions.AxisError
            As `loss`; ValueError also if `start` is negative.
        """
        start = checked_start(start)
        call = LossCall.of(loss, arguments, options)
        weights = call.weights()
        return cls._of(call.losses(), weights, start)

    @classmethod
    def _of(cls, losses: BlockSums, weights: BlockSums, start: int) -> Self:
        columns = np.concatenate((losses.sums, weights.sums))
        return cls(OrderedSums.of_blocks(start, losses.rows, columns), losses.shares, losses.dtype)

    @property
    def denominators(self) -> tuple[float, ...]:
        """What the mean over these rows divides by, of each term: one number, or two of `distillation_loss`."""
        return denominators_of(self.sums.total()[len(self._shares) :])

    def loss(self, *, reduction: str = "mean", denominator: float | None = None) -> Number:
        """The loss of all rows, as the loss function gives it for ``"mean"`` or ``"sum"`` and this `denominator`.

        ValueError if `start` is not 0.
        """
        given = given_denominators(reduction, denominator, len(self._shares))
        losses = self.sums.total()[: len(self._shares)]
        return finished(losses, given or self.denominators, self._shares, self._dtype)

    @classmethod
    def _merged(cls, states: Sequence[Self]) -> Self:
        first = states[0]
        for other in states[1:]:
            if (other._shares, other._dtype) != (first._shares, first._dtype):
                raise ValueError("the sums are of different losses, options or dtypes: expected those of one batch")
        return cls(OrderedSums.merge(part.sums for part in states), first._shares, first._dtype)

    def _parts(self) -> tuple[dict[str, Any], Sequence[Array]]:
        return {**self.sums.facts, "shares": self._shares, "dtype": self._dtype.name}, [self.sums.nodes]

    @classmethod
    def _of_parts(cls, facts: Any, arrays: Received) -> Self:
        shares, dtype = tuple(facts["shares"]), facts["dtype"]
        if dtype not in ("float32", "float64"):
            raise ValueError
        return cls(OrderedSums.received(facts, arrays, 2 * len(shares)), shares, np.dtype(dtype))


def checked_start(start: object) -> int:
    first = _numbers.whole_number("start", start)
    if first < 0:
        raise ValueError(f"start is {first}: expected the number of rows before these, >= 0")
    return first


def given_denominators(reduction: str, denominator: float | None, terms: int) -> tuple[float, ...] | None:
    """The denominators of the terms as far as the arguments have them: None for those of a mean over the rows."""
    if reduction not in REDUCTIONS:
        _numbers.refuse_name("reduction", reduction, REDUCTIONS)
    if denominator is None:
        return None if reduction == "mean" else (1.0,) * terms
    if reduction != "mean":
        _numbers.refuse_denominator(reduction)
    return (_numbers.positive("denominator", denominator),) * terms


def denominators_of(weights: Array) -> tuple[float, ...]:
    """From the sum of the weights of each term, (terms, 2)."""
    return tuple(float(finished(term[None], (1.0,), (1.0,), np.dtype(np.float64))) for term in weights)


def finished(losses: Array, denominators: Sequence[float], shares: Sequence[float], dtype: np.dtype[Any]) -> Number:
    """The loss from the sum of the losses of each term, (terms, 2)."""
    sums = np.ascontiguousarray(losses)
    return _core.loss_of_sums(sums, np.array(denominators), np.array(shares), dtype == np.float64)
