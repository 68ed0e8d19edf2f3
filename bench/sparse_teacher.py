"""What a student learns from eight numbers a row: python bench/sparse_teacher.py [--steps 400]

The teacher is real: for each of the most frequent tokens of the Python standard library's source, which token follows
it, as counted, backed off to how often tokens are at all. The student is a table of vectors times a matrix, trained by
Adam on the teacher's eight likeliest tokens under each `tail` of sparse_distillation_loss, or on eight tokens drawn
from the teacher anew in each step. It is judged by its divergence from the whole teacher, which the first row of the
table has been trained on.
"""

import argparse
import collections
import re
import sysconfig
import time
from pathlib import Path

import numpy as np

import crossent as xe

CONTEXTS, TOKENS, LISTED, RANK = 1024, 4096, 8, 48
BACK_OFF = 8.0  # counts of the frequencies beside those of a context
TOKEN = re.compile(r"\w+|[^\w\s]")


def tokens():
    """Of the modules of the standard library, the most frequent as numbers, others left out."""
    text = [TOKEN.findall(path.read_text(encoding="utf-8", errors="ignore"))
            for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))]
    number = {word: k for k, (word, _) in enumerate(
        collections.Counter(word for words in text for word in words).most_common(TOKENS))}
    return [[number[word] for word in words if word in number] for words in text]


def teacher():
    """(the probabilities of the next token after each of the most frequent ones, how frequent these are)"""
    counts = np.zeros((CONTEXTS, TOKENS))
    frequency = np.zeros(TOKENS)
    for sequence in map(np.array, tokens()):
        before, after = sequence[:-1], sequence[1:]
        np.add.at(frequency, sequence, 1.0)
        np.add.at(counts, (before[before < CONTEXTS], after[before < CONTEXTS]), 1.0)
    weight = counts.sum(axis=1)
    p = counts + BACK_OFF * frequency / frequency.sum()
    return p / p.sum(axis=1, keepdims=True), weight / weight.sum()


class Student:
    """Logits of rank RANK, and a bias; Adam."""

    def __init__(self, frequency, rng):
        self.parameters = [rng.normal(0, 0.1, (CONTEXTS, RANK)), rng.normal(0, 0.1, (RANK, TOKENS)), np.log(frequency)]
        self.parameters = [p.astype(np.float32) for p in self.parameters]
        self.moments = [[np.zeros_like(p), np.zeros_like(p)] for p in self.parameters]
        self.steps = 0

    def logits(self):
        vectors, matrix, bias = self.parameters
        return vectors @ matrix + bias

    def step(self, gradient, rate):
        vectors, matrix, _ = self.parameters
        self.steps += 1
        gradients = (gradient @ matrix.T, vectors.T @ gradient, gradient.sum(axis=0))
        for p, g, (first, second) in zip(self.parameters, gradients, self.moments, strict=True):
            first += 0.1 * (g - first)
            second += 0.01 * (g * g - second)
            p -= rate * first / (1 - 0.9**self.steps) / (np.sqrt(second / (1 - 0.99**self.steps)) + 1e-12)


def losses(p, rng):
    """{name: a function of logits and options}"""
    log_p = np.log(p).astype(np.float32)
    top = np.argsort(-p, axis=1)[:, :LISTED]
    values = np.take_along_axis(log_p, top, axis=1)
    cumulative = p.cumsum(axis=1)
    ones = np.ones((CONTEXTS, LISTED), np.float32)

    def drawn():
        u = rng.random((CONTEXTS, LISTED))
        return np.array([np.searchsorted(c, v * c[-1]) for c, v in zip(cumulative, u, strict=True)])

    def of_tail(tail):
        return lambda x, **options: xe.sparse_distillation_loss(x, top, values, tail=tail, **options)

    return {"the whole teacher": lambda x, **options: xe.kl_div_with_logits(x, log_p, **options),
            **{f'top {LISTED}, tail="{tail}"': of_tail(tail) for tail in ("bucket", "uniform", "renormalize", "zero")},
            f"{LISTED} samples as weights": lambda x, **options: xe.sparse_distillation_loss(
                x, drawn(), ones, values_are="weights", **options)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    steps = parser.parse_args().steps
    p, weight = teacher()
    log_p, v = np.log(p).astype(np.float32), weight.astype(np.float32)
    likeliest = np.argsort(-p, axis=1)[:, :LISTED]
    outside = lambda q: 1 - float(weight @ np.take_along_axis(q, likeliest, axis=1).sum(axis=1))
    print(f"{CONTEXTS} contexts, {TOKENS} tokens; {outside(p):.3f} of the teacher is outside its {LISTED} likeliest\n")
    print(f"{'trained on':32} {'KL to the whole teacher':>24} {'outside the likeliest':>22} {'seconds':>8}")
    for name, loss in losses(p, np.random.default_rng(1)).items():
        student, began = Student(weight @ p, np.random.default_rng(0)), time.perf_counter()
        for step in range(steps):
            rate = 0.03 * min(1.0, 2 * (1 - step / steps))
            student.step(loss(student.logits(), sample_weight=v, return_grad=True)[1], rate)
        x = student.logits()
        kl, seconds = xe.kl_div_with_logits(x, log_p, sample_weight=v), time.perf_counter() - began
        print(f"{name:32} {kl:24.4f} {outside(xe.softmax(x)):22.3f} {seconds:8.1f}", flush=True)


if __name__ == "__main__":
    main()
