"""With LightGBM: the trees of its own objectives, its two interfaces, and what it must not do with soft labels."""

import numpy as np
import pytest
from boosting.data import assert_same_trees, lightgbm_trees, objective_of, some_data

from crossent import boosting

lgb = pytest.importorskip("lightgbm", reason="an optional library: the session adapters has it")
ROUNDS = 8
COMMON = {"num_threads": 1, "num_leaves": 15, "verbosity": -1, "deterministic": True, "force_row_wise": True,
          "boost_from_average": False}


def parameters(classes, objective):
    return {**COMMON, "objective": objective, **({"num_class": classes} if classes > 2 else {})}


def trained(classes, objective, weight=None, **more):
    x, y, _ = some_data(classes)
    return lgb.train(parameters(classes, objective), lgb.Dataset(x, y, weight=weight), ROUNDS, **more)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_same_trees(classes, weighted):
    v = some_data(classes)[2] if weighted else None
    theirs = trained(classes, "multiclass" if classes > 2 else "binary", v)
    ours = trained(classes, objective_of(classes).lightgbm, v)
    assert_same_trees(lightgbm_trees(theirs), lightgbm_trees(ours))


@pytest.mark.parametrize("classes", [2, 5])
def test_metric(classes):
    x, y, v = some_data(classes)
    logs, name = ({}, {}), "multi_logloss" if classes > 2 else "binary_logloss"
    objective = objective_of(classes)
    for log, chosen, feval in ((logs[0], "multiclass" if classes > 2 else "binary", None),
                               (logs[1], objective.lightgbm, objective.lightgbm_metric)):
        data = lgb.Dataset(x, y, weight=v)
        lgb.train({**parameters(classes, chosen), "metric": "None" if feval else name}, data, 4, valid_sets=[data],
                  valid_names=["train"], feval=feval, callbacks=[lgb.record_evaluation(log)])
    np.testing.assert_allclose(logs[1]["train"]["log_loss"], logs[0]["train"][name], rtol=1e-6)


def test_scikit_learn():
    x, y, v = some_data(4)
    wanted = trained(4, boosting.Softmax(4).lightgbm, v)
    model = lgb.LGBMClassifier(n_estimators=ROUNDS, num_leaves=15, n_jobs=1, verbosity=-1, deterministic=True,
                               force_row_wise=True, objective=boosting.Softmax(4).lightgbm_sklearn)
    model.fit(x, y, sample_weight=v)
    assert_same_trees(lightgbm_trees(wanted), lightgbm_trees(model.booster_))


def test_cross_validation_of_soft_labels_is_refused():
    x, y, _ = some_data(3)
    softmax = boosting.Softmax(3, soft_labels=np.full((len(y), 3), 1 / 3))
    with pytest.raises(ValueError, match="soft_labels has 400 rows"):
        lgb.cv(parameters(3, softmax.lightgbm), lgb.Dataset(x, y), 2, nfold=4, stratified=False)


def test_one_hot_soft_labels_are_the_labels():
    _, y, v = some_data(3)
    hard = trained(3, boosting.Softmax(3).lightgbm, v)
    soft = trained(3, boosting.Softmax(3, soft_labels=np.eye(3)[y]).lightgbm, v)
    assert_same_trees(lightgbm_trees(hard), lightgbm_trees(soft))
