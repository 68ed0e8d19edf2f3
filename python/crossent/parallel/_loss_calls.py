"""Calls of the losses on some rows of a larger batch."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core
from .._binary_cross_entropy import binary_cross_entropy
from .._binary_cross_entropy_with_logits import binary_cross_entropy_with_logits
from .._cross_entropy import cross_entropy
from .._distillation_loss import distillation_loss
from .._kl_div_with_logits import kl_div_with_logits
from .._nll_loss import nll_loss
from .._sparse_distillation_loss import sparse_distillation_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._types import Array

LOSSES = (
    cross_entropy, nll_loss, kl_div_with_logits, distillation_loss, sparse_distillation_loss,
    binary_cross_entropy_with_logits, binary_cross_entropy,  # of which the elements are the rows
)


class Blocks(NamedTuple):
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

    def weights(self, return_grad: bool = False, grad_out: Array | None = None) -> Blocks:
        """The sums of what a mean divides by. All arguments are checked; nothing is written."""
        return self._sums(None, return_grad and grad_out is not None, grad_out)[0]

    def losses(self) -> Blocks:
        return self._sums((1.0, 1.0), False, None)[0]

    def losses_and_gradient(self, denominators: tuple[float, ...], grad_out: Array | None) -> tuple[Blocks, Array]:
        """`denominators`: of each term."""
        blocks, gradient = self._sums((denominators[0], denominators[-1]), True, grad_out)
        return blocks, gradient

    def _sums(
        self, denominators: tuple[float, float] | None, return_grad: bool, grad_out: Array | None
    ) -> tuple[Blocks, Any]:
        function = getattr(_core, f"{self.name}_sums")
        result, *others = function(denominators, *self.arguments, return_grad, grad_out)
        sums, gradient = result if return_grad else (result, None)
        return Blocks(sums, *others), gradient
