"""The temperature that calibrates a classifier."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._results import TemperatureFit
    from .evaluation import Calibration


def fit_temperature(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    axis: int | None = None,
    softcap: float | None = None,
    logit_bias: ArrayLike | None = None,
    ignore_index: int | None = -100,
    sample_weight: ArrayLike | None = None,
    bounds: tuple[float, float] = (1e-3, 1e3),
    max_passes: int = 6,
) -> TemperatureFit:
    """The temperature of the least cross-entropy of `target` under the softmax of ``logits / temperature``.

    One number that makes the probabilities of a classifier agree with how often it is right, and leaves its decisions
    as they are. Fit it on data that the classifier was not trained on. The logits are read at most `max_passes`
    times, and nothing of their size is made.

    If the target of every row is the class of its largest logit, the loss falls as the temperature does, down to the
    lower bound; if the logits say nothing about the targets, up to the upper bound. `at_bound` says so, and a warning.

    The formula for rows ``x`` of the target ``y`` or the target probabilities ``q``, with the row's weight ``v``::

        temperature = argmin_T sum v * cross_entropy(x / T, y) / sum v

    found by Newton's method for the zero of its derivative in ``1 / T``: over all rows, ``x[y]`` or ``sum_c q[c] x[c]``
    less the mean of the logits under ``softmax(x / T)``, whose derivative is their variance. One pass gives all three.

    Parameters
    ----------
    logits : array_like, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides. Integers, bool and lists become float64.
    target : array_like, (N,), (N, d1, ..., dk), or () or (1,) for logits (C,); or the shape of `logits`
        Of an integer dtype: class indices in the shape of `logits` without the class axis, in [0, C) or equal to
        `ignore_index`. Of a floating dtype: class probabilities in the shape of `logits`, in [0, 1].
    axis : int, optional
        The class axis. The default is 1, or 0 for 1-D logits.
    softcap, logit_bias
        As for `cross_entropy`: they come before the temperature.
    ignore_index : int or None, default -100
        Rows of this target are left out. None leaves no row out. Only with class indices.
    sample_weight : array_like, optional
        A weight per row, finite and >= 0, in the shape of `logits` without the class axis or broadcastable to it; any
        of the dtypes of `logits`. The default is ones.
    bounds : (float, float), default (1e-3, 1e3)
        The least and the largest temperature, finite and > 0.
    max_passes : int, default 6
        How many times the logits are read at most, >= 1. The first pass is at temperature 1.

    Returns
    -------
    TemperatureFit
        A named tuple of the ``temperature``, for float64 logits with a relative error of at most 1e-7 unless classes
        of probability below 1e-8 decide it; ``nll_before`` and ``nll_after``, the mean cross-entropy at temperature 1
        and at the one found; ``at_bound``, ``"lower"``, ``"upper"`` or None; ``passes``; and ``converged``.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an argument has another type than above.
    ValueError
        If a shape or value is not as above, C is 0, no row counts, or the loss at temperature 1 is not finite.
    IndexError
        If a target is outside [0, C) and is not `ignore_index`.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    Warns
    -----
    RuntimeWarning
        If the loss still falls beyond one of the bounds, or the search did not converge within `max_passes`.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, On Calibration of Modern Neural Networks, ICML 2017, section 4.2.

    Examples
    --------
    >>> import crossent as xe
    >>> logits = [[4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, 4.0]]
    >>> fit = xe.fit_temperature(logits, [0, 0, 1, 0])
    >>> print(f"{fit.temperature:.4f}: {fit.nll_before:.4f} to {fit.nll_after:.4f}")
    3.6410: 1.0181 to 0.5623
    """
    fit = fit_silently(
        logits, target, axis=axis, softcap=softcap, logit_bias=logit_bias, ignore_index=ignore_index,
        sample_weight=sample_weight, bounds=bounds, max_passes=max_passes)
    message = warning_of(fit)
    if message is not None:
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return fit


def fit_silently(logits: object, target: object, **options: object) -> TemperatureFit:
    """`fit_temperature` without its warning, for callers that have one of their own."""
    from ._options import for_core
    from ._results import TemperatureFit

    return TemperatureFit(*_core.fit_temperature(logits, target, *for_core(fit_temperature, options)))


def warning_of(fit: TemperatureFit | Calibration) -> str | None:
    """What is to be said about a temperature that is not the one of the least loss."""
    if not fit.converged:
        passes = f"max_passes={fit.passes}"
        return f"the search did not converge within {passes}: temperature {fit.temperature:.6g} may not be the best one"
    if fit.at_bound is None:
        return None
    beyond, cause = {
        "lower": ("below", "every target is the class of its row's largest logit, and the loss has no minimum"),
        "upper": ("above", "the logits say nothing about the targets, and the loss has no minimum"),
    }[fit.at_bound]
    bound = f"temperature {fit.temperature:.6g} is the {fit.at_bound} bound"
    return f"{bound}, and the loss still falls {beyond} it: either {cause}, or the minimum is out of bounds"
