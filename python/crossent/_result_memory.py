"""Memory that is written again and again by the calls of an objective."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ._types import Array

_has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()  # without it, references are not counted at once
_OUR_REFERENCES = 2  # of the tuple, and of the argument of getrefcount


class ResultMemory:
    """Two arrays for the results of a call: those of the call before, unless somebody still has one of them.

    The system takes longer to hand out the pages of large arrays than a gradient and a Hessian to compute.
    """

    def __init__(self) -> None:
        self._free: list[tuple[Array, Array]] = []

    def __reduce__(self) -> tuple[type[ResultMemory], tuple[()]]:  # a copy has no memory
        return ResultMemory, ()

    def take(self, like: Array) -> tuple[Array, Array]:
        """Two arrays of the shape, dtype and memory order of `like`."""
        try:
            pair = self._free.pop()  # at once: a second thread finds none
        except IndexError:
            pair = None
        if pair is None or not _alike(pair[0], like) or _in_use(pair):
            pair = np.empty_like(like), np.empty_like(like)
        return pair

    def keep(self, pair: tuple[Array, Array]) -> None:
        """Offers the arrays to the next call."""
        self._free[:] = [pair]


def _alike(x: Array, like: Array) -> bool:
    return x.shape == like.shape and x.dtype == like.dtype and x.flags.f_contiguous == like.flags.f_contiguous


def _in_use(pair: tuple[Array, Array]) -> bool:
    """Whether there are references besides those of this module; a view of an array has one."""
    return not _has_gil or any(sys.getrefcount(pair[i]) > _OUR_REFERENCES for i in range(2))
