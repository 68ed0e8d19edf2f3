"""What is measured: the cells, their bars, their arrays."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from arrays import Buffers, aligned_empty, random_logits, softmax_in_place
from machine import free_memory, last_level_cache

SMOOTHING, TEMPERATURE = 0.1, 2.0  # of the cells `soft` and `distil`


@dataclass(frozen=True)
class Cell:
    name: str
    loss: str  # "cross_entropy", "soft", "binary", "distillation" or "log_softmax"
    mode: str  # "forward", "gradient" (into `grad_out`), "fresh" (gradient in a new array), "in place" or "output"
    shape: tuple[int, ...]
    ceiling: str | None  # one of ceilings.CEILINGS
    shares: tuple[float, float, float] | None  # bar: of the ceiling, on the machines of machine.KINDS
    ratio: float | None  # bar: against each peer
    over: tuple[tuple[str, float], ...] = ()  # bars against single libraries, instead of `ratio`
    dtype: str = "float32"
    mask: float | None = None  # the value of nine classes in ten; then the bar is SLOWDOWN against no mask
    calls: int = 1  # timed together
    latency: float | None = None  # bar: seconds of one call

    def bar(self, peer: str) -> float | None:
        """Against this one; where there is none it is not compared."""
        return dict(self.over).get(peer.split(",")[0], self.ratio)

    @property
    def axis(self) -> int:
        """The class axis."""
        return min(1, len(self.shape) - 1)

    @property
    def two_inputs(self) -> bool:
        return self.loss in ("soft", "binary", "distillation")

    @property
    def arrays(self) -> int:
        """How many arrays of the size of the logits the operation has to touch."""
        return 1 + self.two_inputs + (self.mode not in ("forward", "in place"))


SLOWDOWN = 1.1
QUICK_BYTES = 16 << 20  # of the logits with --quick
LM, MID, TINY, SEG, FEW = (1024, 128_256), (65_536, 1000), (1_000_000, 10), (8, 21, 512, 512), (8, 128_256)
CE = "cross_entropy"
FEW_CLASSES = (2, 3, 5, 7, 16, 33, 64, 100, 128)


def over_loops(ratio: float) -> tuple[tuple[str, float], ...]:
    """Against loops that are written for one loss, in C or Python."""
    return (("C", ratio), ("numba", ratio))


def few_classes() -> list[Cell]:
    """Ten million elements. The shares are 0.8 of those of 10 classes; other peers are compared there."""
    return [
        cell
        for c in FEW_CLASSES
        for cell in (
            Cell(f"fwd-c{c}", CE, "forward", (10**7 // c, c), "read", (0.36, 0.28, 0.32), None, over_loops(1.2)),
            Cell(f"grad-c{c}", CE, "gradient", (10**7 // c, c), "copy", (0.40, 0.28, 0.32), None, over_loops(1.2)),
        )
    ]


CELLS = [
    Cell("fwd-lm", CE, "forward", LM, "read", (0.90, 0.85, 0.80), 2),
    Cell("grad-lm", CE, "gradient", LM, "copy", (0.85, 0.75, 0.65), 5),
    Cell("grad-fresh", CE, "fresh", LM, "copy", (0.45, 0.35, 0.25), 3),
    Cell("grad-inplace", CE, "in place", LM, "update", (0.85, 0.75, 0.55), 6),
    Cell("masked-100", CE, "forward", LM, "read", None, None, mask=-100.0),
    Cell("masked-1e4", CE, "forward", LM, "read", None, None, mask=-1e4),
    Cell("masked-inf", CE, "forward", LM, "read", None, None, mask=-math.inf),
    Cell("fwd-mid", CE, "forward", MID, "read", (0.85, 0.80, 0.70), 2),
    Cell("grad-mid", CE, "gradient", MID, "copy", (0.80, 0.70, 0.60), 4),
    Cell("fwd-tiny", CE, "forward", TINY, "read", (0.45, 0.35, 0.40), 5, over_loops(1.3)),
    Cell("grad-tiny", CE, "gradient", TINY, "copy", (0.50, 0.35, 0.40), 5, over_loops(1.3)),
    *few_classes(),
    Cell("fwd-seg", CE, "forward", SEG, "read", (0.60, 0.45, 0.40), 3, over_loops(1.3)),
    Cell("grad-seg", CE, "gradient", SEG, "copy", (0.60, 0.45, 0.40), 3, over_loops(1.3)),
    Cell("fwd-bf16", CE, "forward", LM, "read", (0.60, 0.45, 0.40), 2.5, dtype="bfloat16"),
    Cell("grad-bf16", CE, "gradient", LM, "copy", (0.50, 0.35, 0.30), 4, dtype="bfloat16"),
    Cell("fwd-f16", CE, "forward", LM, "read", (0.60, 0.45, 0.40), 2.5, dtype="float16"),
    Cell("grad-f16", CE, "gradient", LM, "copy", (0.50, 0.35, 0.30), 4, dtype="float16"),
    Cell("fwd-f64", CE, "forward", LM, "read", (0.80, 0.75, 0.60), 2.5, dtype="float64"),
    Cell("grad-f64", CE, "gradient", LM, "copy", (0.60, 0.45, 0.45), 4, dtype="float64"),
    Cell("soft", "soft", "gradient", (2048, 32_000), "2 reads + 1 write", (0.55, 0.55, 0.45), 4),
    Cell("lsm", "log_softmax", "output", (2048, 32_000), "copy", (0.85, 0.80, 0.70), 2),
    Cell("bce", "binary", "forward", (1 << 24,), "2 reads", (0.80, 0.75, 0.65), 4, over_loops(1.3)),
    Cell("bce-grad", "binary", "gradient", (1 << 24,), "2 reads + 1 write", (0.75, 0.65, 0.55), 4, over_loops(1.3)),
    Cell("distil", "distillation", "gradient", (1024, 32_000), "2 reads + 1 write", (0.50, 0.40, 0.38), 4),
    Cell("fwd-few", CE, "forward", FEW, "read", (0.65, 0.60, 0.60), 2),
    Cell("grad-few", CE, "gradient", FEW, "copy", (0.55, 0.50, 0.45), 1.5),
    Cell("small", CE, "fresh", (32, 10), None, None, 1.5, (("PyTorch", 4),), calls=200, latency=3e-6),
]
GROUPS = {
    "masked": [cell.name for cell in CELLS if cell.mask is not None],
    "fwd-few-classes": [f"fwd-c{c}" for c in FEW_CLASSES],
    "grad-few-classes": [f"grad-c{c}" for c in FEW_CLASSES],
}


def dtype_of(cell: Cell) -> np.dtype:
    if cell.dtype == "bfloat16":
        import ml_dtypes  # noqa: F401  NumPy knows the name from here on

    return np.dtype(cell.dtype)


@functools.lru_cache(maxsize=1)  # several cells in a row have the same logits
def shared_logits(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return random_logits(shape, dtype)


def make_target(cell: Cell, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    rng = np.random.default_rng(1)
    if cell.loss == "binary":
        target = aligned_empty(shape, dtype)
        target[...] = rng.integers(2, size=shape, dtype=np.uint8)
        return target
    if cell.two_inputs:
        target = random_logits(shape, dtype, seed=1)
        return softmax_in_place(target) if cell.loss == "soft" else target
    indices = rng.integers(shape[cell.axis], size=shape[: cell.axis] + shape[cell.axis + 1 :])
    return indices - indices % 10 if cell.mask is not None else indices  # every tenth class is not masked


def copied(array: np.ndarray) -> np.ndarray:
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def make_buffers(cell: Cell, make_logits: Callable[..., np.ndarray] = random_logits) -> Buffers:
    dtype, shape = dtype_of(cell), cell.shape
    logits = make_logits(shape, dtype)
    if cell.mask is not None:
        logits = copied(logits)
        logits[:, np.arange(shape[1]) % 10 != 0] = cell.mask
    return Buffers(logits, make_target(cell, shape, dtype), make_output(cell, logits))


def make_output(cell: Cell, logits: np.ndarray) -> np.ndarray:
    """Written once here: the page faults of fresh memory are not what is measured."""
    return np.empty(0, logits.dtype) if cell.mode == "forward" else copied(logits)


def shortened(cell: Cell, most: int) -> Cell:
    """With no more rows than fit into `most` bytes of logits, but a few; where a row has no classes, of elements."""
    row_bytes = math.prod(cell.shape[1:]) * dtype_of(cell).itemsize
    rows = min(cell.shape[0], max(8 if len(cell.shape) == 2 else 1, most // row_bytes))
    return replace(cell, shape=(rows, *cell.shape[1:]))


def make_sets(cell: Cell, quick: bool) -> list[Buffers]:
    """As many sets of equal arrays as it takes to be well beyond the last-level cache, where memory allows."""
    if quick:
        cell = shortened(cell, QUICK_BYTES)
    # Room for what peers need at a time: their scratch, their saved activations, their gradients.
    row_bytes = math.prod(cell.shape[1:]) * dtype_of(cell).itemsize
    rows = max(1, min(cell.shape[0], int(0.6 * free_memory() / (10 * row_bytes))))
    first = make_buffers(replace(cell, shape=(rows, *cell.shape[1:])), shared_logits)
    if cell.ceiling is None:
        return [first]
    wanted = math.ceil(2 * last_level_cache() / first.logits.nbytes)
    affordable = int(0.2 * free_memory() / (3 * first.logits.nbytes))
    others = [copied(first.logits) for _ in range(min(wanted - 1, affordable))]
    return [first, *(Buffers(x, copied(first.target), make_output(cell, x)) for x in others)]


def cached_cells(cell: Cell) -> tuple[Cell, Cell]:
    """The same operation on data in the L2 cache, and on a quarter of that: about 512 KiB, at least four rows."""
    size = (512 << 10) // (cell.arrays * dtype_of(cell).itemsize)
    if cell.loss == "binary":
        big: tuple[int, ...] = (size,)
        quarter: tuple[int, ...] = (size // 4,)
    elif len(cell.shape) > 2:
        positions = size // cell.shape[1] // 64 * 16
        big, quarter = (1, cell.shape[1], 4 * positions), (1, cell.shape[1], positions)
    else:
        classes = min(cell.shape[1], 32_768, size // 4)
        rows = size // classes // 4
        big, quarter = (4 * rows, classes), (rows, classes)
    return replace(cell, shape=big), replace(cell, shape=quarter)


def bytes_moved(cell: Cell, b: Buffers) -> int:
    """Logits, targets and outputs, once each."""
    output = 0 if cell.mode == "forward" else b.logits.nbytes
    target = 0 if cell.loss == "log_softmax" else b.target.nbytes
    return b.logits.nbytes + target + output
