"""What is done to the logits of a model before the softmax: a softcap and a bias."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from .._numbers import positive
from .._validate import class_bias

if TYPE_CHECKING:
    from .._types import Array
    from ._rows import Rows


class LogitOptions(NamedTuple):
    """``softcap * tanh(x / softcap) + logit_bias`` takes the place of the logits ``x``."""

    softcap: float | None = None
    logit_bias: Array | None = None

    @classmethod
    def of(cls, rows: Rows, softcap: object, logit_bias: object, model: str = "") -> LogitOptions:
        """Those of these rows, checked; `model` is what the names of the arguments begin with."""
        given = {f"{model}softcap": softcap, f"{model}logit_bias": logit_bias}
        for name, value in given.items():
            if value is not None and rows.is_stored_log_probs:
                raise ValueError(f"{name} was given for {rows.name}, which has log-probabilities: expected logits")
        cap, bias = given
        return cls(
            None if softcap is None else positive(cap, softcap),
            None if logit_bias is None else class_bias(bias, logit_bias, rows.classes),
        )

    def are_given(self) -> bool:
        return self.softcap is not None or self.logit_bias is not None

    def checksum(self) -> str | None:
        """Of the numbers of the bias, whatever their dtype is: the first half of their SHA-256."""
        if self.logit_bias is None:
            return None
        numbers = self.logit_bias.astype("<f8") + 0.0  # -0.0 adds nothing either
        return hashlib.sha256(numbers.tobytes()).hexdigest()[:32]
