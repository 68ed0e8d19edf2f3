"""The losses on JAX arrays of a CPU, under `jax.jit`, `jax.grad`, `jax.vmap` and `jax.checkpoint`.

Each function computes what the function of the same name in `crossent` computes, to the bit; that one says where its
formula is from. Shapes, dtypes and options are checked when a function is traced, and raise what that function raises.
Values (class indices, probabilities, weights) are checked when the computation runs: a wrong one is a
`jax.errors.JaxRuntimeError`, or a `ValueError` from a compiled function that ran before, with the message of
`crossent`. Options are Python numbers and names; weights, biases and temperatures of rows are arrays. Derivatives are
first ones, by reverse mode, with respect to the first argument. To ask for one with respect to another argument is a
`TypeError`; `jax.lax.stop_gradient` makes a constant of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import jax
except ImportError as missing:
    raise ImportError("crossent.jax needs JAX: pip install 'crossent[jax]'") from missing

import crossent

from .. import _numbers
from .._options import OF_GRADIENT, takes_options_of
from . import _backends
from ._arguments import Arguments
from ._normalisers import log_softmax, softmax

if TYPE_CHECKING:
    from typing import Unpack

    from .._binary_cross_entropy_with_logits import _Options as _BinaryCrossEntropy
    from .._cross_entropy import _Options as _CrossEntropy
    from .._distillation_loss import _Options as _Distillation
    from .._kl_div_with_logits import _Options as _Divergence
    from .._types import Reduction, ReductionKL
    from ._arguments import Arrays

    class CrossEntropy(_CrossEntropy, total=False):
        reduction: Reduction

    class BinaryCrossEntropy(_BinaryCrossEntropy, total=False):
        reduction: Reduction

    class Divergence(_Divergence, total=False):
        reduction: ReductionKL

    class Distillation(_Distillation, total=False):
        reduction: Reduction


__all__ = [
    "backend",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "distillation_loss",
    "kl_div_with_logits",
    "log_softmax",
    "set_backend",
    "softmax",
]


def backend() -> _backends.Backend:
    """Return how JAX calls the library.

    Returns
    -------
    str
        ``"ffi"`` through the foreign function interface of XLA, without Python, if `crossent` was built where JAX was
        installed; else ``"callback"``, through `jax.pure_callback`. The results are the same.

    Examples
    --------
    >>> import crossent.jax
    >>> crossent.jax.backend() in ("ffi", "callback")
    True
    """
    return _backends.chosen


def set_backend(backend: _backends.Backend) -> None:
    """Set how JAX calls the library from now on; functions that are compiled already stay as they are.

    Parameters
    ----------
    backend : {"ffi", "callback"}
        As `backend` returns it.

    Raises
    ------
    ValueError
        If `backend` is another name, or ``"ffi"`` where `crossent` was built without JAX.

    Examples
    --------
    >>> import crossent.jax
    >>> crossent.jax.set_backend(crossent.jax.backend())
    """
    if backend not in _backends.AVAILABLE:
        _numbers.refuse_name("backend", backend, _backends.AVAILABLE)
    _backends.chosen = backend


@takes_options_of(crossent.cross_entropy, *OF_GRADIENT)
def cross_entropy(
    logits: Arrays,
    target: Arrays,
    **options: Unpack[CrossEntropy],
) -> jax.Array:
    """Cross-entropy of class indices or class probabilities under the softmax of `logits`, in nats.

    The formula and the meaning of each option are those of `crossent.cross_entropy`.

    Parameters
    ----------
    logits : array, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Float16, bfloat16, float32 or float64.
    target : array, (N,), (N, d1, ..., dk), or () or (1,) for logits (C,); or the shape of `logits`
        Of an integer dtype: class indices. Of a floating dtype: class probabilities.
    **options
        As for `crossent.cross_entropy`, but for `return_grad` and `grad_out`.

    Returns
    -------
    jax.Array in the shape of `logits` without the class axis with ``reduction="none"``, else 0-d
        Float32, or float64 for float64 `logits`.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import crossent.jax as xj
    >>> logits = jnp.array([[0.0, 0.0], [17.0, 0.0]])
    >>> print(xj.cross_entropy(logits, jnp.array([1, 0]), reduction="none"))
    [6.9314718e-01 4.1399375e-08]
    >>> print(jax.grad(xj.cross_entropy)(logits, jnp.array([1, -100])))
    [[ 0.5 -0.5]
     [ 0.   0. ]]
    """
    given = Arguments("cross_entropy", logits, options)
    given.class_target(target)
    return given.loss()


@takes_options_of(crossent.binary_cross_entropy_with_logits, *OF_GRADIENT)
def binary_cross_entropy_with_logits(
    logits: Arrays,
    target: Arrays,
    **options: Unpack[BinaryCrossEntropy],
) -> jax.Array:
    """Cross-entropy of binary targets under the sigmoid of `logits`, in nats.

    The formula and the meaning of each option are those of `crossent.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    logits : array of any shape
        Float16, bfloat16, float32 or float64.
    target : array in the shape of `logits`
        In [0, 1]; of a dtype as `logits`, an integer dtype or bool.
    **options
        As for `crossent.binary_cross_entropy_with_logits`, but for `return_grad` and `grad_out`.

    Returns
    -------
    jax.Array in the shape of `logits` with ``reduction="none"``, else 0-d
        Float32, or float64 for float64 `logits`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import crossent.jax as xj
    >>> print(xj.binary_cross_entropy_with_logits(jnp.array([0.0, 17.0]), jnp.array([1, 1]), reduction="none"))
    [6.9314718e-01 4.1399378e-08]
    """
    given = Arguments("binary_cross_entropy_with_logits", logits, options)
    given.binary_target(target)
    return given.loss()


@takes_options_of(crossent.kl_div_with_logits, *OF_GRADIENT)
def kl_div_with_logits(
    logits: Arrays,
    teacher_logits: Arrays,
    **options: Unpack[Divergence],
) -> jax.Array:
    """Divergence of the softmax of `logits` and that of `teacher_logits`, in nats.

    The formula and the meaning of each option are those of `crossent.kl_div_with_logits`.

    Parameters
    ----------
    logits : array, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Float16, bfloat16, float32 or float64.
    teacher_logits : array in the shape of `logits`
        Any of the dtypes of `logits`.
    **options
        As for `crossent.kl_div_with_logits`, but for `return_grad` and `grad_out`.

    Returns
    -------
    jax.Array in the shape of `logits` without the class axis with ``reduction="none"``, else 0-d
        Float32, or float64 for float64 `logits`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import crossent.jax as xj
    >>> print(f"{xj.kl_div_with_logits(jnp.array([[0.0, 0.0]]), jnp.array([[0.0, -jnp.inf]])):.6f}")
    0.693147
    """
    given = Arguments("kl_div_with_logits", logits, options)
    given.teacher(teacher_logits)
    return given.loss()


@takes_options_of(crossent.distillation_loss, *OF_GRADIENT)
def distillation_loss(
    logits: Arrays,
    teacher_logits: Arrays,
    target: Arrays | None = None,
    **options: Unpack[Distillation],
) -> jax.Array:
    """Divergence from a teacher at a temperature and cross-entropy of the target, weighted and added, in nats.

    The formula and the meaning of each option are those of `crossent.distillation_loss`.

    Parameters
    ----------
    logits : array, (N, C), (N, C, d1, ..., dk), (C,), or any shape with `axis`
        Float16, bfloat16, float32 or float64.
    teacher_logits : array in the shape of `logits`
        Any of the dtypes of `logits`.
    target : array, optional
        As for `cross_entropy`.
    **options
        As for `crossent.distillation_loss`, but for `return_grad` and `grad_out`.

    Returns
    -------
    jax.Array in the shape of `logits` without the class axis with ``reduction="none"``, else 0-d
        Float32, or float64 for float64 `logits`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import crossent.jax as xj
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(f"{xj.distillation_loss(student, teacher, jnp.array([0]), temperature=2.0):.5f}")
    0.40717
    """
    given = Arguments("distillation_loss", logits, options)
    given.teacher(teacher_logits)
    if target is not None:
        given.class_target(target)
    return given.loss()
