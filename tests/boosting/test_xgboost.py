"""With XGBoost: the trees of its own objectives, its two interfaces, and what it must not do with soft labels."""

import numpy as np
import pytest
from boosting.data import assert_same_trees, objective_of, some_data, xgboost_trees

from crossent import boosting

xgb = pytest.importorskip("xgboost", reason="an optional library: the session adapters has it")
ROUNDS = 8
COMMON = {"nthread": 1, "max_depth": 4, "disable_default_eval_metric": True}


def parameters(classes, ours):
    if classes > 2:
        return {**COMMON, "num_class": classes, "base_score": 0.5, **({} if ours else {"objective": "multi:softprob"})}
    return {**COMMON, **({"base_score": 0.0} if ours else {"base_score": 0.5, "objective": "binary:logistic"})}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_same_trees(classes, weighted):
    x, y, v = some_data(classes)
    data = xgb.DMatrix(x, y, weight=v if weighted else None)
    theirs = xgb.train(parameters(classes, False), data, ROUNDS)
    ours = xgb.train(parameters(classes, True), data, ROUNDS, obj=objective_of(classes).xgboost)
    assert_same_trees(xgboost_trees(theirs), xgboost_trees(ours))


def test_scale_pos_weight():
    x, y, _ = some_data(2)
    data = xgb.DMatrix(x, y)
    theirs = xgb.train({**parameters(2, False), "scale_pos_weight": 3.0}, data, ROUNDS)
    ours = xgb.train(parameters(2, True), data, ROUNDS, obj=boosting.Logistic(pos_weight=3.0).xgboost)
    assert_same_trees(xgboost_trees(theirs), xgboost_trees(ours))


@pytest.mark.parametrize("classes", [2, 5])
def test_metric(classes):
    x, y, v = some_data(classes)
    data = xgb.DMatrix(x, y, weight=v)
    logs = {}, {}
    name = "mlogloss" if classes > 2 else "logloss"
    theirs = {k: value for k, value in parameters(classes, False).items() if k != "disable_default_eval_metric"}
    watch = {"evals": [(data, "train")], "verbose_eval": False}
    xgb.train({**theirs, "eval_metric": name}, data, 4, evals_result=logs[0], **watch)
    objective = objective_of(classes)
    xgb.train(parameters(classes, True), data, 4, obj=objective.xgboost, custom_metric=objective.xgboost_metric,
              evals_result=logs[1], **watch)
    np.testing.assert_allclose(logs[1]["train"]["log_loss"], logs[0]["train"][name], rtol=1e-5)


def test_scikit_learn():
    x, y, v = some_data(4)
    data = xgb.DMatrix(x, y, weight=v)
    wanted = xgb.train(parameters(4, True), data, ROUNDS, obj=boosting.Softmax(4).xgboost)
    model = xgb.XGBClassifier(n_estimators=ROUNDS, max_depth=4, n_jobs=1, base_score=0.5, num_class=4,
                              disable_default_eval_metric=True, objective=boosting.Softmax(4).xgboost_sklearn)
    model.fit(x, y, sample_weight=v)
    assert_same_trees(xgboost_trees(wanted), xgboost_trees(model.get_booster()))


def test_cross_validation_of_soft_labels_is_refused():
    x, y, _ = some_data(3)
    softmax = boosting.Softmax(3, soft_labels=np.full((len(y), 3), 1 / 3))
    with pytest.raises(ValueError, match="soft_labels has 400 rows"):
        xgb.cv(parameters(3, True), xgb.DMatrix(x, y), 2, nfold=4, obj=softmax.xgboost)


def test_one_hot_soft_labels_are_the_labels():
    x, y, v = some_data(3)
    data = xgb.DMatrix(x, y, weight=v)
    hard = xgb.train(parameters(3, True), data, ROUNDS, obj=boosting.Softmax(3).xgboost)
    soft = xgb.train(parameters(3, True), data, ROUNDS, obj=boosting.Softmax(3, soft_labels=np.eye(3)[y]).xgboost)
    assert_same_trees(xgboost_trees(hard), xgboost_trees(soft))
