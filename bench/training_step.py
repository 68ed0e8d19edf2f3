"""A training step of a small language model with PyTorch's cross-entropy and with crossent's: time, memory, loss curve.

The ways take turns, step by step, in one process; the memory is that of a process of its own for each. See
docs/how-to/pytorch.md.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import crossent.torch as xt

VOCABULARY, WIDTH, LENGTH, BATCH = 32_000, 256, 128, 8
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

Loss = Callable[[Tensor, Tensor], Tensor]
WAYS: dict[str, Callable[[], Loss]] = {
    "PyTorch": lambda: F.cross_entropy,
    "PyTorch compiled": lambda: torch.compile(F.cross_entropy, dynamic=False),
    "crossent": lambda: xt.cross_entropy,
    "crossent in place": lambda: xt.CrossEntropyLoss(inplace=True),
}


class Model(nn.Module):
    """Two layers of a transformer between an embedding and a linear layer over the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.position = nn.Parameter(torch.randn(LENGTH, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.mask = nn.Transformer.generate_square_subsequent_mask(LENGTH)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layers(self.embedding(tokens) + self.position, mask=self.mask, is_causal=True))


class Training:
    """One model with its optimizer; the same numbers for each way of computing the loss."""

    def __init__(self, way: str, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.model, self.loss, self.dtype = Model(), WAYS[way](), dtype
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.5)
        self.curve: list[float] = []
        self.step_times: list[float] = []
        self.loss_times: list[float] = []

    def step(self, tokens: Tensor) -> None:
        begin = time.perf_counter()
        # PyTorch's products of float16 matrices take many times as long on most processors: only the logits have it.
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype is torch.bfloat16):
            logits = self.model(tokens[:, :-1]).flatten(0, 1).to(self.dtype)
        before = time.perf_counter()
        loss = self.loss(logits, tokens[:, 1:].flatten())
        between = time.perf_counter()
        backward_began: list[float] = []
        logits.register_hook(lambda _: backward_began.append(time.perf_counter()))  # when the loss's part has ended
        begin_backward = time.perf_counter()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step_times.append(time.perf_counter() - begin)
        self.loss_times.append(between - before + backward_began[0] - begin_backward)
        self.curve.append(float(loss.detach()))


def batches(count: int) -> list[Tensor]:
    """Sequences in which a token mostly decides the next one, and few tokens are most of the text."""
    generator = torch.Generator().manual_seed(1)
    successor = torch.randperm(VOCABULARY, generator=generator)
    shape = (count, BATCH, LENGTH + 1)
    tokens = (VOCABULARY ** torch.rand(shape, generator=generator)).long() - 1
    follows = torch.rand(shape, generator=generator) < 0.7
    for k in range(1, LENGTH + 1):
        tokens[:, :, k] = torch.where(follows[:, :, k], successor[tokens[:, :, k - 1]] % 500, tokens[:, :, k])
    return list(tokens)


def peak_memory(way: str, options: argparse.Namespace) -> float:
    """MB that a step adds to what the process holds between steps."""
    command = [sys.executable, __file__, "--memory", way, "--dtype", options.dtype, "--threads", str(options.threads)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def memory(name: str) -> float:
    """MB: VmRSS, that of now, or VmHWM, the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def print_memory(options: argparse.Namespace) -> None:
    training = Training(options.memory, DTYPES[options.dtype])
    first, second = batches(2)
    training.step(first)  # which compiles
    gc.collect()
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    training.step(second)
    print(memory("VmHWM") - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the logits; bfloat16 by autocast")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        return print_memory(options)
    trainings = {way: Training(way, DTYPES[options.dtype]) for way in WAYS}
    for tokens in batches(options.steps):
        for training in trainings.values():
            training.step(tokens)
    first = trainings["PyTorch"]
    print(f"{options.dtype}: {BATCH * LENGTH} tokens, {VOCABULARY} classes, {options.threads} threads, median of "
          f"{options.steps - 2} steps")
    print(f"{'':20}{'loss ms':>10}{'step ms':>10}{'loss':>8}{'step':>8}{'memory MB':>11}{'curve':>10}")
    for way, training in trainings.items():
        loss, step = (statistics.median(times[2:]) for times in (training.loss_times, training.step_times))
        ratios = [
            statistics.median(a / b for a, b in zip(theirs[2:], ours[2:], strict=True))
            for theirs, ours in ((first.loss_times, training.loss_times), (first.step_times, training.step_times))
        ]
        apart = max(abs(a - b) / b for a, b in zip(training.curve, first.curve, strict=True))
        print(f"{way:20}{loss * 1e3:>10.1f}{step * 1e3:>10.1f}{ratios[0]:>7.2f}x{ratios[1]:>7.2f}x"
              f"{peak_memory(way, options):>11.0f}{apart:>10.1e}", flush=True)
    print(f"loss at the first and the last step: {first.curve[0]:.4f}, {first.curve[-1]:.4f}")


if __name__ == "__main__":
    main()
