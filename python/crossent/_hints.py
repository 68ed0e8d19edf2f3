"""What an error message says beyond the error, where the mistake is a common one: "" or a clause to append."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._types import Array

IN_THE_SECOND_PLACE = "; the target is the second argument"


def of_dtype(name: str, dtype: np.dtype[Any]) -> str:
    """NumPy has no bfloat16: what it reads from a file is bytes."""
    if dtype == np.dtype("V2"):
        return f"; if it is bfloat16 that NumPy has read from a file, pass {name}.view(ml_dtypes.bfloat16)"
    return ""


def of_target(target: Array, shape: tuple[int, ...], rows: tuple[int, ...]) -> str:
    """Of a target whose dtype or shape does not fit logits of this shape, with the rows that they have."""
    if target.ndim == len(shape) + 1 and shape in (target.shape[:-1], target.shape[:1] + target.shape[2:]):
        return "; the arguments may be in the wrong order: logits, then target"
    if target.shape not in (rows, shape[:-1]):
        return ""
    hints = []
    if target.shape != rows:
        hints.append("axis=-1, if the classes are along the last axis")
    if target.dtype.kind == "f" and (target == np.rint(target)).all():
        hints.append("target.astype(int), if it holds class indices")
    return f"; pass {' and '.join(hints)}" if hints else ""
