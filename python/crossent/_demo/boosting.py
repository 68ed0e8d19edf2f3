"""A teacher distilled into boosted trees: where it knows more than the labels say, and where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.svm import SVC

import crossent as xe
from crossent.boosting import Softmax
from crossent.sklearn import TemperatureScaling

from .networks import Estimate, Scores, estimate

LIBRARIES = {"xgboost": "XGBoost", "lightgbm": "LightGBM"}  # the extra `boosting`: the first that is installed is used
RUNS, QUICK_RUNS = 8, 4
ROUNDS, TEACHER_ROUNDS = 30, 60
DEPTH, LEARNING_RATE = 4, 0.3
CLASSES, ROWS, TEACHER_ROWS, TEST_ROWS = 5, 1000, 10_000, 3000  # of the classes that overlap
TRAINED_ON = "hard labels", "teacher", "half of each"


@dataclass(frozen=True)
class Data:
    """Of one run."""

    x: np.ndarray
    y: np.ndarray
    teacher: np.ndarray  # its probabilities for the rows of x
    x_test: np.ndarray
    y_test: np.ndarray
    teacher_test: np.ndarray

    def objective(self, trained_on: str) -> Softmax:
        hard = np.eye(self.teacher.shape[1])[self.y]
        soft = {"hard labels": None, "teacher": self.teacher, "half of each": 0.5 * self.teacher + 0.5 * hard}
        return Softmax(hard.shape[1], soft_labels=soft[trained_on])


@dataclass(frozen=True)
class Taught(Scores):
    curve: np.ndarray  # (runs, rounds): the loss on the test set after each round


@dataclass(frozen=True)
class Students:
    """Those of one kind of data, by what they were trained on."""

    rows: int
    teacher: Scores
    taught: dict[str, Taught]

    def gain(self, trained_on: str) -> tuple[Estimate, Estimate]:
        """What it adds to the accuracy and to the loss of hard labels, run by run."""
        taught, hard = self.taught[trained_on], self.taught["hard labels"]
        return estimate(taught.accuracy - hard.accuracy), estimate(taught.loss - hard.loss)


@dataclass(frozen=True)
class Result:
    library: str  # its name and version
    runs: int
    students: dict[str, Students]  # by data


Rows = tuple[np.ndarray, np.ndarray]  # and their classes
Trained = tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]  # from rows to their margins; the curve of the test set


def train_xgboost(objective: Softmax, train: Rows, test: Rows, rounds: int) -> Trained:
    import xgboost

    parameters = {
        "num_class": objective.n_classes,
        "base_score": 0.5,
        "max_depth": DEPTH,
        "eta": LEARNING_RATE,
        "nthread": 1,
        "disable_default_eval_metric": True,
    }
    found: dict[str, dict[str, list[float]]] = {}
    model = xgboost.train(
        parameters,
        xgboost.DMatrix(*train, nthread=1),
        rounds,
        obj=objective.xgboost,
        custom_metric=objective.xgboost_metric,
        evals=[(xgboost.DMatrix(*test, nthread=1), "test")],
        evals_result=found,
        verbose_eval=False,
    )
    predict = lambda rows: model.predict(xgboost.DMatrix(rows, nthread=1), output_margin=True)
    return predict, np.array(found["test"]["log_loss"])


def train_lightgbm(objective: Softmax, train: Rows, test: Rows, rounds: int) -> Trained:
    import lightgbm

    parameters = {
        "objective": objective.lightgbm,
        "num_class": objective.n_classes,
        "max_depth": DEPTH,
        "learning_rate": LEARNING_RATE,
        "num_threads": 1,
        "verbosity": -1,
    }
    found: dict[str, dict[str, list[float]]] = {}
    data = lightgbm.Dataset(*train)
    model = lightgbm.train(
        parameters,
        data,
        rounds,
        valid_sets=[lightgbm.Dataset(*test, reference=data)],
        valid_names=["test"],
        feval=objective.lightgbm_metric,
        callbacks=[lightgbm.record_evaluation(found)],
    )
    return model.predict, np.array(found["test"]["log_loss"])


TRAIN = {"xgboost": train_xgboost, "lightgbm": train_lightgbm}


def overlapping_classes(library: str, runs: int) -> Iterator[Data]:
    """The teacher, of more trees, has seen ten times as many other rows. It is the same in each run."""
    own = runs * ROWS
    x, y = make_classification(
        own + TEACHER_ROWS + TEST_ROWS,
        n_informative=10,
        n_classes=CLASSES,
        n_clusters_per_class=2,
        flip_y=0.05,
        class_sep=0.8,
        random_state=7,
    )
    test = x[-TEST_ROWS:], y[-TEST_ROWS:]
    seen = slice(own, own + TEACHER_ROWS)
    margins, _ = TRAIN[library](Softmax(CLASSES), (x[seen], y[seen]), test, TEACHER_ROUNDS)
    taught, taught_test = xe.softmax(margins(x[:own])), xe.softmax(margins(test[0]))
    for start in range(0, own, ROWS):
        rows = slice(start, start + ROWS)
        yield Data(x[rows], y[rows], taught[rows], *test, taught_test)


def digits(library: str, runs: int) -> Iterator[Data]:
    """The teacher, a support vector machine, has seen the student's rows, but never those that it gives labels to."""
    images, labels = load_digits(return_X_y=True)
    teacher = TemperatureScaling(SVC(gamma=0.001, C=10))
    for run in range(runs):
        x, x_test, y, y_test = train_test_split(images, labels, test_size=0.5, random_state=run, stratify=labels)
        taught = cross_val_predict(teacher, x, y, cv=3, method="predict_proba")
        yield Data(x, y, taught, x_test, y_test, teacher.fit(x, y).predict_proba(x_test))


DATA = {"overlapping": overlapping_classes, "digits": digits}


def installed() -> str | None:
    return next((name for name in LIBRARIES if find_spec(name) is not None), None)


def steps(runs: int) -> int:
    return len(DATA) * len(TRAINED_ON) * runs


def run(advance: Callable[[], object], runs: int) -> Result | None:
    """None without either of the libraries."""
    library = installed()
    if library is None:
        return None

    def students(draws: Iterator[Data]) -> Students:
        scores: dict[str, list[tuple[float, float, np.ndarray]]] = {name: [] for name in TRAINED_ON}
        teacher = []
        for data in draws:
            for name, found in scores.items():
                test = data.x_test, data.y_test
                margins, curve = TRAIN[library](data.objective(name), (data.x, data.y), test, ROUNDS)
                right = margins(data.x_test).argmax(axis=1) == data.y_test
                found.append((float(right.mean()), float(curve[-1]), curve))
                advance()
            right = data.teacher_test.argmax(axis=1) == data.y_test
            teacher.append((float(right.mean()), float(xe.nll_loss(np.log(data.teacher_test), data.y_test))))
        taught = {name: Taught(*map(np.array, zip(*found, strict=True))) for name, found in scores.items()}
        return Students(len(data.x), Scores(*map(np.array, zip(*teacher, strict=True))), taught)

    name = f"{LIBRARIES[library]} {import_module(library).__version__}"
    return Result(name, runs, {kind: students(draw(library, runs)) for kind, draw in DATA.items()})
