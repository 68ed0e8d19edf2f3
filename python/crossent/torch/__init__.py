"""The losses for PyTorch: functions and modules with the signatures of `torch.nn`, for tensors on the CPU."""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("crossent.torch needs PyTorch: pip install 'crossent[torch]'", name="torch") from error

from ._additional import distillation_loss, kl_div_with_logits, sparse_distillation_loss
from ._functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    log_softmax,
    logsumexp,
    nll_loss,
    softmax,
)
from ._modules import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, DistillationLoss, KLDivLoss, NLLLoss, patch
from ._statistics import row_statistics, token_log_probs

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "DistillationLoss",
    "KLDivLoss",
    "NLLLoss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "distillation_loss",
    "kl_div",
    "kl_div_with_logits",
    "log_softmax",
    "logsumexp",
    "nll_loss",
    "patch",
    "row_statistics",
    "softmax",
    "sparse_distillation_loss",
    "token_log_probs",
]
