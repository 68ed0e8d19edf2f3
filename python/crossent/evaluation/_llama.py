"""What ``llama-perplexity --kl-divergence`` prints, by its formulas and in its layout.

Source: ``tools/perplexity/perplexity.cpp`` of llama.cpp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._logits_file import LogProbRows
from ._paired_statistics import PairedStatistics, Rows2D, divergence_of_llama
from ._results import Figures, Table
from ._statistics import LEVELS, mean_of, quantile

if TYPE_CHECKING:
    from .._results import RowStatistics
    from .._types import Array
    from ._rows import Rows

FEWEST = 100  # rows for the tables after the last chunk
HEAD = (
    "chunk             PPL               ln(PPL(Q)/PPL(base))          KL Divergence              Δp RMS"
    "            Same top p"
)
TITLES = {name: f"{100 * level:4.1f}%  " for name, level in LEVELS.items()} | {
    "max": "Maximum",
    "median": "Median ",
    "min": "Minimum",
}


class Estimate(NamedTuple):
    """A figure and its uncertainty, which the tool makes 0 where there are no more than 10 rows."""

    value: float
    error: float


class Running(NamedTuple):
    """The figures of all rows up to the end of a chunk."""

    perplexity: Estimate
    base_perplexity: Estimate
    log_ratio: Estimate
    ratio: Estimate
    difference: Estimate
    correlation: float
    kl: Estimate
    delta_p: Estimate
    rms_delta_p: Estimate
    same_top: Estimate


@dataclass(frozen=True, slots=True)
class LlamaComparison(Figures):
    """The result of `compare` with `llama`: what the tool prints, and prints in the same way."""

    tokens: int
    """The rows."""
    chunks: tuple[Running, ...]
    """After each chunk, of this and those before."""
    kl_quantiles: dict[str, float]
    """By the names in `Comparison`; their positions are float32."""
    delta_p_quantiles: dict[str, float]
    """Of the difference in the probability of the target."""

    def tables(self) -> list[Table]:
        """None: it has a layout of its own."""
        return []

    def lines(self) -> list[str]:
        """What the tool prints: a line for each chunk, then, of 100 rows or more, the statistics of all."""
        found = [HEAD, *(_chunk_line(number, chunk) for number, chunk in enumerate(self.chunks, 1))]
        if self.tokens >= FEWEST:
            found += ["", *_perplexity_lines(self.chunks[-1])]
            found += ["", "====== KL divergence statistics ======", *self._kl_lines()]
            found += ["", "====== Token probability statistics ======", *self._delta_p_lines()]
        return found

    def _kl_lines(self) -> list[str]:
        mean = self.chunks[-1].kl
        quantiles = {name: x for name, x in self.kl_quantiles.items() if name not in ("75 %", "25 %")}
        lines = [f"Mean    KLD: {mean.value:10.6f} ± {mean.error:10.6f}"]
        return lines + [f"{TITLES[name]} KLD: {x:10.6f}" for name, x in quantiles.items()]

    def _delta_p_lines(self) -> list[str]:
        last = self.chunks[-1]
        lines = [f"Mean    Δp: {_percent(last.delta_p, 5)}"]
        lines += [f"{TITLES[name]} Δp: {100 * x:6.3f}%" for name, x in self.delta_p_quantiles.items()]
        return [*lines, f"RMS Δp    : {_percent(last.rms_delta_p, 5)}", f"Same top p: {_percent(last.same_top, 5)}"]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _chunk_line(number: int, chunk: Running) -> str:
    columns = (
        f"{number:4d}",
        f"{chunk.perplexity.value:9.4f} ± {chunk.perplexity.error:9.4f}",
        f"{chunk.log_ratio.value:10.5f} ± {chunk.log_ratio.error:10.5f}",
        f"{chunk.kl.value:10.5f} ± {chunk.kl.error:10.5f}",
        _percent(chunk.rms_delta_p, 6),
        _percent(chunk.same_top, 6),
    )
    return "    ".join(columns)


def _percent(x: Estimate, width: int) -> str:
    return f"{100 * x.value:6.3f} ± {100 * x.error:{width}.3f} %"


def _perplexity_lines(last: Running) -> list[str]:
    def text(x: Estimate) -> str:
        return f"{x.value:10.6f} ± {x.error:10.6f}"

    return [
        "====== Perplexity statistics ======",
        f"Mean PPL(Q)                   : {text(last.perplexity)}",
        f"Mean PPL(base)                : {text(last.base_perplexity)}",
        f"Cor(ln(PPL(Q)), ln(PPL(base))): {100 * last.correlation:6.2f}%",
        f"Mean ln(PPL(Q)/PPL(base))     : {text(last.log_ratio)}",
        f"Mean PPL(Q)/PPL(base)         : {text(last.ratio)}",
        f"Mean PPL(Q)-PPL(base)         : {text(last.difference)}",
    ]


class LlamaStatistics(PairedStatistics):
    """The divergence of each row as the tool computes it."""

    def __init__(self, base: Rows, other: Rows, target: Array | None, **options: Any) -> None:
        if not isinstance(base, LogProbRows):
            raise ValueError(f"{base.name} is not a file of llama-perplexity: llama compares with one such file")
        super().__init__(base, other, target, **options)
        if self.other.options.are_given():
            raise ValueError("other_softcap and other_logit_bias are not the tool's: expected them without llama")
        self._chunk = base.n_ctx - 1 - base.n_ctx // 2

    def _compare(self, at: slice, base: Rows2D, other: Rows2D, of_base: RowStatistics, of_other: RowStatistics) -> None:
        self.kl[at] = divergence_of_llama(base, other)

    def summary(self) -> LlamaComparison:
        """The figures of the rows that were read."""
        counted = self.counted()
        self.counts(counted)
        rows = np.flatnonzero(counted)
        columns = self._columns(rows)
        ends = np.unique(np.searchsorted(rows, np.arange(self._chunk, self.done + self._chunk, self._chunk)))
        kl, delta_p = columns[2], columns[3]
        return LlamaComparison(
            tokens=rows.size,
            chunks=tuple(_running(*(x[:end] for x in columns)) for end in ends.tolist() if end > 0),
            kl_quantiles=_quantiles(kl),
            delta_p_quantiles=_quantiles(delta_p),
        )

    def _columns(self, rows: Array) -> tuple[Array, ...]:
        """The loss of the other and of the base, the divergence, delta p and whether the argmax is the same."""
        assert self.base.log_prob is not None and self.other.log_prob is not None
        base, other = (side[rows].astype(np.float64) for side in (self.base.log_prob, self.other.log_prob))
        same = (self.base.argmax[rows] == self.other.argmax[rows]).astype(np.float64)
        return -other, -base, self.kl[rows].astype(np.float64), np.exp(other) - np.exp(base), same


def _quantiles(x: Array) -> dict[str, float]:
    ordered = np.sort(x)
    found = {name: quantile(ordered, level, np.float32) for name, level in LEVELS.items()}
    return found | {"median": quantile(ordered, 0.5)}


def _running(loss: Array, base_loss: Array, kl: Array, delta_p: Array, same: Array) -> Running:
    mean, base_mean = _mean(loss), _mean(base_loss)
    covariance = _covariance(loss, base_loss)
    perplexity, base_perplexity = (Estimate(math.exp(m.value), math.exp(m.value) * m.error) for m in (mean, base_mean))
    log_ratio = Estimate(mean.value - base_mean.value, _difference_error(mean.error, base_mean.error, covariance))
    ratio = math.exp(log_ratio.value)
    product = perplexity.value * base_perplexity.value
    error = _difference_error(perplexity.error, base_perplexity.error, product * covariance)
    errors = mean.error * base_mean.error
    square = _mean(delta_p**2)
    rms = math.sqrt(square.value)
    return Running(
        perplexity=perplexity,
        base_perplexity=base_perplexity,
        log_ratio=log_ratio,
        ratio=Estimate(ratio, ratio * log_ratio.error),
        difference=Estimate(perplexity.value - base_perplexity.value, error),
        correlation=covariance / errors if errors > 0 else 0.0,
        kl=_mean(kl),
        delta_p=_mean(delta_p),
        rms_delta_p=Estimate(rms, 0.5 / rms * square.error if rms > 0 else 0.0),
        same_top=Estimate(*mean_of(same, None)[:2]),
    )


def _mean(x: Array) -> Estimate:
    found = mean_of(x, None)
    return Estimate(found.value, found.standard_error if x.size > 10 else 0.0)


def _covariance(x: Array, y: Array) -> float:
    """Of the means; 0 of fewer than 10 rows."""
    if x.size < 10:
        return 0.0
    return mean_of((x - mean_of(x, None).value) * (y - mean_of(y, None).value), None).value / (x.size - 1)


def _difference_error(a: float, b: float, covariance: float) -> float:
    return math.sqrt(max(a * a + b * b - 2 * covariance, 0.0))
