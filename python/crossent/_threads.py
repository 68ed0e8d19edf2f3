"""How many threads a call uses, and what is running."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import numpy as np

from . import _core

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import SupportsIndex

    from ._types import Config

# The limits of the `with num_threads(n)` blocks around the caller, innermost last: the core reads that one. 0 is "no
# limit". The stack lives in the context rather than in the object, so one num_threads object may be entered by several
# threads at once.
_limits = _core.thread_limits

# The process-wide limit goes to every copy of the core in the process: crossent.jax has one of its own.
_process_limit: int | None = None
_set_in_each_core = [_core.set_num_threads]


def add_core(set_num_threads: Callable[[int], None]) -> None:
    _set_in_each_core.append(set_num_threads)
    if _process_limit is not None:
        set_num_threads(_process_limit)


def _count(n: SupportsIndex) -> int:
    try:
        if isinstance(n, (bool, np.bool_)):
            raise TypeError
        value = operator.index(n)
    except TypeError:
        raise TypeError(f"n is {n!r}: expected an int") from None
    if value < 1:
        raise ValueError(f"n is {value}: expected at least 1 thread")
    return min(value, 2**31 - 1)


def set_num_threads(n: int) -> None:
    """Set the most threads that a call may use, for the whole process.

    A call uses the least of this number, the limit of an enclosing `num_threads` block, what OpenMP allows
    (``OMP_NUM_THREADS``, ``threadpoolctl``) and the CPU quota of the container. The results do not depend on it.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    TypeError
        If `n` is not an int.
    ValueError
        If ``n < 1``.

    Examples
    --------
    >>> import crossent as xe
    >>> before = xe.get_num_threads()
    >>> xe.set_num_threads(1)
    >>> xe.get_num_threads()
    1
    >>> xe.set_num_threads(before)
    """
    global _process_limit
    _process_limit = _count(n)
    for set_in_core in _set_in_each_core:
        set_in_core(_process_limit)


def get_num_threads() -> int:
    """Return how many threads a large call made here would use.

    The least of `set_num_threads`, the enclosing `num_threads` block, what OpenMP allows and the CPU quota. Small
    calls use one thread whatever it is.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> import crossent as xe
    >>> with xe.num_threads(1):
    ...     xe.get_num_threads()
    1
    """
    return _core.num_threads()


class num_threads:
    """Limit the threads of the calls in a ``with`` block.

    The limit holds for this thread (or asynchronous task) only and ends with the block. Of nested blocks the
    innermost counts. A call never uses more threads than `set_num_threads`, OpenMP and the CPU quota allow. The
    object may be entered again, and by several threads at once.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    TypeError
        If `n` is not an int.
    ValueError
        If ``n < 1``.

    Examples
    --------
    >>> import crossent as xe
    >>> with xe.num_threads(1):
    ...     print(xe.logsumexp([0.0, 0.0]))
    0.6931471805599453
    """

    def __init__(self, n: int) -> None:
        self._n = _count(n)

    def __enter__(self) -> num_threads:
        _limits.set((*_limits.get(), self._n))
        return self

    def __exit__(self, *exception: object) -> None:
        # Left in another context than it was entered in, there is nothing to take off.
        _limits.set(_limits.get()[:-1] or (0,))

    def __repr__(self) -> str:
        return f"num_threads({self._n})"


def config() -> Config:
    """Return what is running: the version, the instruction set and the threads.

    The instruction set is the best this machine can run, unless the environment variable ``CROSSENT_ISA`` named
    another one when the library was first used.

    Returns
    -------
    dict
        ``version``, ``isa`` (the level in use), ``isa_levels`` (a list of the levels that this machine can run, best
        first), ``threads`` (as `get_num_threads`), ``compiler``, and ``openmp`` (the version macro, or ``"none"``).

    Raises
    ------
    RuntimeError
        If ``CROSSENT_ISA`` names an unknown level, or one that this machine cannot run.

    Examples
    --------
    >>> import crossent as xe
    >>> xe.config()["isa"] in xe.config()["isa_levels"]
    True
    """
    return {**_core.info(), "threads": get_num_threads()}
