"""Cross-entropy of rows whose classes are in shards, without a communicator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .. import _core, _validate
from .._cross_entropy import cross_entropy
from .._options import OF_GRADIENT, for_core, takes_options_of
from ._row_states import KNOWN
from ._shards import OF_LOSS, Shard, check_same, split_target, states_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .._types import Array, Loss, Number
    from . import _options
    from ._row_states import RowStates


@takes_options_of(cross_entropy, *OF_LOSS)
def partial(
    logits_shard: ArrayLike, target: ArrayLike | None = None, start: int = 0, *, n_classes: int, **options: Any
) -> RowStates:
    """What a shard of the classes comes to, for `finish` and `gradient`.

    The first of three steps: the states of all shards are put together by `merge`; from these follow the losses of the
    rows by `finish` and, with the logits of a shard, the gradient there by `gradient`. The options are those of
    `crossent.cross_entropy`.

    The formula for a row ``x``, whose ``target`` is ``y`` or ``q``, in each branch of the tree over blocks of 1,024
    classes ``c`` that lies in the shard, with the maximum ``m`` of the branch::

        m,  sum_c exp((x[c] - m) / T),  the same without one class of m,  x[y]
        with smoothing:           sum_c w[c] * (m - x[c])
        with class probabilities: sum_c w[c] * q[c] * (m - x[c])  and  sum_c w[c] * q[c]

    Parameters
    ----------
    logits_shard : array_like, (N, C_shard, d1, ..., dk)
        The logits of the classes from `start` on, of all rows. There may be none.
    target : array_like, optional
        The class indices of all rows, counted over all classes; or the probabilities of the classes of the shard, in
        its shape. None for `softmax`, `log_softmax` and `logsumexp`, and for a divergence.
    start : int, default 0
        The first class of the shard. If it is a multiple of 1,024, and the shard ends at one or at the last class, the
        results have the bits of one process.
    n_classes : int
        The number of all classes.
    **options
        As for `crossent.cross_entropy`: `axis`, and what the states depend on. `weight` has those of all classes, over
        which labels are smoothed.

    Returns
    -------
    RowStates
        Of 32 bytes for each branch and row (48 for float64 logits), 8 for a class index, 40 more a branch with
        smoothing and 64 with class probabilities. A shard of n blocks has up to 2 log2(n) branches, and one if n is a
        power of two and `start` a multiple of it.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `crossent.cross_entropy`; ValueError also if the shard is not within the `n_classes`.

    References
    ----------
    M. Shoeybi et al., Megatron-LM (2019), section 3: cross-entropy of a vocabulary that is split.
    M. Milakov and N. Gimelshein, Online normalizer calculation for softmax (2018): normalisers that are merged.

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as xe
    >>> from crossent import parallel
    >>> logits, target = np.random.default_rng(0).normal(size=(2, 4096)), [7, 4000]
    >>> shards = (0, logits[:, :2048]), (2048, logits[:, 2048:])
    >>> states = parallel.merge(*(parallel.partial(x, target, start, n_classes=4096) for start, x in shards))
    >>> print(f"{parallel.finish(states, target):.6f} {xe.cross_entropy(logits, target):.6f}")
    7.766939 7.766939
    """
    return states_of(Shard.of("logits", logits_shard, options["axis"], start, n_classes), target, options)


@overload
def finish(
    states: RowStates, target: ArrayLike | None = None, **options: Unpack[_options.FinishReduced]
) -> Number: ...
@overload
def finish(
    states: RowStates, target: ArrayLike | None = None, **options: Unpack[_options.FinishOfRows]
) -> Array: ...
@takes_options_of(cross_entropy, "axis", *KNOWN, *OF_GRADIENT)
def finish(states: RowStates, target: ArrayLike | None = None, **options: Any) -> Loss:
    """The cross-entropy of rows from the states of all classes.

    The formula is that of `crossent.cross_entropy`, which has the same bits if the states are `exact`.

    Parameters
    ----------
    states : RowStates
        Of all classes.
    target : array_like, optional
        The class indices that the states were made with; None where these were probabilities.
    **options
        As for `crossent.cross_entropy`; `weight` as the states were made with.

    Returns
    -------
    NumPy scalar or ndarray
        As `crossent.cross_entropy`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `crossent.cross_entropy`; ValueError also if classes are missing, or if `target` or `weight` are others than
        the states were made with.

    References
    ----------
    M. Shoeybi et al., Megatron-LM (2019), section 3.

    Examples
    --------
    >>> from crossent import parallel
    >>> states = parallel.partial([[0.0, 0.0]], [1], n_classes=2)
    >>> print(f"{parallel.finish(states, [1]):.6f}")
    0.693147
    """
    return loss_of(states, target, options)


@takes_options_of(cross_entropy, *KNOWN, *OF_GRADIENT)
def gradient(
    logits_shard: ArrayLike,
    states: RowStates,
    target: ArrayLike | None = None,
    start: int = 0,
    *,
    grad_output: ArrayLike | None = None,
    out: Array | None = None,
    **options: Any,
) -> Array:
    """The gradient of the cross-entropy of rows with respect to the logits of a shard of the classes.

    The formula is that of `crossent.cross_entropy_backward`, which has the same bits if the states are `exact`.

    Parameters
    ----------
    logits_shard : array_like, (N, C_shard, d1, ..., dk)
        The logits of the classes from `start` on.
    states : RowStates
        Of all classes, from `merge`.
    target : array_like, optional
        What the states of this shard were made with.
    start : int, default 0
        The first class of the shard.
    grad_output : array_like, optional
        The gradient with respect to the loss: a number, or an array in the shape of the rows if `reduction` is
        ``"none"``. The default is ones.
    out : ndarray, optional
        Receives the result: the shape and dtype of the shard. May be `logits_shard` itself.
    **options
        As for `crossent.cross_entropy`; `weight` as the states were made with.

    Returns
    -------
    ndarray in the shape and dtype of `logits_shard`

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `crossent.cross_entropy_backward`; ValueError also as `finish`.

    References
    ----------
    M. Shoeybi et al., Megatron-LM (2019), section 3.

    Examples
    --------
    >>> from crossent import parallel
    >>> states = parallel.partial([[0.0, 0.0]], [1], n_classes=2)
    >>> print(parallel.gradient([[0.0, 0.0]], states, [1]))
    [[ 0.5 -0.5]]
    """
    shard = shard_like(states, logits_shard, start, options["axis"])
    if grad_output is None:
        return loss_and_gradient(states, target, shard, options, out)[1]
    if not shard.ranges:
        return nothing(shard, out)
    grad: Array = _computed(states, target, shard, options, grad_output, out)
    return grad


def shard_like(states: RowStates, logits: object, start: object, axis: object) -> Shard:
    """Of the rows of the states."""
    shard, rows = Shard.of("logits", logits, axis, start, states.rows.n_classes), states.rows
    if shard.rows != rows.shape or shard.logits.dtype.name != rows.dtype:
        given = f"rows of shape {shard.rows} and dtype {shard.logits.dtype}"
        raise ValueError(f"logits have {given}: expected {rows.shape} and {rows.dtype}, as the states")
    return shard


def loss_of(states: RowStates, target: object, options: Mapping[str, Any]) -> Loss:
    indices, _ = split_target(target)  # of probabilities, all that is needed is in the states
    loss: Loss = _computed(states, indices, None, options)
    return loss


def loss_and_gradient(
    states: RowStates, target: object, shard: Shard, options: Mapping[str, Any], out: object
) -> tuple[Loss, Array]:
    if not shard.ranges:
        return loss_of(states, target, options), nothing(shard, out)
    loss, grad = _computed(states, target, shard, options, None, out)
    return loss, grad


def nothing(shard: Shard, out: object) -> Array:
    """The gradient of no class."""
    x = shard.logits
    return np.empty_like(x) if out is None else _validate.output("out", out, x.shape, x.dtype, {"logits": x})


def _computed(
    states: RowStates, target: object, shard: Shard | None, options: Mapping[str, Any], grad_output: object = None,
    out: object = None,
) -> Any:
    """The loss; with a shard it and the gradient there; with an upstream gradient the gradient alone."""
    rows = states.rows
    indices, _ = split_target(target)
    if rows.target is None:
        raise ValueError("the states were made without a target: expected those with one")
    if (rows.target == "indices") != (indices is not None) or (shard is not None and target is None):
        expected = "class indices" if rows.target == "indices" else "the probabilities of the shard"
        raise ValueError(f"target: expected {expected}, as the states were made with")
    check_same(states, indices, options["weight"])
    if shard is None:
        place, axis, logits, target = rows.place(), len(rows.shape), None, indices
    else:
        place, axis, logits = shard.place, shard.axis, shard.logits
    known = {**options, **rows.options, "axis": axis}
    arguments = states.whole(), place, logits, target, *for_core(cross_entropy, known)
    if grad_output is not None:
        return _core.cross_entropy_of_shards_backward(grad_output, *arguments, out)
    return _core.cross_entropy_of_shards(*arguments, shard is not None, out)
