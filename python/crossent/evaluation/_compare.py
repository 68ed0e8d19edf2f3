"""How far the predictions of one model are from those of another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

import numpy as np

from .._numbers import whole_number
from ._compare_summary import summary
from ._comparison import Comparison
from ._evaluate import block_index
from ._inputs import open_rows, open_targets
from ._llama import LlamaComparison, LlamaStatistics
from ._logits_file import LogProbRows, ScoredRows
from ._paired_statistics import Divergences

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .._types import Array
    from ._rows import Rows

    _Input = Array | str | os.PathLike[str] | Sequence[Array | str | os.PathLike[str]]

    class _Options(TypedDict, total=False):
        ignore_index: int | None
        base_softcap: float | None
        base_logit_bias: ArrayLike | None
        other_softcap: float | None
        other_logit_bias: ArrayLike | None
        blocks: int | ArrayLike | None
        vocab_size: int | None
        skip_nan: bool
        worst: int
        rows_at_a_time: int | None


@overload
def compare(
    base: _Input,
    other: _Input,
    target: _Input | None = None,
    *,
    llama: Literal[False] = False,
    **options: Unpack[_Options],
) -> Comparison: ...
@overload
def compare(
    base: _Input, other: _Input, target: _Input | None = None, *, llama: Literal[True], **options: Unpack[_Options]
) -> LlamaComparison: ...
def compare(
    base: _Input,
    other: _Input,
    target: _Input | None = None,
    *,
    ignore_index: int | None = -100,
    base_softcap: float | None = None,
    base_logit_bias: ArrayLike | None = None,
    other_softcap: float | None = None,
    other_logit_bias: ArrayLike | None = None,
    blocks: int | ArrayLike | None = None,
    vocab_size: int | None = None,
    skip_nan: bool = False,
    worst: int = 10,
    llama: bool = False,
    rows_at_a_time: int | None = None,
) -> Comparison | LlamaComparison:
    """How far the predictions of one model are from those of another, with standard errors.

    Both inputs are read once, some rows at a time, from memory or from files; some numbers of each row are kept, 38
    bytes or, of float64 logits, 66. The result does not depend on `rows_at_a_time` or on the number of threads, to the
    last bit.

    The formulas, with the probabilities ``b`` and ``q`` of a row in the base and the other, and its target ``y``::

        kl, reverse_kl         mean of KL(b || q) = sum_c b[c] log(b[c] / q[c]), and of KL(q || b): never below 0
        js                     mean of KL(b || m) / 2 + KL(q || m) / 2,  m = (b + q) / 2
        top1_agreement         mean of argmax(b) == argmax(q); of equal classes the first
        top5_, top10_agreement mean of the share of the 5 or 10 largest that b and q have in common
        base_perplexity        B = exp(mean of -log b[y]);  other_perplexity  Q = exp(mean of -log q[y])
        log_perplexity_ratio   log(Q / B), the mean of log(b[y] / q[y]);  perplexity_ratio  Q / B
        perplexity_difference  Q - B
        correlation            of -log b[y] and -log q[y]
        delta_p, rms_delta_p   mean of q[y] - b[y]; the root of the mean of its square
        base_accuracy          mean of argmax(b) == y;  other_accuracy  of argmax(q) == y
        right_to_wrong         mean of argmax(b) == y != argmax(q);  wrong_to_right  of argmax(b) != y == argmax(q)

    A quantile of ``n`` numbers in ascending order is that at ``f (n - 1)``, counted from 0, linear between two.

    Standard errors are those of `evaluate`, of functions of means by the delta method: the two losses of a row, which
    mostly rise and fall together, enter as their difference.

    Parameters
    ----------
    base, other : array_like, (N, C), or path, or a sequence of these
        Float16, bfloat16 (of ml_dtypes), float32 or float64 of any strides, or files of them in one of the formats of
        docs/how-to/evaluation.md. Where the base is a file of llama-perplexity, the other may have the rows of all
        positions.
    target : array_like, (N,), or path, optional
        Class indices, of an integer dtype, in [0, C) or equal to `ignore_index`, or a file of them. The default is
        those that a base of llama-perplexity has in its file, or none.
    ignore_index : int or None, default -100
        Rows of this target are left out, and counted. None: no row is left out.
    base_softcap, base_logit_bias, other_softcap, other_logit_bias
        As `softcap` and `logit_bias` for `evaluate`, of the logits of either model.
    blocks : int or array_like, (N,), optional
        What belongs together: windows of so many rows, or a number for each row, the same in rows of one document.
    vocab_size : int, optional
        Only so many classes are there; those behind them are padding.
    skip_nan : bool, default False
        Rows with a NaN or an infinite maximum are left out, and counted, instead of raising.
    worst : int, default 10
        How many rows of the largest divergence are listed.
    llama : bool, default False
        Compute what ``llama-perplexity --kl-divergence`` does, as it does: the base, a file of that tool, is used as
        stored and cut at -16. `blocks` and `worst` are then without effect, a softcap or bias is refused.
    rows_at_a_time : int, optional
        The rows in a block of reading. The default is those of four million logits.

    Returns
    -------
    Comparison, or LlamaComparison with `llama`
        The figures as attributes; ``as_dict()`` is for JSON, ``str()`` a few tables, or those of the tool.

    Raises
    ------
    TypeError
        If a dtype is not supported, or an argument has another type than above.
    ValueError
        If a shape or value is not as above, the inputs have not the same rows and classes, no row counts, or a row has
        a NaN or an infinite maximum and `skip_nan` is False: it says which. Also for a softcap or bias of a file of
        log-probabilities.
    IndexError
        If a target is outside [0, C) and is not `ignore_index`.
    OSError
        If a file cannot be read.

    References
    ----------
    S. Kullback and R. A. Leibler, On Information and Sufficiency, Annals of Mathematical Statistics 22 (1951), 79-86;
    J. Lin, Divergence Measures Based on the Shannon Entropy, IEEE Transactions on Information Theory 37 (1991),
    145-151; see `evaluate` for standard errors. The names of the tool's figures: ``tools/perplexity`` of llama.cpp.

    Examples
    --------
    >>> import numpy as np
    >>> from crossent.evaluation import compare
    >>> base = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [4.0, 1.0, 0.0]])
    >>> other = base + np.array([[0.0, 0.5, 0.0], [0.0, -1.0, 1.5], [0.0, 0.0, 0.0]])
    >>> result = compare(base, other, np.array([0, 1, 0]))
    >>> print(f"{result.kl:.4f} +- {result.standard_errors['kl']:.4f}, {result.perplexity_ratio:.4f}")
    0.1839 +- 0.1715, 1.3963
    >>> result.flips, result.worst[0].position
    ({'right_to_wrong': 1, 'wrong_to_right': 0}, 1)
    """
    check_worst(worst)
    opened = (open_rows(x, vocab_size=vocab_size, name=name) for x, name in ((base, "base"), (other, "other")))
    base_rows, other_rows = matched(*opened)
    labels = open_paired_targets(target, base, base_rows)
    index = block_index(blocks, base_rows.count)
    of_rows: dict[str, Any] = {
        "ignore_index": ignore_index,
        "base_softcap": base_softcap,
        "base_logit_bias": base_logit_bias,
        "other_softcap": other_softcap,
        "other_logit_bias": other_logit_bias,
        "skip_nan": skip_nan,
    }
    if llama:
        statistics = LlamaStatistics(base_rows, other_rows, labels, **of_rows)
        for _ in statistics.read(rows_at_a_time):
            pass
        return statistics.summary()
    found = Divergences(base_rows, other_rows, labels, **of_rows)
    for _ in found.read(rows_at_a_time):
        pass
    return summary(found, index, window_length(blocks), worst)


def check_worst(worst: int) -> None:
    if whole_number("worst", worst) < 0:
        raise ValueError(f"worst is {worst}: expected an integer >= 0")


def window_length(blocks: int | ArrayLike | None) -> int | None:
    return int(np.asarray(blocks)) if blocks is not None and np.ndim(blocks) == 0 else None


def matched(base: Rows, other: Rows) -> tuple[Rows, Rows]:
    """Both inputs, with the same rows and classes."""
    if isinstance(base, LogProbRows) and other.count == base.n_chunk * base.n_ctx:
        other = ScoredRows(other, base.n_ctx)
    if (other.count, other.classes) != (base.count, base.classes):
        expected = f"expected {base.count} of {base.classes}, as {base.name} has"
        raise ValueError(f"{other.name} has {other.count} rows of {other.classes} classes: {expected}")
    return base, other


def open_paired_targets(target: object, base: object, rows: Rows) -> Array | None:
    """The target of each row; where none are given, those in the files of the base, if it has any."""
    if target is None:
        return open_targets(base, rows.count) if rows.is_stored_log_probs else None
    return open_targets(target, rows.count)
