"""Distillation on digits: a small network learns from the logits of a large one, and from the labels alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import crossent as xe

from . import digits
from .networks import BATCH, Estimate, LossGradient, Networks, Scores, estimate, fit, label_loss, score

TEACHER_UNITS, TEACHER_STEPS = 256, 300
STUDENT_UNITS, STUDENT_STEPS = 16, 2000
FEW = 100  # images, a thirteenth of the training set
TEMPERATURES = (1, 2, 4, 8)
ALPHA = 0.9  # the weight of the teacher; the labels have the rest
STEPS = TEACHER_STEPS + 2 * (1 + len(TEMPERATURES)) * STUDENT_STEPS


@dataclass(frozen=True)
class Students:
    """Those trained on one number of images: from the same initial weights, on the same batches."""

    images: int
    hard: Scores  # from the labels alone
    distilled: dict[int, Scores]  # by temperature

    def gain(self, temperature: int) -> tuple[Estimate, Estimate]:
        """What the teacher adds to the accuracy and to the loss, run by run."""
        taught = self.distilled[temperature]
        return estimate(taught.accuracy - self.hard.accuracy), estimate(taught.loss - self.hard.loss)


@dataclass(frozen=True)
class Result:
    teacher: Scores
    students: list[Students]


def teacher_loss(labels: np.ndarray, teacher_logits: np.ndarray, temperature: float) -> LossGradient:
    """The gradient of the distillation loss, a mean over the batch of each run."""
    run = np.arange(len(labels))[:, None]

    def gradient(rows: np.ndarray, logits: np.ndarray) -> np.ndarray:
        _, d_logits = xe.distillation_loss(
            logits,
            teacher_logits[run, rows],
            labels[run, rows],
            axis=-1,
            temperature=temperature,
            alpha=ALPHA,
            denominator=BATCH,
            return_grad=True,
        )
        return d_logits

    return gradient


def run(advance: Callable[[], object], runs: int) -> Result:
    x_train, x_test, y_train, y_test = digits.load()
    x_train, x_test = x_train.astype(np.float32), x_test.astype(np.float32)
    inputs, classes = x_train.shape[1], int(y_train.max()) + 1

    def train(units: int, steps: int, x: np.ndarray, loss: LossGradient) -> Networks:
        rng = np.random.default_rng(units)
        return fit(Networks(rng, runs, inputs, units, classes), x, loss, steps, rng, advance)

    every_image = np.broadcast_to(x_train, (runs, *x_train.shape))
    every_label = np.broadcast_to(y_train, (runs, len(y_train)))
    teacher = train(TEACHER_UNITS, TEACHER_STEPS, every_image, label_loss(every_label))
    teacher_logits = teacher.logits(x_train)

    def students(images: int) -> Students:
        """Each run has its own teacher, and its own choice of images."""
        order = np.tile(np.arange(len(x_train)), (runs, 1))
        chosen = np.random.default_rng(images).permuted(order, axis=1)[:, :images]
        x, y = x_train[chosen], y_train[chosen]
        z = np.take_along_axis(teacher_logits, chosen[..., None], axis=1)

        def scores(loss: LossGradient) -> Scores:
            return score(train(STUDENT_UNITS, STUDENT_STEPS, x, loss), x_test, y_test)

        return Students(images, scores(label_loss(y)), {t: scores(teacher_loss(y, z, t)) for t in TEMPERATURES})

    return Result(score(teacher, x_test, y_test), [students(FEW), students(len(x_train))])
