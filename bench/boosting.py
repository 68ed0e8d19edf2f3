"""The objectives of crossent.boosting beside those of XGBoost and LightGBM: the figures of docs/how-to/boosting.md.

    pip install 'crossent[boosting]' scikit-learn
    python bench/boosting.py trees|time|numpy|teacher [--quick]

One thread each. Times are medians of alternating runs in one process: their ratio counts.
"""

import argparse
import json
import statistics
import time

import lightgbm
import numpy as np
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.svm import SVC

import crossent as xe
from crossent import boosting

# ---- Data ------------------------------------------------------------------------------------------------------------


def made(rows, classes):
    return make_classification(rows, 20, n_informative=10, n_classes=classes, n_clusters_per_class=2, flip_y=0.05,
                               class_sep=0.8, random_state=7)


DATA = {
    "digits, 10 classes": lambda: load_digits(return_X_y=True),
    "breast cancer, binary": lambda: load_breast_cancer(return_X_y=True),
    "made, 100,000 rows, 5 classes": lambda: made(100_000, 5),
    "made, 100,000 rows, binary": lambda: made(100_000, 2),
}

# ---- Both libraries: (builtin model, our model), by the library's own objective --------------------------------------


def objective_of(classes):
    return boosting.Softmax(classes) if classes > 2 else boosting.Logistic()


def train_xgboost(x, y, weight, rounds, ours, objective=None):
    classes = int(y.max()) + 1
    data = xgboost.QuantileDMatrix(x, y, weight=weight, nthread=1)
    common = {"nthread": 1, "max_depth": 6, "eta": 0.3, "tree_method": "hist", "verbosity": 0,
              "disable_default_eval_metric": True, **({"num_class": classes} if classes > 2 else {})}
    if ours:
        # A margin of 0 where the objective is ours, and the probability 1/2 where it is theirs.
        params = {**common, "base_score": 0.5 if classes > 2 else 0.0}
        return xgboost.train(params, data, rounds, obj=(objective or objective_of(classes)).xgboost)
    name = "multi:softprob" if classes > 2 else "binary:logistic"
    return xgboost.train({**common, "base_score": 0.5, "objective": name}, data, rounds)


def train_lightgbm(x, y, weight, rounds, ours, objective=None):
    classes = int(y.max()) + 1
    common = {"num_threads": 1, "num_leaves": 31, "learning_rate": 0.1, "verbosity": -1, "deterministic": True,
              "force_row_wise": True, "boost_from_average": False,
              **({"num_class": classes} if classes > 2 else {})}
    data = lightgbm.Dataset(x, y, weight=weight, params=common)
    builtin = "multiclass" if classes > 2 else "binary"
    chosen = (objective or objective_of(classes)).lightgbm if ours else builtin
    return lightgbm.train({**common, "objective": chosen}, data, rounds)


TRAIN = {"XGBoost": train_xgboost, "LightGBM": train_lightgbm}

# ---- The same trees --------------------------------------------------------------------------------------------------


def trees_of(model):
    """Of each tree: all that says which rows reach which leaf, and the values of the leaves."""
    if isinstance(model, lightgbm.Booster):
        return [flat(tree["tree_structure"]) for tree in model.dump_model()["tree_info"]]
    found = []
    for tree in json.loads(model.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]:
        left, values = np.array(tree["left_children"]), np.array(tree["split_conditions"], np.float32)
        inner = left >= 0
        found.append(((tree["left_children"], tree["right_children"], tree["split_indices"], tree["default_left"],
                       values[inner].tolist()), values[~inner]))
    return found


def flat(node):
    """LightGBM's nodes in preorder."""
    structure, leaves = [], []

    def visit(node):
        if "leaf_value" in node:
            structure.append("leaf")
            leaves.append(node["leaf_value"])
            return
        structure.append((node["split_feature"], node["threshold"], node["default_left"]))
        visit(node["left_child"])
        visit(node["right_child"])

    visit(node)
    return structure, np.array(leaves)


def compare_trees(rounds):
    print(f"{'library':9} {'data':31} {'weights':7} {'same trees':>12} {'largest difference of a leaf':>30}")
    for library, train in TRAIN.items():
        for name, load in DATA.items():
            x, y = load()
            for weighted in (False, True):
                weight = np.random.default_rng(3).uniform(0.2, 3, len(y)) if weighted else None
                theirs, ours = (trees_of(train(x, y, weight, rounds, ours)) for ours in (False, True))
                same = [a[0] == b[0] for a, b in zip(theirs, ours, strict=True)]
                first = same.index(False) if False in same else len(same)
                gaps = [np.abs(a[1] - b[1]).max() for a, b, s in zip(theirs, ours, same, strict=True) if s]
                print(f"{library:9} {name:31} {'yes' if weighted else 'no':7} {sum(same):5} of {len(same):3} "
                      f"{max(gaps):20.1e}" + ("" if all(same) else f"   first other tree: {first}"), flush=True)


# ---- Time ------------------------------------------------------------------------------------------------------------


def alternating(calls, repeats, of=statistics.median):
    """Median seconds of each of the calls."""
    times = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: of(some) for name, some in times.items()}


class Timed:
    """An objective that adds up the seconds spent in it, Python's part included."""

    def __init__(self, objective):
        self.objective, self.seconds, self.calls = objective, 0.0, 0

    def __getattr__(self, name):
        method = getattr(self.objective, name)

        def timed(*arguments):
            start = time.perf_counter()
            result = method(*arguments)
            self.seconds += time.perf_counter() - start
            self.calls += 1
            return result

        return timed


def compare_times(rounds, repeats):
    print(f"{'library':9} {'data':31} {'built-in':>12} {'ours':>12} {'ratio':>7} {'in the objective':>17}   per round")
    for library, train in TRAIN.items():
        for name, load in DATA.items():
            x, y = load()
            objective = Timed(objective_of(int(y.max()) + 1))
            found = alternating({ours: lambda ours=ours: train(x, y, None, rounds, ours, objective)  # noqa: B023
                                 for ours in (False, True)}, repeats)
            # What comes before the first round is the same in both, and is left in: it makes the ratio no better.
            print(f"{library:9} {name:31} {1e3 * found[False] / rounds:9.2f} ms {1e3 * found[True] / rounds:9.2f} ms "
                  f"{found[True] / found[False]:7.3f} {1e3 * objective.seconds / objective.calls:14.3f} ms", flush=True)


class Rows:
    """What an objective asks a data set for."""

    def __init__(self, labels):
        self.labels = labels

    def get_label(self):
        return self.labels

    def get_weight(self):
        return None


def numpy_softmax(predt, data):
    """As it is written by hand, over whole arrays: dmlc/xgboost, demo/guide-python/custom_softmax.py, without loops."""
    y = data.get_label().astype(int)
    e = np.exp(predt - predt.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    hess = np.maximum(2 * p * (1 - p), 1e-16)
    grad = p
    grad[np.arange(len(y)), y] -= 1
    return grad, hess


def in_a_row(calls, repeats):
    """The least seconds of each of the calls, all repeats of one before those of the next."""
    return {name: alternating({name: call}, repeats, min)[name] for name, call in calls.items()}


def compare_with_numpy(classes_of, repeats):
    """In a row, memory is taken again that was written before; alternating, it must be made, and caches are cold."""
    print(f"{'':17}{'fastest in a row: ms':>24} times as fast | {'median of alternating':>23} times as fast\n"
          "classes  margins " + 2 * "   NumPy 1 thread    2 1 thread    2 | ")
    for classes in classes_of:
        n = 2_000_000 // max(classes, 100)
        for kind, dtype, order in (("xgboost", np.float32, "C"), ("lightgbm", np.float64, "F")):
            rng = np.random.default_rng(0)
            margins = np.asarray(rng.normal(0, 2, (n, classes)), dtype, order=order)
            data = Rows(rng.integers(0, classes, n).astype(np.float32))
            ours = getattr(boosting.Softmax(classes), kind)

            def call(threads, function, margins=margins, data=data):
                with xe.num_threads(threads):
                    function(margins, data)

            calls = {0: lambda call=call: call(1, numpy_softmax), 1: lambda call=call, f=ours: call(1, f),
                     2: lambda call=call, f=ours: call(2, f)}
            line = f"{classes:7} {kind:>8} "
            for measure in (in_a_row, alternating):
                a, b, c = (1e3 * t for t in measure(calls, repeats).values())
                line += f"{a:8.2f} {b:8.2f} {c:4.2f} {a / b:8.1f} {a / c:4.1f} | "
            print(line, flush=True)


# ---- A teacher -------------------------------------------------------------------------------------------------------


def digits_and_teacher(seed):
    """(rows, labels, teacher's probabilities) to learn from, (rows, labels) to test: a support vector machine."""
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.5, random_state=seed, stratify=y)
    machine = CalibratedClassifierCV(SVC(gamma=0.001, C=10), ensemble=False)
    taught = cross_val_predict(machine, x_train, y_train, cv=5, method="predict_proba")
    return (x_train, y_train, taught), (x_test, y_test)


def overlapping_classes_and_teacher(seed):
    """The same of classes that overlap: many trees that have learnt from ten times as many other rows."""
    x, y = made(31_000, 5)
    order = np.random.default_rng(seed).permutation(len(y))
    own, other, test = order[:1000], order[1000:11_000], order[11_000:]
    params = {"num_class": 5, "objective": "multi:softprob", "max_depth": 5, "eta": 0.15, "nthread": 1, "max_bin": 64,
              "subsample": 0.7, "seed": seed}
    teacher = xgboost.train(params, xgboost.QuantileDMatrix(x[other], y[other], max_bin=64, nthread=1), 80)
    return (x[own], y[own], teacher.predict(xgboost.DMatrix(x[own]))), (x[test], y[test])


def teach(draw, seeds, rounds):
    results = {}
    for seed in range(seeds):
        (x, y, taught), (x_test, y_test) = draw(seed)
        classes = taught.shape[1]
        objectives = {"labels": {}, "smoothed labels": {"label_smoothing": 0.1}, "teacher": {"soft_labels": taught},
                      "half of each": {"soft_labels": 0.5 * taught + 0.5 * np.eye(classes, dtype=taught.dtype)[y]}}
        for name, options in objectives.items():
            model = train_xgboost(x, y, None, rounds, True, boosting.Softmax(classes, **options))
            margins = model.predict(xgboost.DMatrix(x_test), output_margin=True)
            results.setdefault(name, []).append(scores(margins, y_test))
    labels = np.array(results["labels"])
    print(f"\n{draw.__name__}: {seeds} seeds")
    print(f"{'trained on':16} {'log loss':>9} {'error':>8}   seeds better than labels")
    for name, found in results.items():
        found = np.array(found)
        wins = (found < labels).sum(axis=0)
        print(f"{name:16} {found[:, 0].mean():9.4f} {found[:, 1].mean():8.2%}   log loss {wins[0]}, error {wins[1]}")


def scores(margins, y):
    return float(xe.cross_entropy(margins, y)), float(np.mean(margins.argmax(axis=1) != y))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("trees", "time", "numpy", "teacher"))
    parser.add_argument("--quick", action="store_true", help="fewer rounds and repeats")
    arguments = parser.parse_args()
    quick = arguments.quick
    print(f"XGBoost {xgboost.__version__}, LightGBM {lightgbm.__version__}, crossent {xe.__version__}")
    if arguments.part == "trees":
        compare_trees(5 if quick else 20)
    elif arguments.part == "time":
        compare_times(5 if quick else 20, 5 if quick else 9)
    elif arguments.part == "numpy":
        compare_with_numpy((100,) if quick else (3, 10, 100, 1000), 15)
    else:
        teach(digits_and_teacher, 2 if quick else 10, 20)
        teach(overlapping_classes_and_teacher, 2 if quick else 10, 20)


if __name__ == "__main__":
    main()
