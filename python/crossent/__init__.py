"""Maximum-likelihood losses for NumPy arrays: values and exact gradients, in nats."""

from typing import TYPE_CHECKING

from . import _openmp  # noqa: F401  (before _core, which is linked to what it loads)

# isort: split
from . import _core, information
from ._binary_cross_entropy import binary_cross_entropy, binary_cross_entropy_backward
from ._binary_cross_entropy_with_logits import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_backward,
)
from ._cross_entropy import cross_entropy, cross_entropy_backward
from ._distillation_loss import distillation_loss, distillation_loss_backward
from ._fit_temperature import fit_temperature
from ._gradient_hessian import binary_cross_entropy_with_logits_gradient_hessian, cross_entropy_gradient_hessian
from ._kl_div import kl_div, kl_div_backward
from ._kl_div_with_logits import kl_div_with_logits, kl_div_with_logits_backward
from ._nll_loss import nll_loss, nll_loss_backward
from ._normalisers import (
    log_softmax,
    log_softmax_backward,
    logsumexp,
    logsumexp_backward,
    softmax,
    softmax_backward,
)
from ._row_statistics import row_statistics, row_statistics_backward
from ._sigmoid import log_sigmoid, sigmoid
from ._sparse_distillation_loss import sparse_distillation_loss, sparse_distillation_loss_backward
from ._threads import config, get_num_threads, num_threads, set_num_threads

__all__ = [
    "RowStatistics",
    "TemperatureFit",
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "binary_cross_entropy_with_logits_gradient_hessian",
    "config",
    "cross_entropy",
    "cross_entropy_backward",
    "cross_entropy_gradient_hessian",
    "distillation_loss",
    "distillation_loss_backward",
    "fit_temperature",
    "get_num_threads",
    "information",
    "kl_div",
    "kl_div_backward",
    "kl_div_with_logits",
    "kl_div_with_logits_backward",
    "log_sigmoid",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "logsumexp_backward",
    "nll_loss",
    "nll_loss_backward",
    "num_threads",
    "row_statistics",
    "row_statistics_backward",
    "set_num_threads",
    "sigmoid",
    "softmax",
    "softmax_backward",
    "sparse_distillation_loss",
    "sparse_distillation_loss_backward",
]

if TYPE_CHECKING:
    from ._results import RowStatistics, TemperatureFit

    __version__: str
else:

    def __getattr__(name):
        if name in ("RowStatistics", "TemperatureFit"):
            from . import _results

            return getattr(_results, name)
        # Read on access: the core reads CROSSENT_ISA first, and an invalid value should not make the import fail.
        if name == "__version__":
            return _core.info()["version"]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The API, without the private modules that it is imported from."""
    return [*__all__, *(name for name in globals() if name.startswith("__")), "__version__"]
